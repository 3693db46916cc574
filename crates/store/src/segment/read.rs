//! Rows from a segment file.

use std::net::IpAddr;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, ArrowPrimitiveType, DictionaryArray, RecordBatch, StringArray};
use arrow_schema::{ArrowError, DataType, Field, Schema};
use bytes::Bytes;
use doorbook_event::identity::{Identity, Written, stated_user};
use doorbook_event::record::{Place, Quarantine};
use doorbook_event::{
    Access, Action, Classes, Client, Outcome, Peer, Principal, Record, Target, Text, Timestamp,
    WrittenTime,
};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowSelection,
};
use parquet::errors::ParquetError;
use parquet::file::metadata::PageIndexPolicy;
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::reader::{ChunkReader, Length};

use super::{QuarantineFacts, SegmentMeta, Tail, VERSION, VERSION_KEY};
use crate::disk::{Disk, DiskFile, read_up_to};
use crate::error::Error;
use crate::memtable::{Row, kind};

/// A live segment.
#[derive(Debug)]
pub(crate) struct Segment {
    /// What the catalogue knows of it.
    pub(crate) meta: SegmentMeta,
    /// Its footer, once it was read.
    footer: OnceLock<ArrowReaderMetadata>,
}

impl Segment {
    /// The segment that the catalogue describes; its file is opened when it is first read.
    pub(crate) fn new(meta: SegmentMeta) -> Segment {
        Segment { meta, footer: OnceLock::new() }
    }

    /// Opens the file.
    pub(crate) fn open(&self, disk: &dyn Disk, dir: &Path) -> Result<Reader<'_>, Error> {
        let path = dir.join(&*self.meta.name);
        let file = disk.open(&path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                Error::damaged(&path, "the file is gone").because(error)
            }
            _ => Error::io(&path, "open", error),
        })?;
        let size =
            file.size_bytes().map_err(|error| Error::io(&path, "ask for the size of", error))?;
        if size != self.meta.size_bytes {
            let was = self.meta.size_bytes;
            return Err(Error::damaged(&path, format!("{size} bytes long, written with {was}")));
        }
        let source = Source { file: file.into(), size };
        let footer = match self.footer.get() {
            Some(footer) => footer,
            None => {
                self.check_tail(&path, &source)?;
                let footer = guarded(&path, || load_footer(&source))?;
                let rows = footer.metadata().file_metadata().num_rows();
                if rows != self.meta.rows() as i64 {
                    return Err(Error::damaged(
                        &path,
                        format!("{rows} rows, written with {}", self.meta.rows()),
                    ));
                }
                self.footer.get_or_init(|| footer)
            }
        };
        Ok(Reader { meta: &self.meta, path, source, footer })
    }

    /// Bloom filters, page index and footer say where to look and where not: they must be right.
    fn check_tail(&self, path: &Path, source: &Source) -> Result<(), Error> {
        let Some(Tail { size_bytes, crc32c }) = self.meta.tail else { return Ok(()) };
        let from = source.size.saturating_sub(size_bytes);
        let size = usize::try_from(source.size - from).unwrap_or(usize::MAX);
        let tail = read_up_to(&*source.file, from, size);
        let tail = tail.map_err(|error| Error::io(path, "read", error))?;
        match crc32c::crc32c(&tail) == crc32c {
            true => Ok(()),
            false => Err(Error::damaged(
                path,
                format!("bytes {from} to {} do not match the checksum", source.size),
            )),
        }
    }
}

/// An open segment.
pub(crate) struct Reader<'s> {
    meta: &'s SegmentMeta,
    path: PathBuf,
    source: Source,
    footer: &'s ArrowReaderMetadata,
}

