//! [`Name`]: what the name of a file of an array says.
//!
//! `__t1_t2_uuid[_v]`, where t1 and t2 are milliseconds that whoever wrote may choose, the UUID has 32
//! lower-case digits and v is the version of the format; before version 3 `__uuid_t1[_t2]`. Where the file
//! lies and how its name ends say what it is. Later versions are taken like the present one.

use std::fmt;

/// A file of an array, by its path below the array. 48 bytes, from which the path can be had again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    /// What it is.
    pub kind: Kind,
    /// What stands before its end.
    pub stem: Stem,
}

/// The part of a name that files of one operation share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stem {
    /// Where its data begins, in milliseconds; not the time of the operation.
    pub data_from: u64,
    /// Where its data ends.
    pub data_to: u64,
    /// Random.
    pub uuid: [u8; 16],
    /// The version of the format; 0 where the name has none.
    pub version: u32,
    form: Form,
}

/// How a stem is spelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Form {
    Dated,
    /// Of versions 1 and 2.
    UuidFirst,
    /// The same with one time only.
    UuidFirstOnce,
}

/// What a file of an array is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A schema.
    Schema,
    /// The only schema of an array before version 10. Its stem is empty.
    OldSchema,
    /// The commit of a write, or of fragments that were merged.
    Write,
    /// The commit of a write, before version 12: beside its fragment.
    OldWrite,
    /// A fragment before version 5, which nothing commits: by its own metadata.
    OldFragment,
    /// A delete by condition.
    Delete,
    /// An update by condition.
    Update,
    /// Which fragments were merged, until they are removed.
    FragmentVacuum,
    /// The same before version 12.
    OldFragmentVacuum,
    /// Commits that were merged.
    Commits,
    /// Of merged commits, which are no more.
    Ignored,
    /// Merged metadata of fragments.
    FragmentMetadata,
    /// The same before version 12.
    OldFragmentMetadata,
    /// The array's own metadata.
    Metadata,
    /// Which of the array's own metadata were merged, until they are removed.
    MetadataVacuum,
}

impl Name {
    /// What the name of a path below an array says; `None` if it tells of no operation.
    pub fn parse(path: &str) -> Option<Name> {
        let (folder, file) = path.split_once('/').unwrap_or(("", path));
        let (kind, stem) = match folder {
            "" if file == "__array_schema.tdb" => {
                return Some(Name { kind: Kind::OldSchema, stem: Stem::NONE });
            }
            "" => Kind::by_ending(&ROOT, file)?,
            "__schema" => (Kind::Schema, file),
            "__commits" => Kind::by_ending(&COMMITS, file)?,
            "__fragment_meta" => (Kind::FragmentMetadata, file.strip_suffix(".meta")?),
            "__meta" => match file.strip_suffix(".vac") {
                Some(stem) => (Kind::MetadataVacuum, stem),
                None => (Kind::Metadata, file),
            },
            stem if file == OLD_FRAGMENT => (Kind::OldFragment, stem),
            _ => return None,
        };
        let stem = Stem::parse(stem)?;
        (kind != Kind::OldFragment || stem.version == 0).then_some(Name { kind, stem })
    }

    /// Whether it commits what was written, or merged from what was.
    pub fn is_write(&self) -> bool {
        matches!(self.kind, Kind::Write | Kind::OldWrite | Kind::OldFragment)
    }

    /// The commit of a fragment.
    pub(super) fn commit_of(stem: Stem) -> Name {
        let kind = match stem.version {
            0 => Kind::OldFragment,
            1..12 => Kind::OldWrite,
            _ => Kind::Write,
        };
        Name { kind, stem }
    }

    /// The file that a fragment is written to last, before its commit.
    pub(super) fn fragment(&self) -> String {
        match self.kind {
            Kind::Write => format!("__fragments/{}/{OLD_FRAGMENT}", self.stem),
            _ => format!("{}/{OLD_FRAGMENT}", self.stem),
        }
    }

    /// The same with another kind.
    pub(super) fn with_kind(self, kind: Kind) -> Name {
        Name { kind, stem: self.stem }
    }
}

