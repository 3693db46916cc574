//! Rows to a segment file.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::path::Path;

use doorbook_event::{
    Access, Attributes, Client, LogId, Outcome, Peer, Principal, Record, Scope, Target, Timestamp,
    WrittenTime,
};
use parquet::errors::{ParquetError, Result};

use super::file::{FileWriter, Sink};
use super::pages::{BytesColumn, Compressor, FlagColumn, NumberColumn, TextColumn};
use super::{Member, QuarantineFacts, SegmentMeta};
use crate::disk::Disk;
use crate::error::Error;
use crate::memtable::{Row, kind};
use crate::names::Names;

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
    let mut sink = Sink::new(&*file);
    let members = encode(&mut sink, scope, &lines).map_err(|error| from_library(&path, error))?;
    let sunk = sink.finish().map_err(|error| Error::io(&path, "write", error))?;
    file.sync().map_err(|error| Error::io(&path, "sync", error))?;
    disk.sync_dir(dir).map_err(|error| Error::io(dir, "sync the directory", error))?;
    let seqs = lines.iter().map(|line| line.seq);
    Ok(SegmentMeta {
        name: name.into(),
        log: LogId(0),
        base_seq: 0,
        first_seq: seqs.clone().min().unwrap_or(0),
        last_seq: seqs.max().unwrap_or(0),
        size_bytes: sunk.size_bytes,
        crc32c: sunk.crc32c,
        import: None,
        members,
        is_final: false,
        tail: Some(sunk.tail),
    })
}

/// The file's own refusal comes back in a library's envelope.
pub(crate) fn from_library(path: &Path, error: ParquetError) -> Error {
    match error {
        ParquetError::External(error) => match error.downcast::<io::Error>() {
            Ok(error) => Error::io(path, "write", *error),
            Err(error) => Error::io(path, "write", io::Error::other(error)),
        },
        error => Error::io(path, "write", io::Error::other(error)),
    }
}

