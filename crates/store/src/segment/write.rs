//! Rows to a segment file.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use doorbook_event::{
    Access, Client, LogId, Outcome, Peer, Principal, Record, Scope, Target, Timestamp, WrittenTime,
};
use parquet::basic::{Encoding, Type};
use parquet::column::writer::ColumnCloseResult;
use parquet::data_type::{BoolType, DataType, Int32Type, Int64Type};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{KeyValue, SortingColumn};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::SchemaDescriptor;

use super::pages::{BytesColumn, Compressor, ROWS_PER_PAGE, TextColumn, codec};
use super::{Member, QuarantineFacts, SegmentMeta, VERSION, VERSION_KEY, schema};
use crate::disk::{Disk, DiskFile, write_all_at};
use crate::error::Error;
use crate::memtable::{Row, kind};

/// A row on its way into a file.
#[derive(Clone, Copy)]
pub(crate) struct Line<'a> {
    /// What the `seq` column will hold.
    pub(crate) seq: u64,
    pub(crate) ingest_time: Timestamp,
    pub(crate) source: &'a str,
    pub(crate) content: Content<'a>,
}

/// What a row is about.
#[derive(Clone, Copy)]
pub(crate) enum Content<'a> {
    /// A new event of an import.
    Access(&'a Access),
    /// A row of the memtable.
    Row(&'a Row),
}

impl<'a> Line<'a> {
    fn kind(&self) -> u8 {
        match self.content {
            Content::Access(_) => kind::ACCESS,
            Content::Row(row) => row.kind(),
        }
    }

    fn target(&self) -> Option<&'a Target> {
        match self.content {
            Content::Access(access) => Some(&access.target),
            Content::Row(row) => row.target(),
        }
    }

    fn names(&self) -> (&'a str, &'a str) {
        self.target().map_or(("", ""), |target| {
            let (group, member) = target.names();
            (group, member)
        })
    }

    fn event_time(&self) -> Timestamp {
        match self.content {
            Content::Access(access) => access.event_time,
            Content::Row(row) => row.event_time(),
        }
    }

    fn access(&self) -> Option<&'a Access> {
        match self.content {
            Content::Access(access) => Some(access),
            Content::Row(row) => row.access(),
        }
    }
}

/// Writes a file of these rows and makes it and its name durable. The rows are sorted here.
pub(crate) fn write(
    disk: &dyn Disk,
    dir: &Path,
    name: &str,
    scope: &Scope,
    mut lines: Vec<Line<'_>>,
) -> std::result::Result<SegmentMeta, Error> {
    sort(&mut lines);
    let path = dir.join(name);
    let file = disk.create(&path).map_err(|error| Error::io(&path, "create", error))?;
    let mut sink = Sink { file: &*file, size_bytes: 0, crc: 0 };
    let members = encode(&mut sink, scope, &lines).map_err(|error| match error {
        // The file's own refusal comes back in a library's envelope.
        ParquetError::External(error) => match error.downcast::<io::Error>() {
            Ok(error) => Error::io(&path, "write", *error),
            Err(error) => Error::io(&path, "write", io::Error::other(error)),
        },
        error => Error::io(&path, "write", io::Error::other(error)),
    })?;
    let Sink { size_bytes, crc, .. } = sink;
    file.sync().map_err(|error| Error::io(&path, "sync", error))?;
    disk.sync_dir(dir).map_err(|error| Error::io(dir, "sync the directory", error))?;
    let seqs = lines.iter().map(|line| line.seq);
    Ok(SegmentMeta {
        name: name.into(),
        log: LogId(0),
        base_seq: 0,
        first_seq: seqs.clone().min().unwrap_or(0),
        last_seq: seqs.max().unwrap_or(0),
        size_bytes,
        crc32c: crc,
        import: None,
        members,
    })
}

