//! A Parquet file: one column for each of [`COLUMNS`], all of them optional, zstd.

use std::io::{self, Write};
use std::sync::Arc;

use doorbook_event::PublicIds;
use doorbook_store::Placed;
use parquet::basic::{Compression, ZstdLevel};
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

use super::columns::{COLUMNS, Cell, Kind};

/// A row group has as many rows at least, or so many bytes of texts: what is in memory until then.
const GROUP_ROWS: usize = 128 * 1024;
const GROUP_BYTES: usize = 32 << 20;

/// A file that is written.
pub struct File<W: Write + Send> {
    writer: SerializedFileWriter<W>,
    columns: Vec<Values>,
    rows: usize,
    bytes: usize,
}

/// The cells of a column that no row group has yet.
#[derive(Default)]
struct Values {
    /// For each row 1 if there is a value.
    present: Vec<i16>,
    texts: Vec<ByteArray>,
    numbers: Vec<i64>,
}

impl<W: Write + Send> File<W> {
    /// A file without rows.
    pub fn new(out: W) -> io::Result<File<W>> {
        let column = |kind, name| match kind {
            Kind::Text => format!("OPTIONAL BYTE_ARRAY {name} (STRING);"),
            Kind::Number => format!("OPTIONAL INT64 {name};"),
            Kind::Time => format!("OPTIONAL INT64 {name} (TIMESTAMP(MICROS,true));"),
        };
        let columns: Vec<String> = COLUMNS.iter().map(|it| column(it.kind, it.name)).collect();
        let schema = parse_message_type(&format!("message events {{ {} }}", columns.concat()));
        let zstd = Compression::ZSTD(ZstdLevel::try_new(1).map_err(failed)?);
        let properties = WriterProperties::builder().set_compression(zstd).build();
        let schema = Arc::new(schema.map_err(failed)?);
        let writer =
            SerializedFileWriter::new(out, schema, Arc::new(properties)).map_err(failed)?;
        let columns = COLUMNS.iter().map(|_| Values::default()).collect();
        Ok(File { writer, columns, rows: 0, bytes: 0 })
    }

    /// Adds rows.
    pub fn write(&mut self, ids: &PublicIds, rows: &[Placed]) -> io::Result<()> {
        for row in rows {
            for (column, values) in COLUMNS.iter().zip(&mut self.columns) {
                let cell = (column.cell)(row, ids);
                values.present.push(i16::from(cell != Cell::None));
                match cell {
                    Cell::None => {}
                    Cell::Text(text) => {
                        self.bytes += text.len();
                        values.texts.push(text.as_bytes().to_vec().into());
                    }
                    Cell::Number(number) => values.numbers.push(number),
                    Cell::Time(at) => values.numbers.push(at.micros()),
                }
            }
            self.rows += 1;
            if self.rows >= GROUP_ROWS || self.bytes >= GROUP_BYTES {
                self.end_group()?;
            }
        }
        Ok(())
    }

    /// Writes what ends the file.
    pub fn finish(mut self) -> io::Result<()> {
        self.end_group()?;
        self.writer.finish().map_err(failed)?;
        Ok(())
    }

    fn end_group(&mut self) -> io::Result<()> {
        if self.rows == 0 {
            return Ok(());
        }
        let mut group = self.writer.next_row_group().map_err(failed)?;
        for (column, values) in COLUMNS.iter().zip(&mut self.columns) {
            let Values { present, texts, numbers } = std::mem::take(values);
            let writer = group.next_column().map_err(failed)?;
            let mut writer = writer.ok_or_else(|| io::Error::other("a column too many"))?;
            let levels = Some(&present[..]);
            match column.kind {
                Kind::Text => {
                    writer
                        .typed::<ByteArrayType>()
                        .write_batch(&texts, levels, None)
                        .map_err(failed)?;
                }
                Kind::Number | Kind::Time => {
                    writer
                        .typed::<Int64Type>()
                        .write_batch(&numbers, levels, None)
                        .map_err(failed)?;
                }
            }
            writer.close().map_err(failed)?;
        }
        group.close().map_err(failed)?;
        (self.rows, self.bytes) = (0, 0);
        Ok(())
    }
}

fn failed(error: ParquetError) -> io::Error {
    io::Error::other(error)
}
