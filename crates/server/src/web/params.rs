//! [`Params`]: the state of a page, which is its address.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::api::native::problem::Problem;
use crate::api::native::query::Query;

/// Parameters in their order, each name as often as it was given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Params(Vec<(String, String)>);

/// What needs no escape in the query of an address, and reads better without.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b':')
    .remove(b'/')
    .remove(b'@')
    .remove(b',');

impl Params {
    /// An address that says nothing.
    pub const fn none() -> Params {
        Params(Vec::new())
    }

    /// From the part of the request target after `?`.
    pub fn parse(text: &str) -> Result<Params, Problem> {
        Ok(Params(Query::parse(text)?.pairs().to_vec()))
    }

    /// The first value of a name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Every value of a name.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Whether a name has this value.
    pub fn has(&self, name: &str, value: &str) -> bool {
        self.all(name).any(|known| known == value)
    }

    /// With one value for a name instead of all it had.
    #[must_use]
    pub fn set(&self, name: &str, value: &str) -> Params {
        self.without(&[name]).and(name, value)
    }

    /// With one value more for a name.
    #[must_use]
    pub fn and(&self, name: &str, value: &str) -> Params {
        let mut params = self.clone();
        params.0.push((name.to_owned(), value.to_owned()));
        params
    }

    /// Without these names.
    #[must_use]
    pub fn without(&self, names: &[&str]) -> Params {
        let kept = self.0.iter().filter(|(name, _)| !names.contains(&name.as_str()));
        Params(kept.cloned().collect())
    }

    /// Only these names.
    #[must_use]
    pub fn only(&self, names: &[&str]) -> Params {
        let kept = self.0.iter().filter(|(name, _)| names.contains(&name.as_str()));
        Params(kept.cloned().collect())
    }

    /// Without one value of a name.
    #[must_use]
    pub fn without_value(&self, name: &str, value: &str) -> Params {
        let kept = self.0.iter().filter(|(n, v)| !(n == name && v == value));
        Params(kept.cloned().collect())
    }

    /// The address of a path with these parameters.
    pub fn href(&self, path: &str) -> String {
        match self.0.is_empty() {
            true => path.to_owned(),
            false => format!("{path}?{}", self.text()),
        }
    }

    /// As the API reads them.
    pub fn query(&self) -> Query {
        Query::of(self.0.iter().map(|(name, value)| (name.as_str(), value.clone())))
    }

    /// As they stand after `?`.
    pub fn text(&self) -> String {
        let encode = |text| utf8_percent_encode(text, ESCAPED);
        let pairs =
            self.0.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value)));
        pairs.collect::<Vec<_>>().join("&")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_address_says_what_it_was_made_of(
            pairs in proptest::collection::vec((".{1,6}", ".{0,8}"), 0..5)
        ) {
            let params = Params(pairs);
            let text = params.text();
            prop_assert!(!text.contains(['<', '"', '\'', ' ', '#', '+']));
            prop_assert_eq!(Params::parse(&text).expect("our own"), params);
        }
    }

    #[test]
    fn a_value_is_added_replaced_and_dropped() {
        let params = Params::parse("a=1&b=2&a=3").expect("readable");
        assert_eq!(params.and("b", "x y").text(), "a=1&b=2&a=3&b=x%20y");
        assert_eq!(params.set("a", "4").text(), "b=2&a=4");
        assert_eq!(params.without_value("a", "1").text(), "b=2&a=3");
        assert_eq!(params.without(&["a", "b"]).href("/x"), "/x");
        assert!(params.has("a", "3") && !params.has("b", "3"));
    }
}