fn sort(lines: &mut [Line<'_>]) {
    // Most files are of one host and in order already; names that are the same text in memory
    // need no comparison.
    let order = |a: &Line<'_>, b: &Line<'_>| {
        let (a_names, b_names) = (a.names(), b.names());
        let same = std::ptr::eq(a_names.0, b_names.0) && std::ptr::eq(a_names.1, b_names.1);
        let names = if same { std::cmp::Ordering::Equal } else { a_names.cmp(&b_names) };
        names.then_with(|| (a.event_time(), a.seq).cmp(&(b.event_time(), b.seq)))
    };
    if !lines.is_sorted_by(|a, b| order(a, b).is_le()) {
        lines.sort_unstable_by(order);
    }
}

/// Hands a library's writes to the disk.
struct Sink<'a> {
    file: &'a dyn DiskFile,
    size_bytes: u64,
    crc: u32,
}

impl io::Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        write_all_at(self.file, bytes, self.size_bytes)?;
        self.size_bytes += bytes.len() as u64;
        self.crc = crc32c::crc32c_append(self.crc, bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn properties(schema: &SchemaDescriptor) -> WriterProperties {
    let sorting = ["cluster", "host", "event_time", "seq"].map(|name| {
        let at = schema.columns().iter().position(|column| column.name() == name);
        SortingColumn {
            column_idx: at.expect("a test finds it") as i32,
            descending: false,
            nulls_first: false,
        }
    });
    let version = KeyValue::new(VERSION_KEY.to_owned(), VERSION.to_string());
    let mut properties = WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_created_by(format!("doorbook {}", env!("CARGO_PKG_VERSION")))
        .set_compression(codec(NUMBERS_LEVEL))
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_data_page_row_count_limit(ROWS_PER_PAGE)
        .set_write_batch_size(ROWS_PER_PAGE)
        .set_sorting_columns(Some(sorting.to_vec()))
        .set_key_value_metadata(Some(vec![version]));
    for column in schema.columns() {
        if matches!(column.physical_type(), Type::INT32 | Type::INT64) {
            let path = column.path().clone();
            properties = properties.set_column_encoding(path, Encoding::DELTA_BINARY_PACKED);
        }
        // Only these: the bytes of a footer outlive what is erased from a page.
        if matches!(column.name(), "event_time" | "seq") {
            let path = column.path().clone();
            properties = properties.set_column_statistics_enabled(path, EnabledStatistics::Page);
        }
    }
    properties.build()
}

/// zstd levels of the raw column, of texts, and of numbers. Measured on 1 M synthetic lines; see
/// `examples/write_events.rs`.
const RAW_LEVEL: i32 = 1;
const TEXT_LEVEL: i32 = 1;
const NUMBERS_LEVEL: i32 = 1;

fn encode(sink: &mut Sink<'_>, scope: &Scope, lines: &[Line<'_>]) -> Result<Vec<Member>> {
    let schema = schema();
    let properties = Arc::new(properties(&schema));
    let mut file = SerializedFileWriter::new(sink, schema.root_schema_ptr(), properties)?;
    let scope = scope.to_string();
    let mut columns = Columns::new();
    let mut raw_compressor = Compressor::new(RAW_LEVEL)?;
    let raw = schema.columns().iter().find(|column| column.name() == "raw");
    let raw = raw.expect("a test finds it").clone();
    let mut raw = BytesColumn::new(raw, &mut raw_compressor);
    let mut members: Vec<Member> = Vec::new();
    for line in lines {
        columns.push(&scope, line);
        push_raw(&mut raw, line)?;
        count_member(&mut members, line);
    }
    let raw = raw.finish()?;
    let mut group = file.next_row_group()?;
    let compressor = Compressor::new(TEXT_LEVEL)?;
    let mut out = Out { group: &mut group, schema: &schema, compressor, column: 0 };
    columns.write(&mut out, raw)?;
    group.close()?;
    file.close()?;
    Ok(members)
}

fn push_raw(raw: &mut BytesColumn<'_>, line: &Line<'_>) -> Result<()> {
    match (line.access(), line.content) {
        (Some(access), _) | (None, Content::Access(access)) => raw.push(&access.raw),
        (None, Content::Row(row)) => match &row.record {
            Record::Quarantine(quarantine) => raw.push(&quarantine.bytes),
            record => raw.push(&minicbor::to_vec(record).expect("a Vec takes every byte")),
        },
    }
}

