//! [`Allowed`]: what the owner of the host lets the agent read.

use std::path::{Component, Path};

use doorbook_event::Text;
use glob::{MatchOptions, Pattern};

/// Patterns of paths that may be read.
#[derive(Clone, Debug)]
pub struct Allowed(Vec<Pattern>);

const OPTIONS: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: false,
};

impl Allowed {
    /// From patterns as they are written: absolute, with `*`, `?` and `[…]`, and `**` for any folders.
    pub fn new(patterns: &[String]) -> Result<Allowed, String> {
        let read = |pattern: &String| {
            if !pattern.starts_with('/') {
                return Err(format!("{pattern:?} is not an absolute path; write it from / on"));
            }
            Pattern::new(pattern).map_err(|error| format!("{pattern:?} is no pattern: {error}"))
        };
        patterns.iter().map(read).collect::<Result<_, _>>().map(Allowed)
    }

    /// Why a path, or the files of a pattern, may not be read; `None` if they may.
    ///
    /// A pattern is looked at as it is written: its wildcards stand for no `/`, so that they lead to
    /// nothing that the allowing pattern's wildcards at that place do not stand for.
    pub fn refuses(&self, path: &Text) -> Option<Text> {
        let is_plain =
            |part: Component<'_>| matches!(part, Component::RootDir | Component::Normal(_));
        let leads_elsewhere = path.contains("**") || !Path::new(&**path).components().all(is_plain);
        let is_allowed = || self.0.iter().any(|pattern| pattern.matches_with(path, OPTIONS));
        if !leads_elsewhere && is_allowed() {
            return None;
        }
        Some(format!("{path} is not among the paths that this agent may read (`allow`)").into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: nothing is read that the host's owner did not allow, however it is asked for. Method: paths
    /// against patterns.
    #[test]
    fn only_what_is_allowed_is_read() {
        let allowed = Allowed::new(&[
            "/var/log/mongodb/*".to_owned(),
            "/var/log/pods/prod_*/mongod/*.log".to_owned(),
        ])
        .expect("patterns");
        let check = |path: &str, expected: bool| {
            assert_eq!(allowed.refuses(&path.into()).is_none(), expected, "{path}");
        };
        check("/var/log/mongodb/mongod.log", true);
        check("/var/log/mongodb/*.log", true);
        check("/var/log/mongodb/[a-z]*.log", true);
        check("/var/log/pods/prod_orders-0_*/mongod/*.log", true);
        check("/var/log/pods/test_orders-0_*/mongod/*.log", false);
        check("/var/log/mongodb/../auth.log", false);
        check("/var/log/mongodb/./../auth.log", false);
        check("/var/log/mongodb/a/b.log", false);
        check("/var/log/mongodb/**", false);
        check("/var/log/*/mongod.log", false);
        check("/etc/shadow", false);
        check("var/log/mongodb/mongod.log", false);
        check("", false);
        assert!(Allowed::new(&["relative/*".to_owned()]).is_err());
        assert!(Allowed::new(&["/x/[".to_owned()]).is_err());
        assert!(Allowed::new(&[]).expect("none").refuses(&"/x".into()).is_some());
    }
}