impl Reader<'_> {
    /// Reads some columns of some rows, which come in ascending order, and hands them on in groups,
    /// with the number of each row in the file.
    pub(crate) fn read(
        &self,
        columns: &[&str],
        rows: Vec<Range<usize>>,
        mut each: impl FnMut(&Columns<'_>, &[usize]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let metadata = self.footer.metadata();
        let total = metadata.file_metadata().num_rows() as usize;
        let numbers = rows.clone().into_iter().flatten();
        let mut numbers = numbers.peekable();
        if numbers.peek().is_none() {
            return Ok(());
        }
        let selection = RowSelection::from_consecutive_ranges(rows.into_iter(), total);
        let batches = guarded(&self.path, || {
            let schema = metadata.file_metadata().schema_descr();
            let mask = ProjectionMask::columns(schema, columns.iter().copied());
            let footer = self.footer.clone();
            ParquetRecordBatchReaderBuilder::new_with_metadata(self.source.clone(), footer)
                .with_projection(mask)
                .with_row_selection(selection)
                .with_batch_size(ROWS_PER_BATCH)
                .build()
        })?;
        let mut batches = batches;
        let mut at = Vec::new();
        loop {
            let batch = guarded(&self.path, || {
                batches.next().transpose().map_err(|error| match error {
                    ArrowError::ExternalError(error) => ParquetError::External(error),
                    error => ParquetError::External(error.into()),
                })
            })?;
            let Some(batch) = batch else { break };
            at.clear();
            at.extend(numbers.by_ref().take(batch.num_rows()));
            let columns = Columns { batch: &batch, meta: self.meta, path: &self.path };
            each(&columns, &at)?;
        }
        match numbers.peek() {
            None => Ok(()),
            Some(row) => Err(Error::damaged(&self.path, format!("row {row} is missing"))),
        }
    }

    /// Whole rows, in ascending order.
    pub(crate) fn rows(&self, numbers: &[usize]) -> Result<Vec<Row>, Error> {
        let mut rows = Vec::with_capacity(numbers.len());
        let ranges = numbers.iter().map(|row| *row..*row + 1).collect();
        let schema = self.footer.schema();
        let all: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        self.read(&all, ranges, |columns, at| {
            debug_assert_eq!(at.len(), columns.batch.num_rows());
            rows.extend(columns.rows()?);
            Ok(())
        })?;
        Ok(rows)
    }

    /// The parts of a stretch of rows in which, by the pages' statistics, events of a time range may
    /// be found.
    pub(crate) fn narrow(
        &self,
        rows: Range<usize>,
        from: Timestamp,
        to: Timestamp,
    ) -> Vec<Range<usize>> {
        let metadata = self.footer.metadata();
        let schema = metadata.file_metadata().schema_descr();
        let column = schema.columns().iter().position(|column| column.name() == "event_time");
        let pages = column.and_then(|column| {
            let statistics = metadata.column_index()?.first()?.get(column)?;
            let ColumnIndexMetaData::INT64(statistics) = statistics else { return None };
            let pages = metadata.offset_index()?.first()?.get(column)?.page_locations();
            Some((statistics, pages))
        });
        let Some((statistics, pages)) = pages else { return vec![rows] };
        let mut found: Vec<Range<usize>> = Vec::new();
        for (n, page) in pages.iter().enumerate() {
            let first = page.first_row_index as usize;
            let next = pages.get(n + 1).map_or(usize::MAX, |page| page.first_row_index as usize);
            let part = rows.start.max(first)..rows.end.min(next);
            let is_outside = statistics.max_value(n).is_some_and(|max| *max < from.micros())
                || statistics.min_value(n).is_some_and(|min| *min > to.micros());
            if part.is_empty() || is_outside {
                continue;
            }
            match found.last_mut() {
                Some(last) if last.end == part.start => last.end = part.end,
                _ => found.push(part),
            }
        }
        found
    }
}

/// 8 Ki rows of the widest column, whole lines, are some 4 MB.
const ROWS_PER_BATCH: usize = 8 << 10;

/// Some columns of some rows.
pub(crate) struct Columns<'b> {
    batch: &'b RecordBatch,
    meta: &'b SegmentMeta,
    path: &'b Path,
}

/// What tells quarantined bytes apart.
pub(crate) type LengthAndHash = (u64, [u8; 32]);

/// An access, or what of it could not be made out.
type Readable = Result<Access, &'static str>;

/// A column of texts.
#[derive(Clone, Copy)]
pub(crate) struct Texts<'b> {
    keys: &'b DictionaryArray<Int32Type>,
    values: &'b StringArray,
}

impl<'b> Texts<'b> {
    pub(crate) fn get(&self, row: usize) -> Option<&'b str> {
        let key = self.keys.key(row)?;
        Some(self.values.value(key))
    }
}

