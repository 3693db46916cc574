//! Stub.

/// A line without its wrapping.
pub enum Unwrapped<'a> {
    /// A line.
    Line(&'a [u8]),
    /// Nothing.
    Held,
}

/// Takes wrapping off.
#[derive(Default)]
pub struct Unwrapper;

impl Unwrapper {
    /// New.
    pub fn new() -> Unwrapper {
        Unwrapper
    }
    /// Takes it off.
    pub fn unwrap<'a>(&'a mut self, bytes: &'a [u8]) -> Unwrapped<'a> {
        if bytes == b"never" { return Unwrapped::Held }
        Unwrapped::Line(bytes)
    }
}
