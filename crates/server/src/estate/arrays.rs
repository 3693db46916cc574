//! `[[source]]` of arrays: which of a namespace are watched, and what tells of them.

use std::path::Path;

use doorbook_event::Text;
use doorbook_event::arrays::{is_below, is_namespace};
use doorbook_event::source::SourceKind;

use super::check;
use super::file;
use super::read::{Document, Problem};
use super::shape::At;
use super::wanted::{WantedSource, Whose};
use crate::arrays::canonical;

/// Everything that is in buckets.
const ALL_BUCKETS: &str = "s3://";

/// A source as written, as it is wanted.
pub(super) fn source(document: &Document, source: &file::Source) -> Result<WantedSource, Problem> {
    let here = document.place(&source.name.bytes());
    let at =
        |value: &At<String>, message: String| Problem::new(document.place(&value.bytes()), message);
    let kind = source.kind;
    let Some(namespace) = &source.namespace else {
        let message =
            format!("whose arrays? A source of kind {} has namespace = \"NAME\"", kind.word());
        return Err(Problem::new(here, message));
    };
    if !kind.is_of_arrays() {
        let message = "the log of a mongod is of a host: write project, cluster or host instead";
        return Err(at(namespace, message.to_owned()));
    }
    if !is_namespace(namespace) {
        let message = format!("{:?} is no name of a user or an organization", **namespace);
        return Err(at(namespace, message));
    }
    let texts = [&source.project, &source.cluster, &source.host, &source.agent];
    let words = ["project", "cluster", "host", "agent"];
    for (value, word) in texts.into_iter().zip(words) {
        if let Some(value) = value {
            return Err(at(value, format!("arrays are of a namespace; take {word} out")));
        }
    }
    if let Some(rules) = &source.r#match {
        let message = "lines that are sent tell of no arrays; take match out".to_owned();
        return Err(Problem::new(document.place(&rules.bytes()), message));
    }
    if let Some(zone) = &source.zone {
        check::zone(zone).map_err(|problem| at(zone, problem))?;
    }
    let Some(path) = &source.path else {
        let example = match kind {
            SourceKind::TiledbStorage => "write path = \"file:///PATH\" or \"s3://BUCKET/PREFIX\"",
            _ => "write path = \"/PATH\" of the log, or \"s3://BUCKET/PREFIX\"",
        };
        return Err(Problem::new(here, example));
    };
    let place = |value: &At<String>| place(value).map_err(|problem| at(value, problem));
    let (path, below) = match (kind, &source.arrays) {
        (SourceKind::TiledbStorage, Some(arrays)) => {
            let message = "its path is where its arrays are; take arrays out".to_owned();
            return Err(at(arrays, message));
        }
        (SourceKind::TiledbStorage, None) => {
            let path = place(path)?;
            (path.clone(), path)
        }
        (_, arrays) => {
            let below = |value: &At<String>| below(value).map_err(|problem| at(value, problem));
            let below = arrays.as_ref().map(below).transpose()?;
            let path = log(kind, path).map_err(|problem| at(path, problem))?;
            (path, below.unwrap_or_else(|| ALL_BUCKETS.into()))
        }
    };
    Ok(WantedSource {
        place: here,
        name: source.name.as_str().into(),
        kind,
        whose: Whose::Arrays { namespace: namespace.as_str().into(), below },
        path,
        rules: Vec::new(),
        zone: source.zone.as_ref().map_or_else(|| "UTC".into(), |zone| zone.as_str().into()),
        agent: None,
        interval_seconds: source.interval_seconds.as_ref().map(|interval| interval.0),
    })
}

/// Where arrays are: on this machine's disk or in a bucket.
fn place(text: &str) -> Result<Text, String> {
    if let Some(in_bucket) = text.strip_prefix(ALL_BUCKETS) {
        bucket(in_bucket.split('/').next().unwrap_or(in_bucket))?;
    }
    let place = canonical(text)?;
    match place.starts_with("file://") || place.starts_with(ALL_BUCKETS) {
        true => Ok(place),
        false => Err(format!("{text:?} is neither file:///PATH nor s3://BUCKET/PREFIX")),
    }
}

/// Of which arrays a log can tell.
fn below(text: &str) -> Result<Text, String> {
    match text.starts_with(ALL_BUCKETS) {
        true if text == ALL_BUCKETS => Ok(text.into()),
        true => place(text),
        false => Err("an object store's log tells of arrays in buckets; write arrays = \
                      \"s3://BUCKET\" or \"s3://BUCKET/PREFIX\""
            .to_owned()),
    }
}

/// A name as every object store takes it: another would be part of a host's name, or of none.
fn bucket(name: &str) -> Result<(), String> {
    let is_alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let is_right = (3..=63).contains(&name.len())
        && name.bytes().all(|b| is_alphanumeric(b) || b"-.".contains(&b))
        && !name.starts_with(['-', '.'])
        && !name.ends_with(['-', '.']);
    match (name, is_right) {
        (_, true) => Ok(()),
        ("", _) => Err("this names no bucket; write s3://BUCKET or s3://BUCKET/PREFIX".to_owned()),
        _ => Err(format!(
            "{name:?} is no name of a bucket: write 3 to 63 of a-z, 0-9, - and ., with a letter or a \
             digit at both ends"
        )),
    }
}

/// Where an object store's log is: Ceph writes one file on, the others come as many.
fn log(kind: SourceKind, path: &str) -> Result<Text, String> {
    match (kind, path.starts_with(ALL_BUCKETS)) {
        (SourceKind::CephOpsLog, true) => {
            Err("a gateway writes this log into a file; write path = \"/PATH\" of it".to_owned())
        }
        (SourceKind::CephOpsLog, false) => {
            check::path(path)?;
            match Path::new(path).is_dir() {
                true => Err(format!("{path:?} is a folder; write the path of the live file in it")),
                false => Ok(path.into()),
            }
        }
        (_, true) => Ok(path.into()),
        (_, false) => folder(path),
    }
}

/// A folder that files come into.
fn folder(path: &str) -> Result<Text, String> {
    if path.contains(['*', '?', '[']) {
        return Err(format!(
            "{path:?} is a pattern; write the folder that its files come into, as in \"/srv/logs/lake\""
        ));
    }
    let path = path.trim_end_matches('/');
    check::path(path)?;
    match Path::new(path).is_file() {
        true => Err(format!("{path:?} is a file; write the folder that such files come into")),
        false => Ok(path.into()),
    }
}

/// Tells of sources that watch the same arrays: each change would be recorded by both.
pub(super) fn check(sources: &[WantedSource], problems: &mut Vec<Problem>) {
    let stored = sources.iter().filter(|source| source.kind == SourceKind::TiledbStorage);
    let stored: Vec<(&WantedSource, &Text, &Text)> = stored
        .filter_map(|source| match &source.whose {
            Whose::Arrays { namespace, below } => Some((source, namespace, below)),
            Whose::Host { .. } => None,
        })
        .collect();
    for (at, (source, namespace, below)) in stored.iter().enumerate() {
        let overlaps = |other: &&(&WantedSource, &Text, &Text)| {
            other.1 == *namespace && (is_below(below, other.2) || is_below(other.2, below))
        };
        let Some((other, ..)) = stored[..at].iter().find(overlaps) else { continue };
        let message = format!(
            "source {:?} watches arrays that source {:?} watches ({}); in a namespace each place has \
             one source",
            &*source.name, &*other.name, other.path
        );
        problems.push(Problem::new(source.place, message));
    }
}
