//! [`LogBucket`]: the files of a log in a bucket of an object store.

use std::io::{Cursor, Error, ErrorKind, Read, Result};
use std::sync::Arc;

use doorbook_event::Timestamp;
use doorbook_source::object_log::{Files, Folder, Listed};
use futures_util::future::ready;
use futures_util::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use tokio::runtime::Handle;

use crate::admin::with_causes;
use crate::buckets::hints::{Ear, Heard};
use crate::buckets::{Bucket, Buckets};

/// All below a prefix of a bucket.
#[derive(Clone)]
pub(super) struct LogBucket {
    bucket: Bucket,
    /// Whole parts of keys, between slashes.
    prefix: String,
    /// How names below that begin.
    beginning: String,
    /// Hears what the store says of it.
    ear: Arc<Ear>,
    runtime: Handle,
}

/// One file is held in memory while it is read.
const FILE_BYTES_MAX: u64 = 64 << 20;

impl LogBucket {
    /// `place` is `BUCKET`, `BUCKET/PREFIX`, or `BUCKET/BEGINNING*` where the prefix ends at no slash.
    pub(super) fn new(place: &str, buckets: &Buckets, runtime: Handle) -> LogBucket {
        let (name, prefix) = place.split_once('/').unwrap_or((place, ""));
        let (prefix, beginning) = match prefix.strip_suffix('*') {
            Some(begun) => begun.rsplit_once('/').unwrap_or(("", begun)),
            None => (prefix, ""),
        };
        let prefix = prefix.trim_end_matches('/');
        LogBucket {
            bucket: Bucket::new(name, buckets),
            prefix: prefix.to_owned(),
            beginning: beginning.to_owned(),
            ear: buckets.hints().listen(name, prefix),
            runtime,
        }
    }

    fn store(&mut self) -> Result<Arc<dyn ObjectStore>> {
        self.bucket.store().map_err(|error| Error::new(ErrorKind::NotConnected, error))
    }

    fn path(&self, name: &str) -> Result<Path> {
        let key = match self.prefix.is_empty() {
            true => name.to_owned(),
            false => format!("{}/{name}", self.prefix),
        };
        Path::parse(key).map_err(|error| Error::new(ErrorKind::InvalidInput, error))
    }

    /// What an object is called below the prefix.
    fn name_of<'a>(&self, key: &'a str) -> &'a str {
        key.strip_prefix(&*self.prefix).unwrap_or(key).trim_start_matches('/')
    }
}

impl Files for LogBucket {
    fn list(&mut self, after: &str, _now: Timestamp) -> Result<Vec<Listed>> {
        let store = self.store()?;
        let prefix = self.path("")?;
        let listed = match after.max(&self.beginning) {
            "" => store.list(Some(&prefix)),
            after => store.list_with_offset(Some(&prefix), &self.path(after)?),
        };
        // Keys come in their order: behind the last one that begins so there is none.
        let begins = |object: &ObjectMeta| {
            let name = self.name_of(object.location.as_ref());
            ready(Ok(name.starts_with(&self.beginning)))
        };
        let listed = listed.try_take_while(begins).take(Folder::LISTED_MAX);
        let listed = listed.try_collect::<Vec<_>>();
        let listed = self.runtime.block_on(listed);
        let listed =
            listed.map_err(|error| Error::new(ErrorKind::NotConnected, with_causes(&error)))?;
        let below = listed.iter().map(|object| Listed {
            name: self.name_of(object.location.as_ref()).to_owned(),
            size_bytes: object.size,
        });
        Ok(below.collect())
    }

    fn has_more(&mut self) -> bool {
        let Heard { keys, is_much } = self.ear.take();
        is_much || keys.iter().any(|key| self.name_of(key).starts_with(&self.beginning))
    }

