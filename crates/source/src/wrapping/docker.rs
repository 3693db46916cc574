//! Docker's json-file: `{"log":"…\n","stream":"stdout","time":"…"}`.

/// Decodes the rest of such an object after `{"log":"` into `line`; whether it came by standard
/// error. `None` if it is not such an object.
///
/// Docker has already put U+FFFD in place of what was not UTF-8; all else comes back as written.
pub(super) fn unescape(mut object: &[u8], line: &mut Vec<u8>) -> Option<bool> {
    loop {
        let n = memchr::memchr2(b'"', b'\\', object)?;
        line.extend_from_slice(&object[..n]);
        let quote = object[n] == b'"';
        object = &object[n + 1..];
        if quote {
            break;
        }
        let (&escape, rest) = object.split_first()?;
        object = rest;
        line.push(match escape {
            b'n' => b'\n',
            b't' => b'\t',
            b'r' => b'\r',
            b'b' => 0x08,
            b'f' => 0x0c,
            b'"' | b'\\' | b'/' => escape,
            b'u' => {
                let (character, rest) = unicode(object)?;
                line.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                object = rest;
                continue;
            }
            _ => return None,
        });
    }
    let object = object.trim_ascii_end();
    let members = object.starts_with(b",") || object == b"}";
    if !members || !object.ends_with(b"}") {
        return None;
    }
    Some(object.starts_with(b",\"stream\":\"stderr\""))
}

/// Reads four hexadecimal digits, and the second half of a surrogate pair if they are the first.
fn unicode(object: &[u8]) -> Option<(char, &[u8])> {
    let (unit, rest) = unit(object)?;
    if (0xd800..0xdc00).contains(&unit)
        && let Some((low, rest)) = rest.strip_prefix(b"\\u").and_then(self::unit)
        && (0xdc00..0xe000).contains(&low)
    {
        let scalar = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
        return Some((char::from_u32(scalar)?, rest));
    }
    // Half a pair has no UTF-8 form.
    Some((char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER), rest))
}

fn unit(object: &[u8]) -> Option<(u32, &[u8])> {
    let (digits, rest) = object.split_at_checked(4)?;
    let mut unit = 0;
    for digit in digits {
        unit = unit << 4 | char::from(*digit).to_digit(16)?;
    }
    Some((unit, rest))
}
