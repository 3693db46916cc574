//! What a key says: of which array the object is, and what it is in it.

use doorbook_event::Timestamp;

/// An object of an array, or a list of some.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// Where the array is, in its bucket.
    pub array: &'a str,
    /// The path below that, without a slash at its beginning.
    pub object: &'a str,
}

/// What is directly in an array.
const PARTS: [&str; 9] = [
    "__schema",
    "__fragments",
    "__commits",
    "__meta",
    "__fragment_meta",
    "__labels",
    "__enumerations",
    "__array_schema.tdb",
    "__lock.tdb",
];

impl<'a> Place<'a> {
    /// By the first part of the key that is a part of an array: an array has no other array in it but those
    /// of its labels, which are its own.
    pub fn of_object(key: &'a str) -> Option<Place<'a>> {
        let mut at: usize = 0;
        for part in key.split('/') {
            if PARTS.contains(&part) || Span::of(part).is_some() {
                return Some(Place { array: &key[..at.saturating_sub(1)], object: &key[at..] });
            }
            at += part.len() + 1;
        }
        None
    }

    /// Of a list that may be of an array itself.
    pub fn of_list(prefix: &'a str) -> Option<Place<'a>> {
        let of_itself = || prefix.strip_suffix('/').map(|array| Place { array, object: "" });
        Place::of_object(prefix).or_else(of_itself).filter(|place| !place.array.is_empty())
    }
}

/// What an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Object<'a> {
    /// A schema.
    Schema,
    /// An enumeration.
    Enumeration,
    /// Cells of a fragment.
    Cells(&'a str),
    /// What is said of a fragment in itself.
    FragmentMetadata(&'a str),
    /// Something was written to this fragment.
    Write(&'a str),
    /// Cells were deleted by a condition.
    Deletion,
    /// Which files a consolidation made superfluous.
    Superfluous,
    /// Commits of which others are made superfluous.
    Commits,
    /// Which commits no longer hold.
    Ignored,
    /// The array's metadata.
    Metadata,
    /// Fragments' metadata of several fragments.
    FragmentsMetadata,
    /// Anything else.
    Other,
}

impl<'a> Object<'a> {
    /// What lies there, by its path in the array.
    pub fn at(path: &'a str) -> Object<'a> {
        let (part, rest) = path.split_once('/').unwrap_or((path, ""));
        let ends = |suffix: &str| rest.ends_with(suffix);
        match part {
            _ if rest.is_empty() => Object::Other,
            "__schema" if rest.starts_with("__enumerations/") => Object::Enumeration,
            "__schema" if Span::of(rest).is_some() => Object::Schema,
            "__meta" if ends(".vac") => Object::Superfluous,
            "__meta" => Object::Metadata,
            "__fragment_meta" => Object::FragmentsMetadata,
            "__fragments" => match rest.split_once('/') {
                Some((fragment, "__fragment_metadata.tdb")) => Object::FragmentMetadata(fragment),
                Some((fragment, file)) if file.ends_with(".tdb") => Object::Cells(fragment),
                _ => Object::Other,
            },
            "__commits" => match rest.rsplit_once('.') {
                Some((fragment, "wrt" | "upd")) => Object::Write(fragment),
                Some((_, "del")) => Object::Deletion,
                Some((_, "vac")) => Object::Superfluous,
                Some((_, "con")) => Object::Commits,
                Some((_, "ign")) => Object::Ignored,
                _ => Object::Other,
            },
            _ => Object::Other,
        }
    }
}

/// The times in a name, `__t1_t2_uuid_v`: of the data, not of the clock when it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first of them.
    pub from: Timestamp,
    /// The last of them.
    pub to: Timestamp,
}

impl Span {
    /// Of a file's or folder's name, whatever it ends with.
    pub fn of(name: &str) -> Option<Span> {
        let mut parts = name.strip_prefix("__")?.split(['_', '.']);
        let mut millis = || -> Option<i64> {
            let digits = parts.next()?;
            let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            is_number.then(|| digits.parse().unwrap_or(i64::MAX))
        };
        let (from, to) = (millis()?, millis()?);
        let uuid = parts.next()?;
        let is_uuid = uuid.len() == 32 && uuid.bytes().all(|byte| byte.is_ascii_hexdigit());
        let time = Timestamp::from_millis;
        is_uuid.then(|| Span { from: time(from), to: time(to) })
    }

    /// Whether it is of more than one write: what merges others has the times of them all.
    pub fn is_wide(self) -> bool {
        self.from < self.to
    }
}
