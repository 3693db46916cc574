//! [`Partial`]: a file that gets its name when it is whole.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use doorbook_server::admin::Failure;

/// A file beside the one that it is to be. Dropped before it is kept, it goes.
pub struct Partial {
    /// What is written to.
    pub file: File,
    here: PathBuf,
    to: PathBuf,
}

impl Partial {
    /// For a file that is not there yet.
    pub fn create(to: &Path) -> Result<Partial, Failure> {
        if to.symlink_metadata().is_ok() {
            return Err(there_already(to));
        }
        let mut here = to.as_os_str().to_owned();
        here.push(format!(".part-{}", std::process::id()));
        let here = PathBuf::from(here);
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create_new(true).mode(0o600);
        let file = options.open(&here).map_err(|error| cannot(to, &error))?;
        Ok(Partial { file, here, to: to.to_owned() })
    }

    /// Gives it its name. What got that name meanwhile stays as it is.
    pub fn keep(self) -> Result<(), Failure> {
        self.file.sync_all().map_err(|error| cannot(&self.to, &error))?;
        match std::fs::hard_link(&self.here, &self.to) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(there_already(&self.to))
            }
            // There are file systems that know no links.
            Err(_) => {
                std::fs::rename(&self.here, &self.to).map_err(|error| cannot(&self.to, &error))
            }
        }
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        let _gone_if_it_was_renamed = std::fs::remove_file(&self.here);
    }
}

fn there_already(to: &Path) -> Failure {
    Failure::exists(format!("{} is there already", to.display()))
}

fn cannot(to: &Path, error: &io::Error) -> Failure {
    Failure::failed(format!("cannot export to {}: {error}", to.display()))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use doorbook_server::admin::FailureKind;

    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let entries = dir.read_dir().expect("is there").map(|entry| entry.expect("is read"));
        let mut names: Vec<_> =
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// Goal: a file has its name when it is whole, and nothing is overwritten. Method: one that is kept, one
    /// that is not, one whose name was taken before and one whose name was taken meanwhile.
    #[test]
    fn a_file_gets_its_name_when_it_is_whole() {
        let dir = tempfile::tempdir().expect("a folder");
        let to = dir.path().join("a.zip");
        let mut whole = Partial::create(&to).expect("is made");
        whole.file.write_all(b"whole").expect("is written");
        assert!(!to.exists());
        whole.keep().expect("is kept");
        assert_eq!(names(dir.path()), ["a.zip"]);
        let taken = Partial::create(&to).map(drop).expect_err("taken");
        assert_eq!(taken.kind, FailureKind::Exists);

        let other = dir.path().join("b.zip");
        let half = Partial::create(&other).expect("is made");
        assert_eq!(names(dir.path()).len(), 2);
        drop(half);
        assert_eq!(names(dir.path()), ["a.zip"]);

        let late = Partial::create(&other).expect("is made");
        std::fs::write(&other, "theirs").expect("is written");
        assert_eq!(late.keep().expect_err("taken").kind, FailureKind::Exists);
        assert_eq!(std::fs::read(&other).expect("is there"), b"theirs");
        assert_eq!(names(dir.path()), ["a.zip", "b.zip"]);
    }
}
