//! Checkpoints: all that the log says up to a version, as one Parquet file of the form that Delta
//! calls V1. A row is an action; a column is a member of one kind of action, null in all others.

use std::io::Write;
use std::sync::Arc;

use parquet::basic::{Compression, ZstdLevel};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, Int32Type, Int64Type};
use parquet::errors::Result;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;

use super::action::{Action, Add, MetaData};

const MESSAGE: &str = "message checkpoint {
    optional group txn {
        optional binary appId (STRING);
        optional int64 version;
    }
    optional group add {
        optional binary path (STRING);
        optional group partitionValues (MAP) {
            repeated group key_value {
                required binary key (STRING);
                optional binary value (STRING);
            }
        }
        optional int64 size;
        optional int64 modificationTime;
        optional boolean dataChange;
        optional binary stats (STRING);
    }
    optional group remove {
        optional binary path (STRING);
        optional int64 deletionTimestamp;
        optional boolean dataChange;
    }
    optional group metaData {
        optional binary id (STRING);
        optional binary name (STRING);
        optional binary description (STRING);
        optional group format {
            optional binary provider (STRING);
            optional group options (MAP) {
                repeated group key_value {
                    required binary key (STRING);
                    optional binary value (STRING);
                }
            }
        }
        optional binary schemaString (STRING);
        optional group partitionColumns (LIST) {
            repeated group list {
                optional binary element (STRING);
            }
        }
        optional int64 createdTime;
        optional group configuration (MAP) {
            repeated group key_value {
                required binary key (STRING);
                optional binary value (STRING);
            }
        }
    }
    optional group protocol {
        optional int32 minReaderVersion;
        optional int32 minWriterVersion;
    }
}";

/// The file for these actions.
pub(super) fn encode(actions: &[Action]) -> Vec<u8> {
    write(actions).expect("the columns fit the message, and a Vec takes every byte")
}

/// What an action has in a column: how deep the path to it is defined, and the values at its end.
struct Cell<T>(i16, Vec<T>);

fn write(actions: &[Action]) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let message = Arc::new(parse_message_type(MESSAGE)?);
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .build();
    let mut file = SerializedFileWriter::new(&mut bytes, message, Arc::new(properties))?;
    let mut group = file.next_row_group()?;
    let mut out = Out { group: &mut group, actions };

    out.texts(|a| a.txn.as_ref().map(|txn| Some(&*txn.app_id)))?;
    out.numbers(|a| a.txn.as_ref().map(|txn| Some(txn.version)))?;

    let partition_keys = |add: &Add| add.partition_values.keys().map(|key| text(key)).collect();
    let partition_values = |add: &Add| {
        add.partition_values.values().map(|value| text(value.as_deref().unwrap_or(""))).collect()
    };
    out.texts(|a| a.add.as_ref().map(|add| Some(&*add.path)))?;
    out.column::<ByteArrayType>(|a| many(a.add.as_ref().map(partition_keys), 2, 3))?;
    out.column::<ByteArrayType>(|a| many(a.add.as_ref().map(partition_values), 2, 4))?;
    out.numbers(|a| a.add.as_ref().map(|add| Some(add.size)))?;
    out.numbers(|a| a.add.as_ref().map(|add| Some(add.modification_time)))?;
    out.column::<BoolType>(|a| one(a.add.as_ref().map(|add| Some(add.data_change))))?;
    out.texts(|a| a.add.as_ref().map(|add| add.stats.as_deref()))?;

    out.texts(|a| a.remove.as_ref().map(|remove| Some(&*remove.path)))?;
    out.numbers(|a| a.remove.as_ref().map(|remove| remove.deletion_timestamp))?;
    out.column::<BoolType>(|a| one(a.remove.as_ref().map(|remove| Some(remove.data_change))))?;

    let option_keys = |m: &MetaData| m.format.options.keys().map(|key| text(key)).collect();
    let options = |m: &MetaData| m.format.options.values().map(|value| text(value)).collect();
    let partitions = |m: &MetaData| m.partition_columns.iter().map(|name| text(name)).collect();
    let setting_keys = |m: &MetaData| m.configuration.keys().map(|key| text(key)).collect();
    let settings = |m: &MetaData| m.configuration.values().map(|value| text(value)).collect();
    out.texts(|a| a.meta_data.as_ref().map(|m| Some(&*m.id)))?;
    out.texts(|a| a.meta_data.as_ref().map(|m| m.name.as_deref()))?;
    out.texts(|a| a.meta_data.as_ref().map(|m| m.description.as_deref()))?;
    let provider = |m: &MetaData| vec![text(&m.format.provider)];
    out.column::<ByteArrayType>(|a| many(a.meta_data.as_ref().map(provider), 2, 3))?;
    out.column::<ByteArrayType>(|a| many(a.meta_data.as_ref().map(option_keys), 3, 4))?;
    out.column::<ByteArrayType>(|a| many(a.meta_data.as_ref().map(options), 3, 5))?;
    out.texts(|a| a.meta_data.as_ref().map(|m| Some(&*m.schema_string)))?;
    out.column::<ByteArrayType>(|a| many(a.meta_data.as_ref().map(partitions), 2, 4))?;
    out.numbers(|a| a.meta_data.as_ref().map(|m| m.created_time))?;
    out.column::<ByteArrayType>(|a| many(a.meta_data.as_ref().map(setting_keys), 2, 3))?;
    out.column::<ByteArrayType>(|a| many(a.meta_data.as_ref().map(settings), 2, 4))?;

    out.column::<Int32Type>(|a| one(a.protocol.as_ref().map(|p| Some(p.min_reader_version))))?;
    out.column::<Int32Type>(|a| one(a.protocol.as_ref().map(|p| Some(p.min_writer_version))))?;

    group.close()?;
    file.close()?;
    Ok(bytes)
}