fn count_member(members: &mut Vec<Member>, line: &Line<'_>) {
    let (group, member) = line.names();
    let at = line.event_time();
    match members.last_mut() {
        Some(last) if last.group == *group && last.member == *member => {
            last.rows += 1;
            last.to = at;
            last.kinds |= 1 << line.kind();
        }
        _ => members.push(Member {
            group: group.into(),
            member: member.into(),
            rows: 1,
            from: at,
            to: at,
            kinds: 1 << line.kind(),
        }),
    }
}

/// The columns but the raw one.
struct Columns<'a> {
    scope: TextColumn<'a>,
    kind: Plain<i32>,
    cluster: TextColumn<'a>,
    host: TextColumn<'a>,
    target_kind: TextColumn<'a>,
    event_time: Plain<i64>,
    seq: Plain<i64>,
    ingest_time: Plain<i64>,
    source: TextColumn<'a>,
    action: TextColumn<'a>,
    outcome: TextColumn<'a>,
    principal_kind: TextColumn<'a>,
    principal: TextColumn<'a>,
    principal_database: TextColumn<'a>,
    mechanism: TextColumn<'a>,
    address: AddressColumn<'a>,
    port: Plain<i32>,
    address_joined: Plain<bool>,
    connection: Plain<i64>,
    process_start: Plain<i64>,
    written_time: TextColumn<'a>,
    reason: TextColumn<'a>,
    code: Plain<i64>,
    speculative: Plain<bool>,
    classes: Plain<i32>,
    application: TextColumn<'a>,
    driver: TextColumn<'a>,
    driver_version: TextColumn<'a>,
    os: TextColumn<'a>,
    platform: TextColumn<'a>,
    via: TextColumn<'a>,
    origin: TextColumn<'a>,
    attributes: TextColumn<'a>,
    raw_encoding: Plain<i32>,
}

