//! TileDB arrays as they lie on disk: which folder is one.

use std::path::{Path, PathBuf};

/// Every array below a folder, itself included, by path. Links are not followed, so that the walk ends;
/// what is in an array is not looked through.
pub fn find_below(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut pending = vec![folder.to_owned()];
    while let Some(folder) = pending.pop() {
        if is_array(&folder) {
            found.push(folder);
            continue;
        }
        for entry in std::fs::read_dir(&folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                pending.push(entry.path());
            }
        }
    }
    found.sort();
    Ok(found)
}

/// An array has a schema: a folder of them, or until format 10 one file.
pub fn is_array(folder: &Path) -> bool {
    folder.join("__schema").is_dir() || folder.join("__array_schema.tdb").is_file()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: every array is found once, and the walk ends. Method: arrays in each other's folders, a link
    /// that leads back, a folder that only looks like one.
    #[test]
    fn arrays_are_found_below_a_folder() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let root = dir.path();
        for folder in ["a/__schema", "x/b/__schema", "a/__fragments/c/__schema", "x/empty"] {
            std::fs::create_dir_all(root.join(folder)).expect("made");
        }
        std::fs::create_dir(root.join("old")).expect("made");
        std::fs::write(root.join("old/__array_schema.tdb"), "").expect("written");
        std::fs::write(root.join("x/empty/__schema"), "a file").expect("written");
        std::os::unix::fs::symlink(root, root.join("x/back")).expect("made");
        let found = |folder: &Path| find_below(folder).expect("reads");
        assert_eq!(found(root), [root.join("a"), root.join("old"), root.join("x/b")]);
        assert_eq!(found(&root.join("a")), [root.join("a")]);
        assert!(find_below(&root.join("absent")).is_err());
    }
}
