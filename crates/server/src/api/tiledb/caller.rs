//! What a request shows to prove who sends it.

use axum::http::{HeaderMap, header};

use crate::auth::basic_of;

/// The header of TileDB's clients; their names for it differ in case only.
pub const KEY_HEADER: &str = "x-tiledb-rest-api-key";

/// What a request shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    /// A token.
    Token(String),
    /// A name and a password.
    Password(String, String),
    /// Nothing.
    Nothing,
    /// Something that cannot be read, and why.
    Malformed(&'static str),
}

/// Reads the headers. A token is preferred: R sends an empty name and password beside it.
pub fn shown(headers: &HeaderMap) -> Shown {
    let mut keys = headers.get_all(KEY_HEADER).iter();
    match (keys.next().map(|key| key.to_str()), keys.next()) {
        (Some(_), Some(_)) => return Shown::Malformed("several tokens"),
        (Some(Err(_)), None) => return Shown::Malformed("unreadable token"),
        (Some(Ok(token)), None) if !token.trim().is_empty() => {
            return Shown::Token(token.trim().to_owned());
        }
        (Some(Ok(_)) | None, _) => {}
    }
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (value, further) = (values.next(), values.next());
    let Some(value) = value else { return Shown::Nothing };
    if further.is_some() {
        return Shown::Malformed("several Authorization headers");
    }
    let Some(credentials) = value.to_str().ok().and_then(basic_of) else {
        return Shown::Malformed("unknown authorization scheme");
    };
    match credentials.as_ref().and_then(|text| text.split_once(':')) {
        Some(("", "")) => Shown::Nothing,
        Some((user, password)) => Shown::Password(user.to_owned(), password.to_owned()),
        None => Shown::Malformed("malformed basic"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_preferred_and_an_empty_password_is_nothing() {
        let check = |headers: &[(&'static str, &str)], expected: Shown| {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                map.append(*name, value.parse().expect("a header"));
            }
            assert_eq!(shown(&map), expected, "{headers:?}");
        };
        let alice = "Basic YWxpY2U6c2U6Y3JldA=="; // alice:se:cret
        let password = || Shown::Password("alice".into(), "se:cret".into());
        check(&[], Shown::Nothing);
        check(&[(KEY_HEADER, "tok")], Shown::Token("tok".into()));
        check(&[(KEY_HEADER, "tok"), ("authorization", "Basic Og==")], Shown::Token("tok".into()));
        check(&[(KEY_HEADER, "tok"), ("authorization", alice)], Shown::Token("tok".into()));
        check(&[(KEY_HEADER, ""), ("authorization", alice)], password());
        check(&[("authorization", alice)], password());
        check(&[("authorization", "Basic Og==")], Shown::Nothing);
        check(&[(KEY_HEADER, "a"), (KEY_HEADER, "b")], Shown::Malformed("several tokens"));
        check(&[("authorization", "Bearer x")], Shown::Malformed("unknown authorization scheme"));
        check(&[("authorization", "Basic !")], Shown::Malformed("malformed basic"));
        let twice = [("authorization", alice), ("authorization", alice)];
        check(&twice, Shown::Malformed("several Authorization headers"));
    }
}