/// The path below the array.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stem = &self.stem;
        match self.kind {
            Kind::Schema => write!(f, "__schema/{stem}"),
            Kind::OldSchema => f.write_str("__array_schema.tdb"),
            Kind::Write => write!(f, "__commits/{stem}.wrt"),
            Kind::OldWrite => write!(f, "{stem}.ok"),
            Kind::OldFragment => write!(f, "{stem}/{OLD_FRAGMENT}"),
            Kind::Delete => write!(f, "__commits/{stem}.del"),
            Kind::Update => write!(f, "__commits/{stem}.upd"),
            Kind::FragmentVacuum => write!(f, "__commits/{stem}.vac"),
            Kind::OldFragmentVacuum => write!(f, "{stem}.vac"),
            Kind::Commits => write!(f, "__commits/{stem}.con"),
            Kind::Ignored => write!(f, "__commits/{stem}.ign"),
            Kind::FragmentMetadata => write!(f, "__fragment_meta/{stem}.meta"),
            Kind::OldFragmentMetadata => write!(f, "{stem}.meta"),
            Kind::Metadata => write!(f, "__meta/{stem}"),
            Kind::MetadataVacuum => write!(f, "__meta/{stem}.vac"),
        }
    }
}

/// In the folder of commits.
const COMMITS: [(&str, Kind); 6] = [
    (".wrt", Kind::Write),
    (".del", Kind::Delete),
    (".upd", Kind::Update),
    (".vac", Kind::FragmentVacuum),
    (".con", Kind::Commits),
    (".ign", Kind::Ignored),
];

/// In the array's folder itself, before version 12.
const ROOT: [(&str, Kind); 3] = [
    (".ok", Kind::OldWrite),
    (".vac", Kind::OldFragmentVacuum),
    (".meta", Kind::OldFragmentMetadata),
];

const OLD_FRAGMENT: &str = "__fragment_metadata.tdb";

impl Kind {
    fn by_ending<'a>(endings: &[(&str, Kind)], file: &'a str) -> Option<(Kind, &'a str)> {
        endings.iter().find_map(|(ending, kind)| Some((*kind, file.strip_suffix(ending)?)))
    }
}

impl Stem {
    const NONE: Stem =
        Stem { data_from: 0, data_to: 0, uuid: [0; 16], version: 0, form: Form::Dated };

    /// Reads a stem in any version's form.
    pub fn parse(text: &str) -> Option<Stem> {
        let mut parts = text.strip_prefix("__")?.split('_');
        let mut next = || parts.next();
        let (first, second, third, version) = (next()?, next()?, next(), next());
        if next().is_some() {
            return None;
        }
        if let Some(uuid) = uuid(first) {
            let data_from = number(second)?;
            let (data_to, form) = match third {
                Some(time) => (number(time)?, Form::UuidFirst),
                None => (data_from, Form::UuidFirstOnce),
            };
            let stem = Stem { data_from, data_to, uuid, version: 0, form };
            return version.is_none().then_some(stem);
        }
        let version = match version {
            None => 0,
            Some(version) => u32::try_from(number(version)?).ok().filter(|version| *version > 0)?,
        };
        let (data_from, data_to) = (number(first)?, number(second)?);
        Some(Stem { data_from, data_to, uuid: uuid(third?)?, version, form: Form::Dated })
    }

    /// Whether data of several times are in it: it was made by merging. What was written at one time
    /// and merged has no such sign.
    pub fn is_merged(&self) -> bool {
        self.data_from < self.data_to
    }

    /// Whether the other one's data lie within its own.
    pub(super) fn spans(&self, other: &Stem) -> bool {
        self.data_from <= other.data_from && other.data_to <= self.data_to
    }
}

impl fmt::Display for Stem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Stem { data_from, data_to, uuid, version, form } = self;
        let uuid = u128::from_be_bytes(*uuid);
        match form {
            Form::Dated if *version == 0 => write!(f, "__{data_from}_{data_to}_{uuid:032x}"),
            Form::Dated => write!(f, "__{data_from}_{data_to}_{uuid:032x}_{version}"),
            Form::UuidFirst => write!(f, "__{uuid:032x}_{data_from}_{data_to}"),
            Form::UuidFirstOnce => write!(f, "__{uuid:032x}_{data_from}"),
        }
    }
}

