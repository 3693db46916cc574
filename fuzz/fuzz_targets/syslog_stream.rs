//! Arbitrary bytes from a connection, in arbitrary pieces: nothing panics, nothing grows, and the messages do
//! not depend on the pieces.
#![no_main]

use doorbook_source::Labels;
use doorbook_source::syslog::{Frame, Framer, Lost, MESSAGE_BYTES_MAX, arrival};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (Vec<u8>, Vec<u8>)| {
    let (stream, sizes) = input;
    let mut pieces = Vec::new();
    let mut rest = &stream[..];
    for size in sizes {
        let (piece, behind) = rest.split_at(rest.len().min(usize::from(size)));
        pieces.push(piece);
        rest = behind;
    }
    pieces.push(rest);
    let (frames, lost) = framed(&pieces);
    assert_eq!((&frames, lost), (&framed(&[&stream]).0, framed(&[&stream]).1));
    for frame in frames {
        let arrival = arrival(&frame, &Labels::default());
        assert!(arrival.received.ends_with(&frame.bytes) && frame.bytes.ends_with(&arrival.line));
    }
});

fn framed(pieces: &[&[u8]]) -> (Vec<Frame>, Option<Lost>) {
    let mut framer = Framer::new();
    let mut frames = Vec::new();
    for piece in pieces {
        framer.push(piece);
        loop {
            match framer.next_frame() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(lost) => return (frames, Some(lost)),
            }
        }
        assert!(framer.held_bytes() <= MESSAGE_BYTES_MAX);
    }
    frames.extend(framer.finish());
    assert!(frames.iter().all(|frame| (1..=MESSAGE_BYTES_MAX).contains(&frame.bytes.len())));
    (frames, None)
}