impl<'b> Columns<'b> {
    fn column(&self, name: &str) -> Result<&'b dyn Array, Error> {
        let column = self.batch.column_by_name(name);
        column.map(|column| &**column).ok_or_else(|| self.damaged(&format!("no column {name}")))
    }

    fn damaged(&self, what: &str) -> Error {
        Error::damaged(self.path, what)
    }

    pub(crate) fn texts(&self, name: &str) -> Result<Texts<'b>, Error> {
        let keys = self.column(name)?.as_dictionary_opt::<Int32Type>();
        let texts = keys
            .and_then(|keys| Some(Texts { keys, values: keys.values().as_string_opt::<i32>()? }));
        texts.ok_or_else(|| self.damaged(&format!("column {name} holds no texts")))
    }

    fn numbers<T: ArrowPrimitiveType>(
        &self,
        name: &str,
    ) -> Result<impl Fn(usize) -> Option<T::Native> + use<'b, T>, Error> {
        let column = self.column(name)?.as_primitive_opt::<T>();
        let column =
            column.ok_or_else(|| self.damaged(&format!("column {name} has a wrong type")))?;
        Ok(move |row| column.is_valid(row).then(|| column.value(row)))
    }

    fn bools(&self, name: &str) -> Result<impl Fn(usize) -> Option<bool> + use<'b>, Error> {
        let column = self.column(name)?.as_boolean_opt();
        let column =
            column.ok_or_else(|| self.damaged(&format!("column {name} has a wrong type")))?;
        Ok(move |row| column.is_valid(row).then(|| column.value(row)))
    }

    /// Each row's position in its log.
    pub(crate) fn seqs(&self) -> Result<impl Fn(usize) -> u64 + use<'b>, Error> {
        let seqs = self.numbers::<Int64Type>("seq")?;
        let base = self.meta.base_seq;
        Ok(move |row| base.saturating_add(seqs(row).unwrap_or(0) as u64))
    }

    pub(crate) fn event_times(&self) -> Result<impl Fn(usize) -> Timestamp + use<'b>, Error> {
        let times = self.numbers::<TimestampMicrosecondType>("event_time")?;
        Ok(move |row| Timestamp::from_micros(times(row).unwrap_or(0)))
    }

    pub(crate) fn kinds(&self) -> Result<impl Fn(usize) -> u8 + use<'b>, Error> {
        let kinds = self.numbers::<Int32Type>("kind")?;
        Ok(move |row| kinds(row).and_then(|kind| u8::try_from(kind).ok()).unwrap_or(0))
    }

    pub(crate) fn classes(&self) -> Result<impl Fn(usize) -> Classes + use<'b>, Error> {
        let classes = self.numbers::<Int32Type>("classes")?;
        Ok(move |row| Classes::from_bits(classes(row).unwrap_or(0) as u16))
    }

    /// The columns that [`Columns::identities`] needs.
    pub(crate) const IDENTITY: [&'static str; 18] = [
        "kind",
        "cluster",
        "host",
        "event_time",
        "seq",
        "action",
        "outcome",
        "principal_kind",
        "principal",
        "principal_database",
        "mechanism",
        "address",
        "port",
        "address_joined",
        "connection",
        "written_time",
        "reason",
        "speculative",
    ];

    /// What makes each row the event it is; `None` for a row that is no access.
    pub(crate) fn identities(
        &self,
    ) -> Result<impl Fn(usize) -> Result<Option<Identity<'b>>, Error>, Error> {
        let kinds = self.kinds()?;
        let (clusters, hosts) = (self.texts("cluster")?, self.texts("host")?);
        let times = self.event_times()?;
        let (actions, outcomes) = (self.texts("action")?, self.texts("outcome")?);
        let principal_kinds = self.texts("principal_kind")?;
        let (principals, databases) = (self.texts("principal")?, self.texts("principal_database")?);
        let (mechanisms, addresses) = (self.texts("mechanism")?, self.texts("address")?);
        let ports = self.numbers::<Int32Type>("port")?;
        let joined = self.bools("address_joined")?;
        let connections = self.numbers::<Int64Type>("connection")?;
        let (written, reasons) = (self.texts("written_time")?, self.texts("reason")?);
        let speculative = self.bools("speculative")?;
        let path = self.path;
        Ok(move |row| {
            if kinds(row) != kind::ACCESS {
                return Ok(None);
            }
            let unknown = |what: &str| Error::damaged(path, format!("unknown {what}"));
            let action = actions.get(row).and_then(Action::from_word);
            let outcome = outcomes.get(row).and_then(outcome_word);
            let peer = peer(addresses.get(row), ports(row)).ok_or_else(|| unknown("address"))?;
            let is_user = principal_kinds.get(row) == Some("user");
            let (name, database) = (principals.get(row), databases.get(row));
            let outcome = outcome.ok_or_else(|| unknown("outcome"))?;
            let action = action.ok_or_else(|| unknown("action"))?;
            Ok(Some(Identity {
                group: clusters.get(row).unwrap_or(""),
                member: hosts.get(row).unwrap_or(""),
                action,
                connection: connections(row).map(|number| number as u64),
                written_time: match written.get(row) {
                    Some(text) => Written::Text(text),
                    None => Written::Instant(times(row)),
                },
                user: is_user
                    .then(|| stated_user(action, name.unwrap_or(""), database.unwrap_or("")))
                    .flatten(),
                mechanism: mechanisms.get(row),
                outcome,
                reason: reasons.get(row),
                address: match (joined(row), peer) {
                    (Some(true), _) => None,
                    (_, Peer::Ip { address, port }) => Some((address, port)),
                    _ => None,
                },
                speculative: speculative(row),
            }))
        })
    }

    /// Length and SHA-256 of each row's bytes; `None` for a row that is no quarantine.
    pub(crate) fn quarantined(
        &self,
    ) -> Result<impl Fn(usize) -> Result<Option<LengthAndHash>, Error>, Error> {
        let kinds = self.kinds()?;
        let attributes = self.texts("attributes")?;
        let path = self.path;
        Ok(move |row| match kinds(row) {
            kind::QUARANTINE => {
                let (facts, sha256) = quarantine_facts(attributes.get(row))
                    .ok_or_else(|| Error::damaged(path, "unreadable facts of a quarantine"))?;
                Ok(Some((facts.length_bytes, sha256)))
            }
            _ => Ok(None),
        })
    }

    /// Whole rows.
    fn rows(&self) -> Result<Vec<Row>, Error> {
        let (seqs, kinds, sources) = (self.seqs()?, self.kinds()?, self.texts("source")?);
        let ingest_times = self.numbers::<TimestampMicrosecondType>("ingest_time")?;
        let raw = self.column("raw")?.as_binary_opt::<i32>();
        let raw = raw.ok_or_else(|| self.damaged("column raw has a wrong type"))?;
        let encodings = self.numbers::<Int32Type>("raw_encoding")?;
        let targets = self.targets()?;
        let accesses = self.accesses()?;
        let (reasons, attributes) = (self.texts("reason")?, self.texts("attributes")?);
        let mut rows = Vec::with_capacity(self.batch.num_rows());
        for row in 0..self.batch.num_rows() {
            let seq = seqs(row);
            let unreadable = |what: &str| self.damaged(&format!("record {seq}: {what}"));
            if encodings(row) != Some(0) {
                return Err(unreadable("its raw record is coded in an unknown way"));
            }
            let bytes = if raw.is_valid(row) { raw.value(row) } else { &[] };
            let record = match kinds(row) {
                number @ (kind::ACCESS | kind::OWN) => {
                    let target = targets(row).ok_or_else(|| unreadable("no target"))?;
                    let access = accesses(row, target, bytes);
                    let access = access.map_err(|what| unreadable(&format!("unknown {what}")))?;
                    match number {
                        kind::ACCESS => Record::Access(access),
                        _ => Record::Own(access),
                    }
                }
                kind::QUARANTINE => {
                    let facts = quarantine_facts(attributes.get(row));
                    let (facts, sha256) = facts.ok_or_else(|| unreadable("unreadable facts"))?;
                    let QuarantineFacts { file, line, offset_bytes, length_bytes, .. } = facts;
                    Record::Quarantine(Quarantine {
                        target: targets(row).ok_or_else(|| unreadable("no target"))?,
                        reason: reasons.get(row).unwrap_or("").into(),
                        place: Place { file, line, offset_bytes },
                        bytes: bytes.to_vec(),
                        length_bytes,
                        sha256,
                    })
                }
                _ => minicbor::decode(bytes)
                    .map_err(|error| unreadable("unreadable").because(error))?,
            };
            rows.push(Row {
                seq,
                ingest_time: Timestamp::from_micros(ingest_times(row).unwrap_or(0)),
                source: sources.get(row).unwrap_or("").into(),
                record,
            });
        }
        Ok(rows)
    }

    fn targets(&self) -> Result<impl Fn(usize) -> Option<Target>, Error> {
        let kinds = self.texts("target_kind")?;
        let (clusters, hosts) = (self.texts("cluster")?, self.texts("host")?);
        Ok(move |row| {
            let (group, member): (Text, Text) = (clusters.get(row)?.into(), hosts.get(row)?.into());
            match kinds.get(row)? {
                "host" => Some(Target::Host { cluster: group, host: member }),
                "array" => Some(Target::Array { namespace: group, array: member }),
                "own" => Some(Target::Own { kind: group, name: member }),
                _ => None,
            }
        })
    }

    /// The access of a row with its target and raw record; an error says what it cannot make out.
    fn accesses(&self) -> Result<impl Fn(usize, Target, &[u8]) -> Readable, Error> {
        let times = self.event_times()?;
        let written = self.texts("written_time")?;
        let (actions, outcomes) = (self.texts("action")?, self.texts("outcome")?);
        let (reasons, codes) = (self.texts("reason")?, self.numbers::<Int64Type>("code")?);
        let principals = self.principals()?;
        let mechanisms = self.texts("mechanism")?;
        let (addresses, ports) = (self.texts("address")?, self.numbers::<Int32Type>("port")?);
        let joined = self.bools("address_joined")?;
        let connections = self.numbers::<Int64Type>("connection")?;
        let starts = self.numbers::<TimestampMicrosecondType>("process_start")?;
        let clients = self.clients()?;
        let speculative = self.bools("speculative")?;
        let classes = self.classes()?;
        let attributes = self.texts("attributes")?;
        // Files of version 1 have none.
        let tasks = match self.batch.column_by_name("task_id") {
            Some(_) => Some(self.texts("task_id")?),
            None => None,
        };
        Ok(move |row, target, raw: &[u8]| {
            let outcome = match outcomes.get(row) {
                Some("success") => Outcome::Success,
                Some("failure") => {
                    let reason = reasons.get(row).map(Text::from);
                    Outcome::Failure { reason, code: codes(row) }
                }
                Some("unknown") => Outcome::Unknown,
                _ => return Err("outcome"),
            };
            Ok(Access {
                target,
                event_time: times(row),
                written_time: match written.get(row) {
                    Some(text) => WrittenTime::Partial(text.into()),
                    None => WrittenTime::Complete,
                },
                action: actions.get(row).and_then(Action::from_word).ok_or("action")?,
                outcome,
                principal: principals(row).ok_or("principal")?,
                mechanism: mechanisms.get(row).map(Text::from),
                peer: peer(addresses.get(row), ports(row)).ok_or("address")?,
                peer_joined: joined(row).unwrap_or(false),
                connection: connections(row).map(|number| number as u64),
                process_start: starts(row).map(Timestamp::from_micros),
                client: clients(row).map_err(|()| "origin")?.map(Into::into),
                speculative: speculative(row),
                classes: classes(row),
                attributes: match attributes.get(row) {
                    Some(json) => serde_json::from_str(json).map_err(|_| "attributes")?,
                    None => Default::default(),
                },
                raw: raw.to_vec(),
                task_id: tasks.and_then(|tasks| tasks.get(row)).map(Text::from),
            })
        })
    }

    fn principals(&self) -> Result<impl Fn(usize) -> Option<Principal>, Error> {
        let kinds = self.texts("principal_kind")?;
        let (names, databases) = (self.texts("principal")?, self.texts("principal_database")?);
        Ok(move |row| {
            let name = || names.get(row).map(Text::from);
            Some(match kinds.get(row)? {
                "unauthenticated" => Principal::Unauthenticated,
                "user" => Principal::User { name: name()?, database: databases.get(row)?.into() },
                "api_key" => Principal::ApiKey(name()?),
                "service_account" => Principal::ServiceAccount(name()?),
                "os_user" => {
                    Principal::OsUser { uid: databases.get(row)?.parse().ok()?, name: name() }
                }
                "doorbook" => Principal::Doorbook,
                _ => return None,
            })
        })
    }

    fn clients(&self) -> Result<impl Fn(usize) -> Result<Option<Client>, ()>, Error> {
        let names = ["application", "driver", "driver_version", "os", "platform", "via"];
        let columns = names.map(|name| self.texts(name));
        let [application, driver, driver_version, os, platform, via] = columns;
        let (application, driver, driver_version) = (application?, driver?, driver_version?);
        let (os, platform, via) = (os?, platform?, via?);
        let origins = self.texts("origin")?;
        Ok(move |row| {
            let text = |column: &Texts<'_>| column.get(row).map(Text::from);
            let client = Client {
                application: text(&application),
                driver: text(&driver),
                driver_version: text(&driver_version),
                os: text(&os),
                platform: text(&platform),
                via: text(&via),
                origin: origins.get(row).map(|text| origin(text).ok_or(())).transpose()?,
            };
            Ok(Some(client).filter(|client| *client != Client::default()))
        })
    }
}

