//! What travels over the admin socket: frames of `u32` length (big endian, of what follows), `u8`
//! type and payload.
//!
//! The server speaks first, with [`FrameType::Hello`]. A request is answered by one reply or
//! failure. An import is a `Begin`, then any number of `Records`, `Commit` and `File`, then an
//! `End`; of these, `Begin`, `Commit` and `End` are answered. `Records` carries records in their WAL
//! form (CBOR, one after the other), so that a batch of any size travels in frames of bounded size;
//! they take effect with the `Commit` that follows, whole or not at all.
//!
//! Both ends are the same program, and only root and the server's own user get here; the bounds
//! are for our own mistakes.

use std::io::{ErrorKind, Read, Write};

use doorbook_event::Record;
use doorbook_event::record::UnknownId;
use doorbook_source::Batch;
use minicbor::{Decode, Encode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::admin::Failure;

/// Changes whenever two versions would misunderstand each other.
pub const PROTOCOL: u32 = 1;

/// 64 MiB: the largest single record is a line of the longest length that the reader takes whole.
pub const FRAME_SIZE_BYTES_MAX: usize = 64 << 20;

/// 1 MiB: where a frame of records is cut. Larger frames were not faster, and each end holds one.
const RECORDS_SIZE_BYTES: usize = 1 << 20;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FrameType {
    /// Server: the protocol's number.
    Hello = 0,
    /// Client: a [`Request`](crate::admin::Request) as JSON.
    Request = 1,
    /// Client: a [`Begin`](crate::pipeline::session::Begin) as JSON.
    Begin = 2,
    /// Client: records of the import's next part as CBOR.
    Records = 3,
    /// Client: commit the part; a [`Commit`] as CBOR.
    Commit = 4,
    /// Client: an input was read; an `ImportedFile` as CBOR.
    File = 5,
    /// Client: the import ends; one byte, 1 if it is complete.
    End = 6,
    /// Server: what was asked for, as JSON.
    Reply = 64,
    /// Server: a [`Failure`] as JSON.
    Failure = 65,
}

impl FrameType {
    fn from_number(number: u8) -> Option<FrameType> {
        use FrameType::{Begin, Commit, End, File, Hello, Records, Reply, Request};
        let all = [Hello, Request, Begin, Records, Commit, File, End, Reply, FrameType::Failure];
        all.into_iter().find(|kind| *kind as u8 == number)
    }
}

/// What of a batch is not a record.
#[derive(Debug, Encode, Decode)]
#[cbor(map)]
pub struct Commit {
    /// Physical lines that were read for it.
    #[n(0)]
    pub lines: u64,
    /// Message ids that were not known.
    #[n(1)]
    pub unknown_ids: Vec<UnknownId>,
}

/// Writes one frame.
pub fn write_frame(to: &mut impl Write, kind: FrameType, payload: &[u8]) -> std::io::Result<()> {
    let length = u32::try_from(payload.len() + 1).ok();
    let length = length.filter(|length| *length as usize <= FRAME_SIZE_BYTES_MAX);
    let length = length.ok_or_else(|| {
        std::io::Error::new(ErrorKind::InvalidData, "a frame of the admin socket is too large")
    })?;
    let mut head = [0; 5];
    head[..4].copy_from_slice(&length.to_be_bytes());
    head[4] = kind as u8;
    to.write_all(&head)?;
    to.write_all(payload)
}

/// Writes one frame of JSON.
pub fn write_json<T: Serialize>(
    to: &mut impl Write,
    kind: FrameType,
    value: &T,
) -> std::io::Result<()> {
    write_frame(to, kind, &serde_json::to_vec(value).map_err(std::io::Error::other)?)
}

/// Reads one frame; `None` where the other end has closed between frames.
pub fn read_frame(from: &mut impl Read) -> std::io::Result<Option<(FrameType, Vec<u8>)>> {
    let malformed = |what: &'static str| std::io::Error::new(ErrorKind::InvalidData, what);
    let mut head = [0; 5];
    match from.read(&mut head[..1])? {
        0 => return Ok(None),
        _ => from.read_exact(&mut head[1..])?,
    }
    let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
    if !(1..=FRAME_SIZE_BYTES_MAX).contains(&length) {
        return Err(malformed("a frame of the admin socket has an impossible length"));
    }
    let kind = FrameType::from_number(head[4]);
    let kind = kind.ok_or_else(|| malformed("a frame of the admin socket has an unknown type"))?;
    // Read through `take` rather than into a buffer of the claimed length, so that memory is used
    // for what arrives and not for what was announced.
    let mut payload = Vec::with_capacity((length - 1).min(RECORDS_SIZE_BYTES));
    from.take(length as u64 - 1).read_to_end(&mut payload)?;
    if payload.len() != length - 1 {
        return Err(std::io::Error::from(ErrorKind::UnexpectedEof));
    }
    Ok(Some((kind, payload)))
}

/// Reads JSON of a frame.
pub fn from_json<T: DeserializeOwned>(payload: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(payload)
        .map_err(|error| Failure::invalid(format!("the admin socket brought no sense: {error}")))
}

/// Writes a batch: its records, and the commit that makes them one.
pub fn write_batch(to: &mut impl Write, batch: Batch) -> std::io::Result<()> {
    let Batch { accesses, coverage, quarantine, unknown_ids, lines, .. } = batch;
    let records = accesses.into_iter().map(Record::Access);
    let records = records.chain(coverage.into_iter().map(Record::Coverage));
    let records = records.chain(quarantine.into_iter().map(Record::Quarantine));
    let mut buffer = Vec::new();
    for record in records {
        minicbor::encode(&record, &mut buffer).map_err(std::io::Error::other)?;
        if buffer.len() >= RECORDS_SIZE_BYTES {
            write_frame(to, FrameType::Records, &buffer)?;
            buffer.clear();
        }
    }
    if !buffer.is_empty() {
        write_frame(to, FrameType::Records, &buffer)?;
    }
    let commit = minicbor::to_vec(Commit { lines, unknown_ids }).map_err(std::io::Error::other)?;
    write_frame(to, FrameType::Commit, &commit)
}

/// Adds the records of one frame to a batch.
pub fn read_records(payload: &[u8], batch: &mut Batch) -> Result<(), Failure> {
    let mut decoder = minicbor::Decoder::new(payload);
    while decoder.position() < payload.len() {
        let record: Record = decoder.decode().map_err(malformed)?;
        match record {
            Record::Access(access) => batch.accesses.push(access),
            Record::Coverage(coverage) => batch.coverage.push(coverage),
            Record::Quarantine(quarantine) => batch.quarantine.push(quarantine),
            _ => return Err(Failure::invalid("this kind of record cannot be imported")),
        }
    }
    batch.size_bytes += payload.len();
    Ok(())
}

/// Reads CBOR of a frame.
pub fn from_cbor<'b, T: Decode<'b, ()>>(payload: &'b [u8]) -> Result<T, Failure> {
    minicbor::decode(payload).map_err(malformed)
}

fn malformed(error: minicbor::decode::Error) -> Failure {
    Failure::invalid(format!("the admin socket brought no sense: {error}"))
}

#[cfg(test)]
mod tests {
    use doorbook_event::Target;
    use doorbook_event::record::{Place, Quarantine};

    use super::*;

    fn quarantine(length: usize) -> Quarantine {
        Quarantine {
            target: Target::Host { cluster: "c".into(), host: "h:1".into() },
            reason: "r".into(),
            place: Place::default(),
            bytes: vec![7; length],
            length_bytes: length as u64,
            sha256: [0; 32],
        }
    }

    /// A batch that is larger than a frame arrives whole, in order, in frames of bounded size.
    #[test]
    fn a_batch_travels_in_bounded_frames() {
        let quarantine: Vec<_> = (0..100).map(|n| quarantine(60_000 + n)).collect();
        let unknown = UnknownId { id: 9, version: None, count: 2, message: "m".into() };
        let sent = Batch {
            quarantine: quarantine.clone(),
            lines: 5,
            unknown_ids: vec![unknown.clone()],
            ..Batch::default()
        };
        let mut bytes = Vec::new();
        write_batch(&mut bytes, sent).expect("memory takes it");
        let mut from = &bytes[..];
        let mut got = Batch::default();
        let mut n_frames = 0;
        let commit: Commit = loop {
            let (kind, payload) = read_frame(&mut from).expect("sound").expect("a commit follows");
            assert!(payload.len() < 2 * RECORDS_SIZE_BYTES);
            n_frames += 1;
            match kind {
                FrameType::Records => read_records(&payload, &mut got).expect("sound"),
                FrameType::Commit => break from_cbor(&payload).expect("sound"),
                other => panic!("{other:?}"),
            }
        };
        assert!(n_frames > 4, "{n_frames}");
        assert_eq!(got.quarantine, quarantine);
        assert_eq!((commit.lines, commit.unknown_ids), (5, vec![unknown]));
        assert!(read_frame(&mut from).expect("sound").is_none());
    }

    #[test]
    fn nonsense_is_an_error() {
        let check = |bytes: &[u8]| assert!(read_frame(&mut &bytes[..]).is_err(), "{bytes:?}");
        check(&[0, 0, 0, 0, 1]);
        check(&[255, 255, 255, 255, 1]);
        check(&[0, 0, 0, 1, 99]);
        check(&[0, 0, 0, 9, 1, b'{']);
        check(&[0, 0]);
        assert!(read_records(&[0x82, 2, 0x80], &mut Batch::default()).is_err());
    }
}