/// Writes column after column, in the order of the message.
struct Out<'a, 'b, W: Write + Send> {
    group: &'a mut SerializedRowGroupWriter<'b, W>,
    actions: &'a [Action],
}

impl<W: Write + Send> Out<'_, '_, W> {
    fn texts(&mut self, of: impl Fn(&Action) -> Option<Option<&str>>) -> Result<()> {
        self.column::<ByteArrayType>(|action| one(of(action).map(|value| value.map(text))))
    }

    fn numbers(&mut self, of: impl Fn(&Action) -> Option<Option<i64>>) -> Result<()> {
        self.column::<Int64Type>(|action| one(of(action)))
    }

    fn column<T: DataType>(&mut self, cell: impl Fn(&Action) -> Cell<T::T>) -> Result<()> {
        let (mut values, mut defined, mut repeated) = (Vec::new(), Vec::new(), Vec::new());
        for action in self.actions {
            let Cell(depth, mut of_action) = cell(action);
            // A cell without a value still has its place.
            for nth in 0..of_action.len().max(1) {
                defined.push(depth);
                repeated.push(i16::from(nth > 0));
            }
            values.append(&mut of_action);
        }
        let mut column = self.group.next_column()?.expect("as many as the message has");
        column.typed::<T>().write_batch(&values, Some(&defined), Some(&repeated))?;
        column.close()
    }
}

fn text(text: &str) -> ByteArray {
    ByteArray::from(text)
}

/// A member of an action: no such action, no such member, or a value.
fn one<T>(value: Option<Option<T>>) -> Cell<T> {
    match value {
        None => Cell(0, Vec::new()),
        Some(None) => Cell(1, Vec::new()),
        Some(Some(value)) => Cell(2, vec![value]),
    }
}

/// Values of a member that can have several.
fn many<T>(values: Option<Vec<T>>, empty: i16, full: i16) -> Cell<T> {
    match values {
        None => Cell(0, Vec::new()),
        Some(values) if values.is_empty() => Cell(empty, values),
        Some(values) => Cell(full, values),
    }
}