fn outcome_word(word: &str) -> Option<&'static str> {
    ["success", "failure", "unknown"].into_iter().find(|known| *known == word)
}

fn peer(address: Option<&str>, port: Option<i32>) -> Option<Peer> {
    match address {
        None => Some(Peer::Unknown),
        Some("unix") => Some(Peer::UnixSocket),
        Some(address) => {
            let port = port.map(u16::try_from).transpose().ok()?;
            Some(Peer::Ip { address: address.parse().ok()?, port })
        }
    }
}

/// The peer that its `Display` spelled.
fn origin(text: &str) -> Option<Peer> {
    match text {
        "unknown" => Some(Peer::Unknown),
        "unix" => Some(Peer::UnixSocket),
        _ => match text.parse::<IpAddr>() {
            Ok(address) => Some(Peer::Ip { address, port: None }),
            Err(_) => {
                let socket = text.parse::<std::net::SocketAddr>().ok()?;
                Some(Peer::Ip { address: socket.ip(), port: Some(socket.port()) })
            }
        },
    }
}

fn quarantine_facts(json: Option<&str>) -> Option<(QuarantineFacts, [u8; 32])> {
    let facts: QuarantineFacts = serde_json::from_str(json?).ok()?;
    let mut sha256 = [0; 32];
    hex::decode_to_slice(&facts.sha256, &mut sha256).ok()?;
    Some((facts, sha256))
}