/// As it is written, so that the path can be had again.
fn number(text: &str) -> Option<u64> {
    let is_written_so =
        text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if is_written_so { text.parse().ok() } else { None }
}

fn uuid(text: &str) -> Option<[u8; 16]> {
    let is_lower_hex = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
    if text.len() != 32 || !text.bytes().all(is_lower_hex) {
        return None;
    }
    u128::from_str_radix(text, 16).ok().map(u128::to_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "0512d23b8b8e515570068a374247983d";

    /// Goal: every name that an operation leaves is known, in all versions, and its path can be had again.
    /// Method: a table of real names' forms, and of what only looks like them.
    #[test]
    fn names_of_all_versions() {
        let check = |path: &str, expected: Option<(Kind, u64, u64, u32)>| {
            let path = path.replace('U', UUID);
            let name = Name::parse(&path);
            let got = name.map(|n| (n.kind, n.stem.data_from, n.stem.data_to, n.stem.version));
            assert_eq!(got, expected, "{path}");
            if let Some(name) = name {
                assert_eq!(name.to_string(), path);
            }
        };
        check("__schema/__5_7_U", Some((Kind::Schema, 5, 7, 0)));
        check("__array_schema.tdb", Some((Kind::OldSchema, 0, 0, 0)));
        check("__commits/__5_5_U_22.wrt", Some((Kind::Write, 5, 5, 22)));
        check("__commits/__5_5_U_4000000000.wrt", Some((Kind::Write, 5, 5, 4_000_000_000)));
        check("__commits/__5_7_U_22.del", Some((Kind::Delete, 5, 7, 22)));
        check("__commits/__5_7_U_22.upd", Some((Kind::Update, 5, 7, 22)));
        check("__commits/__5_7_U_22.vac", Some((Kind::FragmentVacuum, 5, 7, 22)));
        check("__commits/__5_7_U_22.con", Some((Kind::Commits, 5, 7, 22)));
        check("__commits/__5_7_U_22.ign", Some((Kind::Ignored, 5, 7, 22)));
        check("__fragment_meta/__5_7_U_22.meta", Some((Kind::FragmentMetadata, 5, 7, 22)));
        check("__meta/__5_7_U", Some((Kind::Metadata, 5, 7, 0)));
        check("__meta/__5_7_U.vac", Some((Kind::MetadataVacuum, 5, 7, 0)));
        check("__5_7_U_9.ok", Some((Kind::OldWrite, 5, 7, 9)));
        check("__5_7_U_9.vac", Some((Kind::OldFragmentVacuum, 5, 7, 9)));
        check("__5_7_U_9.meta", Some((Kind::OldFragmentMetadata, 5, 7, 9)));
        check("__5_7_U/__fragment_metadata.tdb", Some((Kind::OldFragment, 5, 7, 0)));
        check("__U_5/__fragment_metadata.tdb", Some((Kind::OldFragment, 5, 5, 0)));
        check("__U_5_7/__fragment_metadata.tdb", Some((Kind::OldFragment, 5, 7, 0)));
        for other in [
            "",
            "__lock.tdb",
            "__tiledb_group.tdb",
            "__schema/__enumerations/__U_0",
            "__schema/__enumerations",
            "__commits",
            "__commits/__5_5_U_22",
            "__commits/__5_5_U_22.tmp",
            "__commits/__05_5_U_22.wrt",
            "__commits/__+5_5_U_22.wrt",
            "__commits/__5_5_U_0.wrt",
            "__commits/__5_5_U_22_1.wrt",
            "__commits/__5_99999999999999999999_U_22.wrt",
            "__commits/__5_5_0512D23B8B8E515570068A374247983D_22.wrt",
            "__commits/x/__5_5_U_22.wrt",
            "__fragments/__5_5_U_22/__fragment_metadata.tdb",
            "__5_7_U_9/__fragment_metadata.tdb",
            "__5_7_U/a.tdb",
            "__group/__5_7_U_2",
        ] {
            check(other, None);
        }
        assert_eq!(size_of::<Name>(), 48);
    }
}