impl<'a> Columns<'a> {
    fn new() -> Columns<'a> {
        let (required, optional) = (false, true);
        Columns {
            scope: TextColumn::new(required, false),
            kind: Plain::new(required),
            cluster: TextColumn::new(required, true),
            host: TextColumn::new(required, true),
            target_kind: TextColumn::new(optional, false),
            event_time: Plain::new(required),
            seq: Plain::new(required),
            ingest_time: Plain::new(required),
            source: TextColumn::new(required, false),
            action: TextColumn::new(optional, false),
            outcome: TextColumn::new(optional, false),
            principal_kind: TextColumn::new(optional, false),
            principal: TextColumn::new(optional, false),
            principal_database: TextColumn::new(optional, false),
            mechanism: TextColumn::new(optional, false),
            address: AddressColumn::new(),
            port: Plain::new(optional),
            address_joined: Plain::new(optional),
            connection: Plain::new(optional),
            process_start: Plain::new(optional),
            written_time: TextColumn::new(optional, false),
            reason: TextColumn::new(optional, false),
            code: Plain::new(optional),
            speculative: Plain::new(optional),
            classes: Plain::new(required),
            application: TextColumn::new(optional, false),
            driver: TextColumn::new(optional, false),
            driver_version: TextColumn::new(optional, false),
            os: TextColumn::new(optional, false),
            platform: TextColumn::new(optional, false),
            via: TextColumn::new(optional, false),
            origin: TextColumn::new(optional, false),
            attributes: TextColumn::new(optional, false),
            raw_encoding: Plain::new(required),
        }
    }

    fn push(&mut self, scope: &'a str, line: &Line<'a>) {
        let (group, member) = line.names();
        self.scope.push(scope);
        self.kind.push(line.kind().into());
        self.cluster.push(group);
        self.host.push(member);
        self.target_kind.push_option(line.target().map(|target| match target {
            Target::Host { .. } => "host",
            Target::Array { .. } => "array",
            Target::Own { .. } => "own",
        }));
        self.event_time.push(line.event_time().micros());
        // Positions stay below 2^63: at a million records a second that is 292,000 years.
        self.seq.push(line.seq as i64);
        self.ingest_time.push(line.ingest_time.micros());
        self.source.push(line.source);
        self.raw_encoding.push(0);
        match line.access() {
            Some(access) => self.push_access(access),
            None => self.push_no_access(line),
        }
    }

    fn push_access(&mut self, access: &'a Access) {
        self.action.push(access.action.word());
        self.outcome.push(access.outcome.word());
        self.principal_kind.push(access.principal.kind());
        match &access.principal {
            Principal::Unauthenticated | Principal::Doorbook => {
                self.principal.push_null();
                self.principal_database.push_null();
            }
            Principal::User { name, database } => {
                self.principal.push(name);
                self.principal_database.push(database);
            }
            Principal::ApiKey(name) | Principal::ServiceAccount(name) => {
                self.principal.push(name);
                self.principal_database.push_null();
            }
            Principal::OsUser { uid, name } => {
                self.principal.push_option(name.as_deref());
                self.principal_database.push_owned(uid.to_string());
            }
        }
        self.mechanism.push_option(access.mechanism.as_deref());
        self.address.push(&access.peer);
        self.port.push_option(access.peer.port().map(i32::from));
        self.address_joined.push_option(Some(access.peer_joined));
        // Kept bit for bit; a number beyond 2^63 shows as a negative one to other programs.
        self.connection.push_option(access.connection.map(|number| number as i64));
        self.process_start.push_option(access.process_start.map(Timestamp::micros));
        self.written_time.push_option(match &access.written_time {
            WrittenTime::Complete => None,
            WrittenTime::Partial(text) => Some(text),
        });
        match &access.outcome {
            Outcome::Failure { reason, code } => {
                self.reason.push_option(reason.as_deref());
                self.code.push_option(*code);
            }
            Outcome::Success | Outcome::Unknown => {
                self.reason.push_null();
                self.code.push_option(None);
            }
        }
        self.speculative.push_option(access.speculative);
        self.classes.push(access.classes.bits().into());
        self.push_client(access.client.as_deref());
        if access.attributes.is_empty() {
            self.attributes.push_null();
        } else {
            let json = serde_json::to_string(&access.attributes).expect("texts are JSON");
            self.attributes.push_owned(json);
        }
    }

    fn push_client(&mut self, client: Option<&'a Client>) {
        let texts = client.map(|client| {
            [
                client.application.as_deref(),
                client.driver.as_deref(),
                client.driver_version.as_deref(),
                client.os.as_deref(),
                client.platform.as_deref(),
                client.via.as_deref(),
            ]
        });
        let columns = [
            &mut self.application,
            &mut self.driver,
            &mut self.driver_version,
            &mut self.os,
            &mut self.platform,
            &mut self.via,
        ];
        for (column, text) in columns.into_iter().zip(texts.unwrap_or_default()) {
            column.push_option(text);
        }
        match client.and_then(|client| client.origin) {
            Some(origin) => drop(self.origin.push_owned(origin.to_string())),
            None => self.origin.push_null(),
        }
    }

    fn push_no_access(&mut self, line: &Line<'a>) {
        for column in [
            &mut self.action,
            &mut self.outcome,
            &mut self.principal_kind,
            &mut self.principal,
            &mut self.principal_database,
            &mut self.mechanism,
            &mut self.address.text,
            &mut self.written_time,
        ] {
            column.push_null();
        }
        self.port.push_option(None);
        self.address_joined.push_option(None);
        self.connection.push_option(None);
        self.process_start.push_option(None);
        self.code.push_option(None);
        self.speculative.push_option(None);
        self.classes.push(0);
        self.push_client(None);
        match line.content {
            Content::Row(Row { record: Record::Quarantine(quarantine), .. }) => {
                self.reason.push(&quarantine.reason);
                let facts = QuarantineFacts::from(quarantine);
                let facts = serde_json::to_string(&facts).expect("texts and numbers are JSON");
                self.attributes.push_owned(facts);
            }
            _ => {
                self.reason.push_null();
                self.attributes.push_null();
            }
        }
    }

    /// Writes the columns in the order of the schema.
    fn write<W: io::Write + Send>(
        self,
        out: &mut Out<'_, '_, W>,
        raw: (Bytes, ColumnCloseResult),
    ) -> Result<()> {
        out.text(self.scope)?;
        out.numbers::<Int32Type>(self.kind)?;
        out.text(self.cluster)?;
        out.text(self.host)?;
        out.text(self.target_kind)?;
        out.numbers::<Int64Type>(self.event_time)?;
        out.numbers::<Int64Type>(self.seq)?;
        out.numbers::<Int64Type>(self.ingest_time)?;
        out.text(self.source)?;
        out.text(self.action)?;
        out.text(self.outcome)?;
        out.text(self.principal_kind)?;
        out.text(self.principal)?;
        out.text(self.principal_database)?;
        out.text(self.mechanism)?;
        out.text(self.address.text)?;
        out.numbers::<Int32Type>(self.port)?;
        out.numbers::<BoolType>(self.address_joined)?;
        out.numbers::<Int64Type>(self.connection)?;
        out.numbers::<Int64Type>(self.process_start)?;
        out.text(self.written_time)?;
        out.text(self.reason)?;
        out.numbers::<Int64Type>(self.code)?;
        out.numbers::<BoolType>(self.speculative)?;
        out.numbers::<Int32Type>(self.classes)?;
        out.text(self.application)?;
        out.text(self.driver)?;
        out.text(self.driver_version)?;
        out.text(self.os)?;
        out.text(self.platform)?;
        out.text(self.via)?;
        out.text(self.origin)?;
        out.text(self.attributes)?;
        out.group.append_column(&raw.0, raw.1)?;
        out.numbers::<Int32Type>(self.raw_encoding)
    }
}

