//! The frames of a spool's files.
//!
//! ```text
//! frame   = length:u32 crc:u32 kind:u8 body     length of kind and body; crc32c of kind and body; little endian
//! kind 0  = begin     CBOR [map]: 0 version (1), 1 where each source stood; the first frame of each file
//! kind 1  = advance   CBOR: an Advance as it travels
//! kind 2  = moved     CBOR [map]: 0 source, 1 where it goes on; what came before of it is void
//! kind 3  = orders    CBOR: Orders as they travel; the one frame of the file `orders`
//! ```

use doorbook_event::source::Source;
use doorbook_event::{Text, Timestamp};
use doorbook_source::following::Place;
use minicbor::{Decode, Encode};

/// The version of the files' form.
const VERSION: u64 = 1;

const HEAD_BYTES: usize = 8;

/// No frame is longer; a length beyond is damage.
const LENGTH_MAX: usize = 64 << 20;

/// A frame that was read.
pub enum Frame {
    /// A file begins, with where each source stood.
    Begin(Vec<(Text, Place)>),
    /// What a source read.
    Advance(Head),
    /// What came before of a source is void.
    Moved(Text, Place),
}

/// What must be known of an advance to keep it.
pub struct Head {
    /// The source's name.
    pub source: Text,
    /// Where it was before.
    pub after: Vec<u8>,
    /// Where it is then.
    pub place: Place,
    /// How long its body is; the body ends where the frame ends.
    pub body_bytes: u64,
}

/// The frame of an advance, from its wire form.
pub fn advance(body: &[u8]) -> Vec<u8> {
    frame(1, body)
}

/// The frame with which a file begins.
pub fn begin<'a>(places: impl Iterator<Item = (&'a Text, &'a Place)>) -> Vec<u8> {
    let places = places.map(|(source, place)| Standing::new(source, place)).collect();
    frame(0, &to_vec(&Begin { version: VERSION, places }))
}

/// The frame that makes void what came before of a source.
pub fn moved(source: &Text, place: &Place) -> Vec<u8> {
    frame(2, &to_vec(&Standing::new(source, place)))
}

/// The frame of what is to be followed, from its wire form.
pub fn orders(body: &[u8]) -> Vec<u8> {
    frame(3, body)
}

/// Where the frame of a body lies that lies there, and its size.
pub fn around(offset: u64, size_bytes: u64) -> (u64, u64) {
    let before = HEAD_BYTES as u64 + 1;
    (offset - before, size_bytes + before)
}

/// The body of a frame that is whole.
pub fn body(frame: &[u8]) -> Option<&[u8]> {
    payload(frame)?.get(1..)
}

/// The first frame of some bytes and its size; `None` where there is no whole one.
pub fn read(bytes: &[u8]) -> Option<(Frame, usize)> {
    let payload = payload(bytes)?;
    let (kind, body) = payload.split_first()?;
    let frame = match kind {
        0 => {
            let begin: Begin = minicbor::decode(body).ok()?;
            let places = begin.places.into_iter().map(Standing::place).collect();
            (begin.version == VERSION).then_some(Frame::Begin(places))?
        }
        1 => {
            let Advanced { source, after, position, through } = minicbor::decode(body).ok()?;
            let place = Place { position, through };
            let body_bytes = body.len() as u64;
            Frame::Advance(Head { source: source.name, after, place, body_bytes })
        }
        2 => {
            let (source, place) = minicbor::decode::<Standing>(body).ok()?.place();
            Frame::Moved(source, place)
        }
        _ => return None,
    };
    Some((frame, HEAD_BYTES + payload.len()))
}

/// Kind and body of the frame with which some bytes begin, if they are as they were written.
fn payload(bytes: &[u8]) -> Option<&[u8]> {
    let (head, rest) = bytes.split_first_chunk::<HEAD_BYTES>()?;
    let [length, crc] = [&head[..4], &head[4..]].map(|four| {
        let four = four.try_into().expect("half of eight");
        u32::from_le_bytes(four)
    });
    let length = usize::try_from(length).ok().filter(|length| *length <= LENGTH_MAX)?;
    let payload = rest.get(..length)?;
    (crc32c::crc32c(payload) == crc).then_some(payload)
}

fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; HEAD_BYTES];
    frame.push(kind);
    frame.extend_from_slice(body);
    let payload = &frame[HEAD_BYTES..];
    let length = u32::try_from(payload.len()).expect("an advance is some megabytes at most");
    let crc = crc32c::crc32c(payload);
    frame[..4].copy_from_slice(&length.to_le_bytes());
    frame[4..HEAD_BYTES].copy_from_slice(&crc.to_le_bytes());
    frame
}

fn to_vec<T: Encode<()>>(value: &T) -> Vec<u8> {
    minicbor::to_vec(value).expect("memory takes all that is written to it")
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct Begin {
    #[n(0)]
    version: u64,
    #[n(1)]
    places: Vec<Standing>,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct Standing {
    #[n(0)]
    source: Text,
    #[cbor(n(1), with = "minicbor::bytes")]
    position: Vec<u8>,
    #[n(2)]
    through: Option<Timestamp>,
}

impl Standing {
    fn new(source: &Text, place: &Place) -> Standing {
        let Place { position, through } = place.clone();
        Standing { source: source.clone(), position, through }
    }

    fn place(self) -> (Text, Place) {
        (self.source, Place { position: self.position, through: self.through })
    }
}

/// The members of an `Advance` that are read here.
#[derive(Decode)]
#[cbor(map)]
struct Advanced {
    #[n(0)]
    source: Source,
    #[cbor(n(1), with = "minicbor::bytes")]
    after: Vec<u8>,
    #[cbor(n(2), with = "minicbor::bytes")]
    position: Vec<u8>,
    #[n(8)]
    through: Option<Timestamp>,
}
