//! Times as they stand before lines: their form only, since a server's record has its own time.

/// A time as RFC 3339 has it, or without the zone's colon, and a space: how many decimals its
/// seconds have, and what follows.
pub(crate) fn rfc_3339(line: &[u8]) -> Option<(usize, &[u8])> {
    let (decimals, rest) = decimals(formed(line, b"0000-00-00T00:00:00")?);
    let rest = match rest.first()? {
        b'Z' => &rest[1..],
        b'+' | b'-' => formed(&rest[1..], b"00:00").or_else(|| formed(&rest[1..], b"0000"))?,
        _ => return None,
    };
    Some((decimals, rest.strip_prefix(b" ")?))
}

/// `Nov 23 02:47:58`, `Nov  3 02:47:58.123`, and a space.
pub(crate) fn month_day_time(line: &[u8]) -> Option<(usize, &[u8])> {
    let (decimals, rest) = decimals(formed(month_day(line)?, b"00:00:00")?);
    Some((decimals, rest.strip_prefix(b" ")?))
}

/// What follows a time in any of the forms that are in use before a syslog's host: besides the two above
/// with a year before the time or after it, and with a colon at its end.
pub(crate) fn any(line: &[u8]) -> Option<&[u8]> {
    if let Some((_, rest)) = rfc_3339(line) {
        return Some(rest);
    }
    let rest = month_day(line)?;
    let rest = formed(rest, b"0000 ").unwrap_or(rest);
    let (_, rest) = decimals(formed(rest, b"00:00:00")?);
    let is_over = |rest: &&[u8]| rest.starts_with(b" ") || rest.starts_with(b":");
    let rest = formed(rest, b" 0000").filter(is_over).unwrap_or(rest);
    rest.strip_prefix(b":").unwrap_or(rest).strip_prefix(b" ")
}

/// What follows something of the given form, in which `0` is any digit.
pub(crate) fn formed<'a>(line: &'a [u8], form: &[u8]) -> Option<&'a [u8]> {
    let (start, rest) = line.split_at_checked(form.len())?;
    let fits = |(b, form): (&u8, &u8)| if *form == b'0' { b.is_ascii_digit() } else { b == form };
    if start.iter().zip(form).all(fits) { Some(rest) } else { None }
}

/// `Nov 23 `, `Nov  3 `, `Nov 3 `.
fn month_day(line: &[u8]) -> Option<&[u8]> {
    let (month, rest) = line.split_at_checked(4)?;
    let months = [
        b"Jan ", b"Feb ", b"Mar ", b"Apr ", b"May ", b"Jun ", b"Jul ", b"Aug ", b"Sep ", b"Oct ",
        b"Nov ", b"Dec ",
    ];
    if !months.iter().any(|known| *known == month) {
        return None;
    }
    formed(rest, b"00 ").or_else(|| formed(rest, b" 0 ")).or_else(|| formed(rest, b"0 "))
}

fn decimals(rest: &[u8]) -> (usize, &[u8]) {
    let Some(decimals) = rest.strip_prefix(b".") else { return (0, rest) };
    let count = decimals.iter().take(9).take_while(|b| b.is_ascii_digit()).count();
    if count == 0 { (0, rest) } else { (count, &decimals[count..]) }
}
