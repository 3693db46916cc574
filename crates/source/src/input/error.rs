//! [`Error`]: what can be wrong with an input, and what its owner can do.

use std::fmt;
use std::io;

use doorbook_event::Text;

/// Why an input could not be used, or not further.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    file: Text,
    offset_bytes: Option<u64>,
    message: String,
    source: Option<io::Error>,
}

/// What to do about an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// What was named is not there, may not be read or matches nothing: name something else, or
    /// change its permissions.
    Name,
    /// The content is not a text log, nor one in a compression that is read here: convert it.
    Binary,
    /// The compressed data is cut off or damaged. The lines before that were delivered. Those of
    /// data that is cut off are good; damage may show only at the data's end, where its checksum
    /// is, so that lines before the error may be wrong: get a better copy.
    Broken,
    /// A file that is followed is not there yet, may not be read or is none: it is tried again with
    /// each poll.
    Absent,
    /// Its start-up lines name another host than the one that it is followed for: say whose log it is.
    Foreign,
    /// The operating system failed to deliver. The lines before that were delivered; try again.
    Io,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, file: &Text, message: impl Into<String>) -> Error {
        Error {
            kind,
            file: file.clone(),
            offset_bytes: None,
            message: message.into(),
            source: None,
        }
    }

    pub(crate) fn at(mut self, offset_bytes: u64) -> Error {
        self.offset_bytes = Some(offset_bytes);
        self
    }

    pub(crate) fn caused_by(mut self, source: io::Error) -> Error {
        self.source = Some(source);
        self
    }

    /// What to do about it.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The file, directory or pattern as it was named; `-` for standard input.
    pub fn file(&self) -> &Text {
        &self.file
    }

    /// What happened and why, in one line.
    pub fn told(&self) -> Text {
        match &self.source {
            Some(source) => format!("{self}: {source}").into(),
            None => self.to_string().into(),
        }
    }

    /// How far the (decompressed) content was good, where it is about content.
    pub fn offset_bytes(&self) -> Option<u64> {
        self.offset_bytes
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file, self.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| source as _)
    }
}