/// The lines in the order of the file, by keys that lie side by side: the rows themselves lie all
/// over memory, and to compare two of them is to wait for both.
fn sort(lines: &mut Vec<Line<'_>>) {
    let ranks = ranks(lines);
    let key = |((rank, line), at): ((u32, &Line<'_>), u32)| {
        (rank, line.event_time().micros(), line.seq, at)
    };
    let mut keys: Vec<_> = ranks.into_iter().zip(&*lines).zip(0..).map(key).collect();
    if !keys.is_sorted() {
        keys.sort_unstable();
        *lines = keys.into_iter().map(|(.., at)| lines[at as usize]).collect();
    }
}

/// For each line, the place of its target's names among all of them.
fn ranks(lines: &[Line<'_>]) -> Vec<u32> {
    let mut names = Names::new();
    let mut ranks: Vec<u32> = lines.iter().map(|line| names.number(line.names())).collect();
    let mut sorted: Vec<_> = names.all().collect();
    sorted.sort_unstable();
    let mut rank_of = vec![0; sorted.len()];
    for ((_, number), rank) in sorted.into_iter().zip(0..) {
        rank_of[number as usize] = rank;
    }
    ranks.iter_mut().for_each(|number| *number = rank_of[*number as usize]);
    ranks
}

/// zstd levels of the raw column and of the others. Measured on 1 M synthetic lines; see
/// `examples/write_events.rs`.
pub(crate) const RAW_LEVEL: i32 = 1;
pub(crate) const COLUMNS_LEVEL: i32 = 1;

fn encode(sink: &mut Sink<'_>, scope: &Scope, lines: &[Line<'_>]) -> Result<Vec<Member>> {
    let mut file = FileWriter::new(sink)?;
    let scope = scope.to_string();
    let mut columns = Columns::new();
    let mut raw = BytesColumn::new(Compressor::new(RAW_LEVEL)?);
    let mut members: Vec<Member> = Vec::new();
    for line in lines {
        columns.push(&scope, line);
        push_raw(&mut raw, line)?;
        count_member(&mut members, line);
    }
    columns.write(&mut file, raw)?;
    file.finish(lines.len())?;
    Ok(members)
}

fn push_raw(raw: &mut BytesColumn, line: &Line<'_>) -> Result<()> {
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
    kind: NumberColumn,
    cluster: TextColumn<'a>,
    host: TextColumn<'a>,
    target_kind: TextColumn<'a>,
    event_time: NumberColumn,
    seq: NumberColumn,
    ingest_time: NumberColumn,
    source: TextColumn<'a>,
    action: TextColumn<'a>,
    outcome: TextColumn<'a>,
    principal_kind: TextColumn<'a>,
    principal: TextColumn<'a>,
    principal_database: TextColumn<'a>,
    mechanism: TextColumn<'a>,
    address: AddressColumn<'a>,
    port: NumberColumn,
    address_joined: FlagColumn,
    connection: NumberColumn,
    process_start: NumberColumn,
    written_time: TextColumn<'a>,
    reason: TextColumn<'a>,
    code: NumberColumn,
    speculative: FlagColumn,
    classes: NumberColumn,
    application: TextColumn<'a>,
    driver: TextColumn<'a>,
    driver_version: TextColumn<'a>,
    os: TextColumn<'a>,
    platform: TextColumn<'a>,
    via: TextColumn<'a>,
    origin: TextColumn<'a>,
    attributes: TextColumn<'a>,
    /// The attributes of the row in work.
    json: String,
    task_id: TextColumn<'a>,
    raw_encoding: NumberColumn,
}

impl<'a> Columns<'a> {
    fn new() -> Columns<'a> {
        let (required, optional) = (false, true);
        let (wide, narrow) = (false, true);
        Columns {
            scope: TextColumn::new(required),
            kind: NumberColumn::new(required, narrow),
            cluster: TextColumn::new(required).with_statistics(),
            host: TextColumn::new(required).with_statistics(),
            target_kind: TextColumn::new(optional),
            event_time: NumberColumn::new(required, wide).with_statistics(),
            seq: NumberColumn::new(required, wide).with_statistics(),
            ingest_time: NumberColumn::new(required, wide),
            source: TextColumn::new(required),
            action: TextColumn::new(optional),
            outcome: TextColumn::new(optional),
            principal_kind: TextColumn::new(optional),
            principal: TextColumn::new(optional).with_bloom(),
            principal_database: TextColumn::new(optional),
            mechanism: TextColumn::new(optional),
            address: AddressColumn::new(),
            port: NumberColumn::new(optional, narrow),
            address_joined: FlagColumn::default(),
            connection: NumberColumn::new(optional, wide),
            process_start: NumberColumn::new(optional, wide),
            written_time: TextColumn::new(optional),
            reason: TextColumn::new(optional),
            code: NumberColumn::new(optional, wide),
            speculative: FlagColumn::default(),
            classes: NumberColumn::new(required, narrow),
            application: TextColumn::new(optional),
            driver: TextColumn::new(optional),
            driver_version: TextColumn::new(optional),
            os: TextColumn::new(optional),
            platform: TextColumn::new(optional),
            via: TextColumn::new(optional),
            origin: TextColumn::new(optional),
            attributes: TextColumn::new(optional),
            json: String::new(),
            task_id: TextColumn::new(optional).with_bloom(),
            raw_encoding: NumberColumn::new(required, narrow),
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
                self.principal_database.push_made(&uid.to_string());
            }
        }
        self.mechanism.push_option(access.mechanism.as_deref());
        self.address.push(&access.peer);
        self.port.push_option(access.peer.port().map(i64::from));
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
            self.json.clear();
            put_json(&mut self.json, &access.attributes);
            self.attributes.push_made(&self.json);
        }
        self.task_id.push_option(access.task_id.as_deref());
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
            Some(origin) => drop(self.origin.push_made(&origin.to_string())),
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
            &mut self.task_id,
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
                self.attributes.push_made(&facts);
            }
            _ => {
                self.reason.push_null();
                self.attributes.push_null();
            }
        }
    }

    /// Writes the columns in the order of the schema.
    fn write(self, file: &mut FileWriter<'_, '_>, raw: BytesColumn) -> Result<()> {
        let zstd = &mut Compressor::new(COLUMNS_LEVEL)?;
        self.scope.finish(file, zstd)?;
        self.kind.finish(file, zstd)?;
        self.cluster.finish(file, zstd)?;
        self.host.finish(file, zstd)?;
        self.target_kind.finish(file, zstd)?;
        self.event_time.finish(file, zstd)?;
        self.seq.finish(file, zstd)?;
        self.ingest_time.finish(file, zstd)?;
        self.source.finish(file, zstd)?;
        self.action.finish(file, zstd)?;
        self.outcome.finish(file, zstd)?;
        self.principal_kind.finish(file, zstd)?;
        self.principal.finish(file, zstd)?;
        self.principal_database.finish(file, zstd)?;
        self.mechanism.finish(file, zstd)?;
        self.address.text.finish(file, zstd)?;
        self.port.finish(file, zstd)?;
        self.address_joined.finish(file, zstd)?;
        self.connection.finish(file, zstd)?;
        self.process_start.finish(file, zstd)?;
        self.written_time.finish(file, zstd)?;
        self.reason.finish(file, zstd)?;
        self.code.finish(file, zstd)?;
        self.speculative.finish(file, zstd)?;
        self.classes.finish(file, zstd)?;
        self.application.finish(file, zstd)?;
        self.driver.finish(file, zstd)?;
        self.driver_version.finish(file, zstd)?;
        self.os.finish(file, zstd)?;
        self.platform.finish(file, zstd)?;
        self.via.finish(file, zstd)?;
        self.origin.finish(file, zstd)?;
        self.attributes.finish(file, zstd)?;
        self.task_id.finish(file, zstd)?;
        raw.finish(file)?;
        self.raw_encoding.finish(file, zstd)
    }
}

