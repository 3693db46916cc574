//! The `Authorization: Digest` header of RFC 7616 §3.4, as foreign clients really write it.

/// What a client answered to a challenge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Who.
    pub username: String,
    /// The realm it was told.
    pub realm: String,
    /// The nonce it was told.
    pub nonce: String,
    /// The request target it signed.
    pub uri: String,
    /// The signature.
    pub response: [u8; 16],
    /// How often it has used the nonce, as it wrote it: the signature covers the text.
    pub nonce_count_text: String,
    /// The same as a number.
    pub nonce_count: u32,
    /// The client's own nonce.
    pub client_nonce: String,
}

/// The header cannot be read, or asks for something that was not offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable;

/// More parameters than any client sends (RFC 7616 knows eleven).
const PARAMETERS_MAX: usize = 32;

/// Whether a header value is of the scheme `Digest`; schemes do not care about case.
pub fn is_digest(value: &str) -> bool {
    after_scheme(value).is_some()
}

/// Reads a header value.
///
/// Captured shapes that must pass (../captures/atlas): `requests` quotes `algorithm` and `qop`, Go
/// quotes `algorithm` only, curl quotes neither and puts `algorithm` last, npm's urllib leaves it
/// out. So: any order, quoted or not, unknown parameters ignored.
pub fn parse(value: &str) -> Result<Answer, Unreadable> {
    let mut rest = after_scheme(value).ok_or(Unreadable)?;
    let mut parameters: Vec<(String, String)> = Vec::new();
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if rest.is_empty() {
            break;
        }
        let (name, value, after) = parameter(rest)?;
        let known = parameters.iter().any(|(known, _)| *known == name);
        if known || parameters.len() == PARAMETERS_MAX {
            return Err(Unreadable);
        }
        parameters.push((name, value));
        rest = after;
    }
    let mut take = |name: &str| {
        let place = parameters.iter().position(|(known, _)| known == name)?;
        Some(parameters.swap_remove(place).1)
    };
    // Only what the challenge offers. Without qop there is no nonce count, and so no protection
    // against replay.
    if take("algorithm").is_some_and(|algorithm| !algorithm.eq_ignore_ascii_case("MD5"))
        || take("qop").is_none_or(|qop| !qop.eq_ignore_ascii_case("auth"))
        || take("userhash").is_some_and(|hashed| hashed.eq_ignore_ascii_case("true"))
    {
        return Err(Unreadable);
    }
    let mut needed = |name: &str| take(name).ok_or(Unreadable);
    let nonce_count_text = needed("nc")?;
    let is_count = matches!(nonce_count_text.len(), 1..=8)
        && nonce_count_text.bytes().all(|b| b.is_ascii_hexdigit());
    let nonce_count = u32::from_str_radix(&nonce_count_text, 16).map_err(|_| Unreadable)?;
    let mut response = [0; 16];
    hex::decode_to_slice(needed("response")?, &mut response).map_err(|_| Unreadable)?;
    if !is_count {
        return Err(Unreadable);
    }
    Ok(Answer {
        username: needed("username")?,
        realm: needed("realm")?,
        nonce: needed("nonce")?,
        uri: needed("uri")?,
        client_nonce: needed("cnonce")?,
        response,
        nonce_count_text,
        nonce_count,
    })
}

fn after_scheme(value: &str) -> Option<&str> {
    let value = value.trim_start_matches([' ', '\t']);
    let scheme = value.get(.."Digest".len())?;
    let rest = value.get("Digest".len()..)?;
    (scheme.eq_ignore_ascii_case("Digest") && rest.starts_with([' ', '\t'])).then_some(rest)
}

/// One `name=value` or `name="value"`; returns what follows it.
fn parameter(text: &str) -> Result<(String, String, &str), Unreadable> {
    let (name, rest) = text.split_once('=').ok_or(Unreadable)?;
    let name = name.trim_end_matches([' ', '\t']);
    let is_token = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'*' | b'.');
    if name.is_empty() || name.len() > 32 || !name.bytes().all(is_token) {
        return Err(Unreadable);
    }
    let rest = rest.trim_start_matches([' ', '\t']);
    let (value, rest) = match rest.strip_prefix('"') {
        Some(quoted) => unquote(quoted)?,
        None => {
            let end = rest.find([',', ' ', '\t', '"']).unwrap_or(rest.len());
            let (value, rest) = rest.split_at(end);
            (value.to_owned(), rest)
        }
    };
    let rest = rest.trim_start_matches([' ', '\t']);
    if !(rest.is_empty() || rest.starts_with(',')) {
        return Err(Unreadable);
    }
    Ok((name.to_ascii_lowercase(), value, rest))
}