    fn open(&mut self, name: &str) -> Result<Box<dyn Read + Send>> {
        let (store, path) = (self.store()?, self.path(name)?);
        let read = async {
            let found = store.get(&path).await?;
            match found.meta.size <= FILE_BYTES_MAX {
                true => found.bytes().await.map(Some),
                false => Ok(None),
            }
        };
        match self.runtime.block_on(read).map_err(|error| cannot(&error))? {
            Some(bytes) => Ok(Box::new(Cursor::new(bytes))),
            None => Err(Error::new(ErrorKind::FileTooLarge, "it has more than 64 MiB")),
        }
    }
}

/// Everything but an object that is there no more is the bucket's trouble, and may end.
fn cannot(error: &object_store::Error) -> Error {
    let is_bucket = error.to_string().contains("NoSuchBucket");
    let kind = match error {
        object_store::Error::NotFound { .. } if !is_bucket => ErrorKind::NotFound,
        _ => ErrorKind::NotConnected,
    };
    Error::new(kind, with_causes(error))
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;

    /// Goal: what is below the prefix is listed in order behind a name, and read; what is gone is told apart from
    /// what cannot be had. Method: a store in memory.
    #[test]
    fn files_below_a_prefix_are_listed_and_read() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let store = Arc::new(InMemory::new());
        for key in ["lake/2", "lake/1/a", "lake-2/1", "0"] {
            let path = Path::from(key);
            runtime.block_on(store.put(&path, key.into())).expect("put");
        }
        let of = |place: &str| {
            let buckets = Buckets::default();
            let mut bucket = LogBucket::new(place, &buckets, runtime.handle().clone());
            bucket.bucket = Bucket::of_store("logs", Arc::clone(&store) as Arc<dyn ObjectStore>);
            bucket
        };
        let mut bucket = of("logs/lake/");
        let now = Timestamp::MIN;
        let two = Listed { name: "2".into(), size_bytes: 6 };
        let both = [Listed { name: "1/a".into(), size_bytes: 8 }, two.clone()];
        assert_eq!(bucket.list("", now).expect("listed"), both);
        assert_eq!(bucket.list("1/a", now).expect("listed"), [two]);
        let mut text = String::new();
        let mut file = bucket.open("1/a").expect("there");
        file.read_to_string(&mut text).expect("read");
        assert_eq!(text, "lake/1/a");
        let gone = bucket.open("3").err().expect("gone");
        assert_eq!(gone.kind(), ErrorKind::NotFound);
        let names = |place: &str, after: &str| -> Vec<String> {
            of(place).list(after, now).expect("listed").into_iter().map(|file| file.name).collect()
        };
        assert_eq!(names("logs/lake-*", ""), ["lake-2/1"]);
        assert_eq!(names("logs/lake*", ""), ["lake-2/1", "lake/1/a", "lake/2"]);
        assert_eq!(names("logs/lake*", "lake-2/1"), ["lake/1/a", "lake/2"]);
        assert_eq!(names("logs/lake/1*", ""), ["1/a"]);
        assert_eq!(names("logs/*", ""), ["0", "lake-2/1", "lake/1/a", "lake/2"]);
    }

    /// Goal: a store's word of a new file brings a look, and of what is none of this log it does not. Method: hints
    /// at objects that begin as it, that do not, and beside the prefix.
    #[test]
    fn a_hint_at_one_of_its_files_is_a_word() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let buckets = Buckets::default();
        let mut bucket = LogBucket::new("logs/prod/lake-*", &buckets, runtime.handle().clone());
        assert!(!bucket.has_more());
        for (key, expected) in [
            ("prod/lake-2026-11-24", true),
            ("prod/pond-2026-11-24", false),
            ("test/lake-2026-11-24", false),
        ] {
            buckets.hints().tell("logs", key);
            assert_eq!(bucket.has_more(), expected, "{key}");
            assert!(!bucket.has_more(), "once");
        }
        buckets.hints().tell("other", "prod/lake-2026-11-24");
        assert!(!bucket.has_more());
    }
}
