//! [`ArrayBucket`]: a prefix of a bucket that arrays are in.
//!
//! One listing of everything below the prefix, in the order of keys, a thousand at a time: what is of one array
//! stands together, and only one array's names are in memory at once. So it costs a request per thousand
//! objects, however many arrays these are.

use std::io::{Error, ErrorKind};
use std::sync::Arc;

use doorbook_event::{Clock, Text, Timestamp};
use doorbook_source::tiledb::{CONTENTS_BYTES_MAX, Contents, Listing};
use futures_util::StreamExt;
use object_store::path::Path;
use object_store::{GetOptions, ObjectMeta, ObjectStore, ObjectStoreExt};
use tokio::runtime::Handle;

use super::place::{Changed, Looked, Place, Seen, Unseen};
use crate::admin::with_causes;
use crate::buckets::hints::{Ear, Heard};
use crate::buckets::{Bucket, Buckets};

/// Arrays below a prefix of a bucket; the prefix may be that of one array.
pub(super) struct ArrayBucket {
    bucket: Bucket,
    prefix: String,
    /// Hears what the store says of it.
    ear: Arc<Ear>,
    runtime: Handle,
    /// The latest time of change that was seen.
    latest: Timestamp,
    /// By how much that was ahead of our clock.
    ahead_seconds: i64,
    clock: Arc<dyn Clock>,
}

/// Keys that are taken from the listing at once.
const CHUNK: usize = 1000;

/// Single files of one array whose time of change is asked for in one look: each is a request.
const TIMES_MAX: usize = 256;

/// A removal goes object by object, some hundred a second.
const REMOVAL_SECONDS: i64 = 1;

/// So much a store's clock may differ from ours before it is worth telling.
const AHEAD_SECONDS: i64 = 5;

/// An array whose names are being collected.
struct Collecting {
    root: String,
    listing: Listing,
}

impl ArrayBucket {
    /// `place` is `BUCKET` or `BUCKET/PREFIX`.
    pub(super) fn new(
        place: &str,
        buckets: &Buckets,
        runtime: Handle,
        clock: Arc<dyn Clock>,
    ) -> ArrayBucket {
        let (name, prefix) = place.split_once('/').unwrap_or((place, ""));
        ArrayBucket {
            bucket: Bucket::new(name, buckets),
            prefix: prefix.to_owned(),
            ear: buckets.hints().listen(name, prefix.trim_end_matches('/')),
            runtime,
            latest: Timestamp::MIN,
            ahead_seconds: 0,
            clock,
        }
    }