/// The rest of a quoted string, up to its closing quote, and what follows it.
fn unquote(text: &str) -> Result<(String, &str), Unreadable> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((place, character)) = characters.next() {
        match character {
            '"' => return Ok((value, &text[place + 1..])),
            '\\' => value.push(characters.next().ok_or(Unreadable)?.1),
            other => value.push(other),
        }
    }
    Err(Unreadable)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(header: &str, nonce_count: u32) {
        let answer = parse(header).unwrap_or_else(|_| panic!("{header}"));
        assert_eq!(answer.username, "abcdefgh", "{header}");
        assert_eq!(answer.realm, "MMS Public API", "{header}");
        assert_eq!(answer.nonce_count, nonce_count, "{header}");
        assert!(answer.uri.starts_with("/api/atlas/"), "{header}");
    }

    /// One captured header of each client, verbatim.
    #[test]
    fn the_shapes_of_every_captured_client_are_read() {
        check(GO, 1);
        check(REQUESTS, 2);
        check(CURL, 1);
        check(URLLIB, 2);
        check(&GO.replace("Digest ", "dIGEST \t "), 1);
        check(&GO.replace(", ", ","), 1);
        check(&format!("{GO}, opaque=\"x\\\"y\", ,"), 1);
    }

    #[test]
    fn what_was_not_offered_or_is_no_header_is_refused() {
        for bad in [
            "",
            "Digest",
            "Digest ",
            "DigestX username=\"a\"",
            "Basic YTpi",
            &GO.replace("algorithm=\"MD5\"", "algorithm=SHA-256"),
            &GO.replace("qop=auth", "qop=auth-int"),
            &GO.replace("qop=auth, ", ""),
            &GO.replace("nc=00000001", "nc=+0000001"),
            &GO.replace("nc=00000001", "nc=000000001"),
            &GO.replace("nc=00000001", "nc="),
            &GO.replace("cnonce", "conce"),
            &GO.replace("response=\"bf", "response=\""),
            &GO.replace("username=\"abcdefgh\"", "username=\"a\", username=\"abcdefgh\""),
            &GO.replace("username=\"abcdefgh\"", "username=\"abcdefgh"),
            &GO.replace("username=\"abcdefgh\"", "username=\"abcdefgh\"x"),
            &format!("{GO}, userhash=true"),
            &format!("{GO}, x"),
            &(0..40).fold(GO.to_owned(), |header, n| format!("{header}, x{n}=1")),
        ] {
            assert_eq!(parse(bad), Err(Unreadable), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in ".{0,300}") {
            let _ = parse(&text);
            let _ = parse(&format!("Digest {text}"));
        }

        /// Damage in one place never yields another user or target than the text shows.
        #[test]
        fn a_damaged_header_is_refused_or_says_what_it_shows(
            place in 0usize..200, with in "[ -~]{0,3}"
        ) {
            let mut header = GO.to_owned();
            let place = place.min(header.len() - 1);
            header.replace_range(place..=place, &with);
            if let Ok(answer) = parse(&header) {
                let plain = |text: &str| text.replace('\\', "");
                prop_assert!(plain(&header).contains(&plain(&answer.username)));
                prop_assert!(plain(&header).contains(&plain(&answer.uri)));
            }
        }

        #[test]
        fn what_a_client_quotes_comes_back(name in "[ -~]{1,40}", uri in "/[!-~]{0,80}") {
            let quote = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
            let header = format!(
                "Digest username=\"{}\", realm=\"r\", nonce=\"n\", uri=\"{}\", qop=auth, nc=1, \
                 cnonce=\"c\", response=\"{}\"",
                quote(&name), quote(&uri), "0".repeat(32)
            );
            let answer = parse(&header).expect("well formed");
            prop_assert_eq!(answer.username, name);
            prop_assert_eq!(answer.uri, uri);
        }
    }

    const GO: &str = "Digest username=\"abcdefgh\", realm=\"MMS Public API\", \
        nonce=\"BaKwEAT4blbB1QGBQBCMb66jNPfQC8oT\", \
        uri=\"/api/atlas/v1.0/groups/byName/Project%200\", \
        response=\"bfdcc4ba6566f6825521b789d1d089d4\", algorithm=\"MD5\", qop=auth, nc=00000001, \
        cnonce=\"77cd03e92d4b32da\"";
    const REQUESTS: &str = "Digest username=\"abcdefgh\", realm=\"MMS Public API\", \
        nonce=\"Uv3u/xGCigcCYmV/sXRjqMmhuHMetz6l\", uri=\"/api/atlas/v2/groups/\
        32b6e34b3d91647abb20e7b8/dbAccessHistory/processes/\
        atlas-zi8w28-shard-00-00.xvvx3a.mongodb.net:27017?authResult=False\", \
        response=\"8813152f3c52e2e0a799dc50a8da9f81\", algorithm=\"MD5\", qop=\"auth\", \
        nc=00000002, cnonce=\"021e95b63ce3f217\"";
    const CURL: &str = "Digest username=\"abcdefgh\", realm=\"MMS Public API\", \
        nonce=\"zLWYwQfQzouCBmix/UzREBFORrWjeq3/\", uri=\"/api/atlas/v2/groups/\
        32b6e34b3d91647abb20e7b8/dbAccessHistory/clusters/Cluster0?pretty=true\", \
        cnonce=\"OTE0OWE3MmRkZGRkYmRmYjYwYTI0MzJiNmFiYzRmYWU=\", nc=00000001, qop=auth, \
        response=\"c892648fdc1975e3b68f44ddfacb641e\", algorithm=MD5";
    const URLLIB: &str = "Digest username=\"abcdefgh\", realm=\"MMS Public API\", \
        nonce=\"jhwndw5cfzSl+Lvsa3GWT6YmIivdnUFL\", uri=\"/api/atlas/v1.0/groups/\
        32b6e34b3d91647abb20e7b8/clusters/Cluster0?envelope=true&pretty=true\", \
        response=\"25a81eaa89cb5072774017affbaf62f8\", qop=auth, nc=00000002, \
        cnonce=\"c15464410ce3354f\"";
}
