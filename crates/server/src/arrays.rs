//! Where an array may be stored that is registered: [`Places`].
//!
//! Whoever has a token may register what is in an object store, of which Doorbook knows the name only.
//! A place on this machine's disk is another matter: a name that can be registered there tells whether
//! there is something, and what is registered may be read one day. So it must be an array, below a
//! folder that the operator named, wherever symbolic links lead; and never in the data directory.

use std::path::{Path, PathBuf};

use doorbook_event::Text;
use doorbook_event::arrays::is_storage_uri;
use doorbook_source::tiledb::is_array;

/// What a place on this machine's disk begins with.
pub(crate) const FILE: &str = "file://";

/// Which places of this machine's disk arrays may be registered at.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// Only below these.
    roots: Vec<PathBuf>,
    /// And never here.
    data_dir: PathBuf,
}

impl Places {
    /// Below each of `roots`, which must be there.
    pub fn below(roots: &[PathBuf], data_dir: &Path) -> Result<Places, String> {
        let real = |path: &PathBuf| {
            let found = path.canonicalize().ok().filter(|path| path.is_dir());
            found.ok_or_else(|| format!("{} is not a folder that is there", path.display()))
        };
        let roots = roots.iter().map(real).collect::<Result<_, _>>()?;
        Ok(Places { roots, data_dir: data_dir.to_owned() })
    }

    /// Everywhere but in the data directory: for who owns that anyway.
    pub fn everywhere(data_dir: &Path) -> Places {
        Places { roots: vec![PathBuf::from("/")], data_dir: data_dir.to_owned() }
    }

    /// Whether an array may be registered at a place in its [`canonical`] form; says why not.
    pub fn check(&self, uri: &str) -> Result<(), String> {
        let Some(path) = uri.strip_prefix(FILE) else { return Ok(()) };
        // The same words for what is not there and for what must not be known to be there.
        let outside = || {
            Err(format!(
                "{uri} is not below a folder whose arrays may be registered here (serve --array-root)"
            ))
        };
        // Looked up now: a first start makes it after the places were read.
        let data_dir = self.data_dir.canonicalize().ok();
        let is_allowed = |path: &Path| {
            self.roots.iter().any(|root| path.starts_with(root))
                && !data_dir.as_ref().is_some_and(|data_dir| path.starts_with(data_dir))
        };
        let path = Path::new(path);
        let Ok(real) = path.canonicalize() else {
            return match is_allowed(path) {
                true => Err(format!("{uri} is not there")),
                false => outside(),
            };
        };
        if !is_allowed(&real) {
            return outside();
        }
        match is_array(&real) {
            true => Ok(()),
            false => Err(format!("{uri} is not an array: it has no schema")),
        }
    }
}

/// One spelling for a place: `/data/a`, `file:///data/a/` and `file:///data/a` are one.
pub fn canonical(text: &str) -> Result<Text, String> {
    let uri = match text.strip_prefix('/') {
        Some(_) => format!("{FILE}{text}"),
        None => text.to_owned(),
    };
    let uri = uri.trim_end_matches('/');
    let is_path = |path: &str| path.starts_with('/') && !path[1..].split('/').any(str::is_empty);
    let is_right = is_storage_uri(uri) && uri.strip_prefix(FILE).is_none_or(is_path);
    match is_right {
        true => Ok(uri.into()),
        false => Err(format!(
            "{:?} is not where an array can be stored: file:///PATH or s3://BUCKET/KEY, without . and \
             .. between slashes and without control characters",
            text.chars().take(200).collect::<String>()
        )),
    }
}

/// What an array is called that nobody gave a name: as the last part of its place.
pub fn basename(uri: &str) -> &str {
    uri.rsplit('/').next().unwrap_or(uri)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn make_array(folder: &Path) {
        std::fs::create_dir_all(folder.join("__schema")).expect("made");
    }

    /// Goal: nothing outside the roots can be registered, by whatever way it is named, and the answer
    /// does not tell whether it is there. Method: each way out.
    #[test]
    fn only_what_is_below_a_root_can_be_registered() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let dir = dir.path().canonicalize().expect("there");
        let (root, data, out) = (dir.join("root"), dir.join("root/data"), dir.join("out"));
        std::fs::create_dir(&root).expect("made");
        // The data directory is not there yet.
        let places = Places::below(std::slice::from_ref(&root), &data).expect("there");
        for array in [root.join("a"), root.join("x/b"), data.join("c"), out.join("d")] {
            make_array(&array);
        }
        std::fs::create_dir_all(root.join("empty")).expect("made");
        std::os::unix::fs::symlink(out.join("d"), root.join("link-out")).expect("made");
        std::os::unix::fs::symlink(root.join("a"), root.join("link-in")).expect("made");
        let check = |path: &Path| places.check(&format!("{FILE}{}", path.display()));
        for allowed in ["a", "x/b", "link-in"] {
            assert_eq!(check(&root.join(allowed)), Ok(()), "{allowed}");
        }
        let outside = |path: PathBuf| {
            let why = check(&path).expect_err("refused");
            why.replace(&path.display().to_string(), "X")
        };
        let unknown = outside(dir.join("out/nothing"));
        assert!(unknown.contains("--array-root"), "{unknown}");
        for path in [out.join("d"), root.join("link-out"), data.join("c"), dir.join("root2")] {
            assert_eq!(outside(path.clone()), unknown, "{path:?}");
        }
        assert!(check(&root.join("empty")).expect_err("refused").contains("no schema"));
        assert!(check(&root.join("nothing")).expect_err("refused").contains("not there"));
        assert_eq!(places.check("s3://bucket/a"), Ok(()));
        assert!(Places::default().check(&format!("{FILE}{}", root.join("a").display())).is_err());
        assert!(
            Places::everywhere(&data).check(&format!("{FILE}{}", out.join("d").display())).is_ok()
        );
        assert!(Places::below(&[dir.join("nothing")], &data).is_err());
    }

    #[test]
    fn a_place_has_one_spelling() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(canonical(text).ok().as_deref(), expected, "{text:?}");
        };
        check("/data/a", Some("file:///data/a"));
        check("file:///data/a//", Some("file:///data/a"));
        check("file:///data/a b%20é+", Some("file:///data/a b%20é+"));
        check("s3://bucket/a b/c?x=1&y#z", Some("s3://bucket/a b/c?x=1&y#z"));
        check("s3://bucket//a/", Some("s3://bucket//a"));
        for bad in [
            "",
            "/",
            "a",
            "file://",
            "file:///",
            "file://host/a",
            "file:///a//b",
            "file:///a/../b",
            "/a/./b",
            "/a\0b",
            "s3://",
            "s3://b/../c",
            "tiledb://alice/a",
            "s3:/b",
        ] {
            check(bad, None);
        }
        assert_eq!(basename("s3://bucket/a b/c"), "c");
    }
}