/// Addresses as texts, each spelled once.
struct AddressColumn<'a> {
    text: TextColumn<'a>,
    keys: HashMap<IpAddr, u32>,
}

impl<'a> AddressColumn<'a> {
    fn new() -> AddressColumn<'a> {
        AddressColumn { text: TextColumn::new(true, false), keys: HashMap::new() }
    }

    fn push(&mut self, peer: &Peer) {
        match peer {
            Peer::Unknown => self.text.push_null(),
            Peer::UnixSocket => self.text.push("unix"),
            Peer::Ip { address, .. } => match self.keys.get(address) {
                Some(key) if self.text.push_known(*key) => {}
                _ => {
                    if let Some(key) = self.text.push_owned(address.to_string()) {
                        self.keys.insert(*address, key);
                    }
                }
            },
        }
    }
}

/// A column of numbers or flags.
struct Plain<T> {
    values: Vec<T>,
    /// For each row 1 if it has a value and 0 if not, in a column that may lack them.
    levels: Option<Vec<i16>>,
}

impl<T> Plain<T> {
    fn new(is_optional: bool) -> Plain<T> {
        Plain { values: Vec::new(), levels: is_optional.then(Vec::new) }
    }

    /// A row of a column in which every row has a value.
    fn push(&mut self, value: T) {
        self.values.push(value);
    }

    /// A row of a column in which rows may lack a value.
    fn push_option(&mut self, value: Option<T>) {
        let levels = self.levels.as_mut().expect("the column is optional");
        levels.push(i16::from(value.is_some()));
        self.values.extend(value);
    }
}

/// The row group being written.
struct Out<'g, 'f, W: io::Write + Send> {
    group: &'g mut SerializedRowGroupWriter<'f, W>,
    schema: &'g SchemaDescriptor,
    compressor: Compressor,
    column: usize,
}

impl<W: io::Write + Send> Out<'_, '_, W> {
    fn text(&mut self, text: TextColumn<'_>) -> Result<()> {
        let descriptor = self.schema.column(self.column);
        let (bytes, close) = text.finish(descriptor, &mut self.compressor)?;
        self.column += 1;
        self.group.append_column(&bytes, close)
    }

    fn numbers<D: DataType>(&mut self, numbers: Plain<D::T>) -> Result<()> {
        let column = self.group.next_column()?;
        let mut column = column.expect("the schema has as many columns as are written");
        let typed = column.typed::<D>();
        typed.write_batch(&numbers.values, numbers.levels.as_deref(), None)?;
        self.column += 1;
        column.close()
    }
}