/// A JSON object of texts, as serde_json writes it.
fn put_json(json: &mut String, members: &Attributes) {
    for (n, (name, value)) in members.iter().enumerate() {
        json.push_str(if n == 0 { "{" } else { "," });
        put_json_text(json, name);
        json.push(':');
        put_json_text(json, value);
    }
    json.push('}');
}

fn put_json_text(json: &mut String, text: &str) {
    let is_plain = |byte: u8| byte >= b' ' && byte != b'"' && byte != b'\\';
    match text.bytes().all(is_plain) {
        true => json.extend(["\"", text, "\""]),
        false => json.push_str(&serde_json::to_string(text).expect("a text is JSON")),
    }
}

/// Addresses as texts, each spelled once.
struct AddressColumn<'a> {
    text: TextColumn<'a>,
    keys: HashMap<IpAddr, u32>,
    /// Those of late, each at the place that its last bits say.
    recent: Vec<Option<(IpAddr, u32)>>,
}

/// As many as a fleet has clients.
const RECENT_ADDRESSES: usize = 4096;

impl<'a> AddressColumn<'a> {
    fn new() -> AddressColumn<'a> {
        let text = TextColumn::new(true).with_bloom();
        AddressColumn { text, keys: HashMap::new(), recent: vec![None; RECENT_ADDRESSES] }
    }

    fn push(&mut self, peer: &Peer) {
        match peer {
            Peer::Unknown => self.text.push_null(),
            Peer::UnixSocket => self.text.push("unix"),
            Peer::Ip { address, .. } => match self.key(*address) {
                Some(key) if self.text.push_known(key) => {}
                _ => {
                    if let Some(key) = self.text.push_made(&address.to_string()) {
                        self.keys.insert(*address, key);
                    }
                }
            },
        }
    }

    fn key(&mut self, address: IpAddr) -> Option<u32> {
        let bits = match address {
            IpAddr::V4(address) => address.to_bits(),
            IpAddr::V6(address) => address.to_bits() as u32,
        };
        // Of many networks: the upper bits matter as well.
        let slot = (bits.wrapping_mul(0x9e37_79b1) >> 20) as usize % RECENT_ADDRESSES;
        let recent = &mut self.recent[slot];
        match recent {
            Some((known, key)) if *known == address => Some(*key),
            _ => {
                let key = *self.keys.get(&address)?;
                *recent = Some((address, key));
                Some(key)
            }
        }
    }
}