    fn list(&mut self, prefix: &str, see: &mut dyn FnMut(Seen<'_>) -> bool) -> Result<(), Unseen> {
        let store = self.bucket.store();
        let store = store
            .map_err(|error| Unseen { is_absent: false, message: error.to_string().into() })?;
        let path = path_of(prefix).map_err(|message| Unseen { is_absent: false, message })?;
        let prefix = (!prefix.is_empty()).then_some(&path);
        let mut chunks = store.list(prefix).ready_chunks(CHUNK);
        let mut current: Option<Collecting> = None;
        while let Some(chunk) = self.runtime.block_on(chunks.next()) {
            for object in chunk {
                let object = object.map_err(|error| self.unseen(&error))?;
                if !self.take(&store, &object, &mut current, see) {
                    return Ok(());
                }
            }
        }
        if let Some(last) = current {
            self.finish(&store, last, see);
        }
        Ok(())
    }

    /// Takes note of one object. Whether to go on.
    fn take(
        &mut self,
        store: &Arc<dyn ObjectStore>,
        object: &ObjectMeta,
        current: &mut Option<Collecting>,
        see: &mut dyn FnMut(Seen<'_>) -> bool,
    ) -> bool {
        let key = object.location.as_ref();
        let Some((root, below)) = split(key) else { return true };
        let modified = Timestamp::from_micros(object.last_modified.timestamp_micros());
        self.latest = self.latest.max(modified);
        if let Some(done) = current.take_if(|current| current.root != root)
            && !self.finish(store, done, see)
        {
            return false;
        }
        let collecting = current
            .get_or_insert_with(|| Collecting { root: root.to_owned(), listing: Listing::new() });
        collecting.listing.see(below, modified);
        true
    }

    fn finish(
        &self,
        store: &Arc<dyn ObjectStore>,
        done: Collecting,
        see: &mut dyn FnMut(Seen<'_>) -> bool,
    ) -> bool {
        let Collecting { root, listing } = done;
        let uri = format!("s3://{}/{root}", self.bucket.name()).into();
        let mut contents =
            Objects { store: Arc::clone(store), root, runtime: self.runtime.clone(), times: 0 };
        see(Seen { uri, listing: Ok(listing), contents: &mut contents })
    }

    fn unseen(&self, error: &object_store::Error) -> Unseen {
        unseen(self.bucket.name(), &with_causes(error))
    }
}

/// Why a bucket cannot be listed. Of a listing only the store's own word tells, which stands in the error's
/// text.
fn unseen(bucket: &str, error: &str) -> Unseen {
    let says = |words: &[&str]| words.iter().any(|word| error.contains(word));
    let is_absent = says(&["NoSuchBucket"]);
    let message = if is_absent {
        format!("there is no bucket {bucket}")
    } else if says(&["AccessDenied", "SignatureDoesNotMatch", "InvalidAccessKeyId"]) {
        format!("bucket {bucket} may not be listed with this key (it takes s3:ListBucket): {error}")
    } else {
        format!("bucket {bucket} cannot be listed: {error}")
    };
    Unseen { is_absent, message: message.into() }
}

impl Place for ArrayBucket {
    fn look(&mut self, see: &mut dyn FnMut(Seen<'_>) -> bool) -> Result<Looked, Unseen> {
        self.latest = Timestamp::MIN;
        let prefix = self.prefix.clone();
        self.list(&prefix, see)?;
        let now = self.clock.now();
        self.ahead_seconds = (self.latest.micros().saturating_sub(now.micros())) / 1_000_000;
        Ok(Looked::default())
    }

    fn look_at(&mut self, uri: &str, see: &mut dyn FnMut(Seen<'_>)) {
        let key = uri.strip_prefix("s3://").and_then(|rest| rest.split_once('/'));
        let Some((_, key)) = key.map(|(bucket, key)| (bucket, key.to_owned())) else { return };
        // What keeps it from being listed keeps all of the bucket.
        let _told_by_the_next_look = self.list(&key, &mut |seen| {
            see(seen);
            true
        });
    }

    fn changed(&mut self) -> Changed {
        let Heard { keys, is_much } = self.ear.take();
        let of_arrays = keys.iter().filter_map(|key| split(key));
        // Without its commit a fragment says nothing.
        let telling = of_arrays.filter(|(_, below)| !below.starts_with("__fragments/"));
        let mut arrays: Vec<Text> =
            telling.map(|(root, _)| format!("s3://{}/{root}", self.bucket.name()).into()).collect();
        arrays.dedup();
        Changed { place: is_much, arrays }
    }

    fn note(&self) -> Option<Text> {
        (self.ahead_seconds >= AHEAD_SECONDS).then(|| {
            let seconds = self.ahead_seconds;
            format!("the clock of the store is {seconds} s ahead of ours").into()
        })
    }

    fn margin_seconds(&self) -> i64 {
        AHEAD_SECONDS
    }

    fn removal_seconds(&self) -> i64 {
        REMOVAL_SECONDS
    }
}

/// The objects of one array.
struct Objects {
    store: Arc<dyn ObjectStore>,
    root: String,
    runtime: Handle,
    times: usize,
}

impl Objects {
    fn path(&self, path: &str) -> std::io::Result<Path> {
        let key = match self.root.is_empty() {
            true => path.to_owned(),
            false => format!("{}/{path}", self.root),
        };
        path_of(&key).map_err(|message| Error::new(ErrorKind::InvalidInput, &*message))
    }
}

impl Contents for Objects {
    fn read(&mut self, path: &str) -> std::io::Result<Vec<u8>> {
        let path = self.path(path)?;
        let some = GetOptions {
            range: Some((0..CONTENTS_BYTES_MAX as u64 + 1).into()),
            ..GetOptions::default()
        };
        let read = async { self.store.get_opts(&path, some).await?.bytes().await };
        self.runtime.block_on(read).map(|bytes| bytes.to_vec()).map_err(io_error)
    }

    fn modified(&mut self, path: &str) -> std::io::Result<Timestamp> {
        self.times += 1;
        if self.times > TIMES_MAX {
            return Err(Error::new(ErrorKind::QuotaExceeded, "each would be a request"));
        }
        let path = self.path(path)?;
        let meta = self.runtime.block_on(self.store.head(&path)).map_err(io_error)?;
        Ok(Timestamp::from_micros(meta.last_modified.timestamp_micros()))
    }
}

fn io_error(error: object_store::Error) -> Error {
    let kind = match &error {
        object_store::Error::NotFound { .. } => ErrorKind::NotFound,
        _ => ErrorKind::Other,
    };
    Error::new(kind, error)
}

fn path_of(key: &str) -> Result<Path, Text> {
    Path::parse(key).map_err(|error| format!("{key:?} cannot be asked for: {error}").into())
}

/// The address of the array that a key is of, and the rest: whatever is an array's own begins with `__`.
fn split(key: &str) -> Option<(&str, &str)> {
    if key.starts_with("__") {
        return Some(("", key));
    }
    key.find("/__").map(|at| (&key[..at], &key[at + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_store_refuses_is_told() {
        let check = |error: &str, is_absent, part: &str| {
            let unseen = unseen("lake", error);
            assert_eq!(unseen.is_absent, is_absent, "{error}");
            assert!(unseen.message.contains(part), "{unseen:?}");
        };
        check("404 Not Found: <Code>NoSuchBucket</Code>", true, "there is no bucket lake");
        check("403 Forbidden: <Code>AccessDenied</Code>", false, "s3:ListBucket");
        check("error sending request", false, "cannot be listed: error sending");
    }

    #[test]
    fn keys_are_of_arrays() {
        let check = |key: &str, expected: Option<(&str, &str)>| {
            assert_eq!(split(key), expected, "{key}");
        };
        check("prod/a/__schema/__1_1_x", Some(("prod/a", "__schema/__1_1_x")));
        check(
            "prod/a/__fragments/__1_1_x_22/d0.tdb",
            Some(("prod/a", "__fragments/__1_1_x_22/d0.tdb")),
        );
        check("__schema/__1_1_x", Some(("", "__schema/__1_1_x")));
        check("prod/readme.txt", None);
    }
}