/// Hands a file's bytes to the library.
#[derive(Clone)]
struct Source {
    file: Arc<dyn DiskFile>,
    size: u64,
}

impl Length for Source {
    fn len(&self) -> u64 {
        self.size
    }
}

impl ChunkReader for Source {
    type T = std::io::BufReader<SourceReader>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        Ok(std::io::BufReader::new(SourceReader { source: self.clone(), at: start }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        // A damaged footer may ask for anything; a file has no more than its length.
        if start.checked_add(length as u64).is_none_or(|end| end > self.size) {
            return Err(ParquetError::EOF(format!(
                "{length} bytes at {start} are not in the file"
            )));
        }
        let bytes = read_up_to(&*self.file, start, length)?;
        match bytes.len() == length {
            true => Ok(bytes.into()),
            false => Err(ParquetError::EOF("the file ends early".to_owned())),
        }
    }
}

struct SourceReader {
    source: Source,
    at: u64,
}

impl std::io::Read for SourceReader {
    fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
        let count = self.source.file.read_at(bytes, self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

fn load_footer(source: &Source) -> Result<ArrowReaderMetadata, ParquetError> {
    let options = ArrowReaderOptions::new()
        .with_skip_arrow_metadata(true)
        .with_page_index_policy(PageIndexPolicy::Required);
    let footer = ArrowReaderMetadata::load(source, options.clone())?;
    let file = footer.metadata().file_metadata();
    let version = file.key_value_metadata().into_iter().flatten();
    let version =
        version.filter(|pair| pair.key == VERSION_KEY).find_map(|pair| pair.value.clone());
    let number = version.as_deref().and_then(|version| version.parse::<u32>().ok());
    if !number.is_some_and(|number| (1..=VERSION).contains(&number)) {
        return Err(ParquetError::General(format!(
            "segment format {version:?}; this program reads formats 1 to {VERSION}"
        )));
    }
    // Texts stay keys into their dictionary, so that a filter looks at each text once.
    let fields = footer.schema().fields().iter().map(|field| match field.data_type() {
        DataType::Utf8 => {
            let keys = DataType::Dictionary(DataType::Int32.into(), DataType::Utf8.into());
            Arc::new(Field::new(field.name(), keys, field.is_nullable()))
        }
        _ => Arc::clone(field),
    });
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let metadata = Arc::clone(footer.metadata());
    ArrowReaderMetadata::try_new(metadata, options.with_schema(schema))
}

/// Calls into the library, whose complaints, and whose panics over bytes that it did not expect, are
/// damage of this file.
fn guarded<T>(path: &Path, call: impl FnOnce() -> Result<T, ParquetError>) -> Result<T, Error> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(ParquetError::External(error))) => match error.downcast::<std::io::Error>() {
            Ok(error) if error.raw_os_error().is_some() => Err(Error::io(path, "read", *error)),
            Ok(error) => Err(Error::damaged(path, "not what was written").because(error)),
            Err(error) => Err(Error::damaged(path, "not what was written").because(error)),
        },
        Ok(Err(error)) => Err(Error::damaged(path, "not what was written").because(error)),
        Err(_) => Err(Error::damaged(path, "not what was written; the reader gave up")),
    }
}
