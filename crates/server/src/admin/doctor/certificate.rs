//! How long a TLS certificate is good for.
//!
//! Of X.509 (RFC 5280) only the way to `validity` is read: a certificate begins with
//! `SEQUENCE { SEQUENCE { [0] version?, INTEGER serial, SEQUENCE algorithm, SEQUENCE issuer,
//! SEQUENCE { notBefore, notAfter }`. A library for all of it would be many crates for two dates.

use std::path::Path;

use doorbook_event::Timestamp;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use super::Finding;

/// Below this many days somebody has to renew it.
const DAYS_MIN: i64 = 21;

const DAY_MICROS: i64 = 86_400_000_000;

/// Looks at the first certificate of a file: the server's own.
pub fn certificate(path: &Path, now: Timestamp) -> Finding {
    let advice = "renew the certificate and restart the server";
    let fail = |seen: String| Finding::fail("certificate", seen, advice);
    let shown = path.display();
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) => return fail(format!("{shown} cannot be read: {error}")),
    };
    let Some(Ok(first)) = CertificateDer::pem_slice_iter(&bytes).next() else {
        return fail(format!("{shown} holds no certificate in PEM"));
    };
    let Some((from, to)) = validity(&first) else {
        return fail(format!("the dates of the certificate in {shown} cannot be read"));
    };
    let days = (to.micros() - now.micros()) / DAY_MICROS;
    if now < from {
        return fail(format!("{shown} is good only from {from}"));
    }
    if to < now {
        return fail(format!("{shown} was good until {to}"));
    }
    let seen = format!("{shown} is good until {to}");
    match days < DAYS_MIN {
        true => Finding::warn("certificate", format!("{seen}, {days} days more"), advice),
        false => Finding::ok("certificate", seen),
    }
}

/// From when until when a certificate is good; `None` for what is no certificate.
fn validity(certificate: &[u8]) -> Option<(Timestamp, Timestamp)> {
    const INTEGER: u8 = 0x02;
    const SEQUENCE: u8 = 0x30;
    const VERSION: u8 = 0xa0;
    let (whole, _) = value(certificate, SEQUENCE)?;
    let (mut signed, _) = value(whole, SEQUENCE)?;
    if let Some((_, rest)) = value(signed, VERSION) {
        signed = rest;
    }
    for tag in [INTEGER, SEQUENCE, SEQUENCE] {
        signed = value(signed, tag)?.1;
    }
    let (dates, _) = value(signed, SEQUENCE)?;
    let (from, rest) = date(dates)?;
    Some((from, date(rest)?.0))
}

/// The value of an element with this tag, and what follows it.
fn value(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&[found, length], mut rest) = bytes.split_first_chunk()?;
    if found != tag {
        return None;
    }
    let mut size = usize::from(length);
    if length >= 0x80 {
        // Four bytes are more than any certificate has.
        let digits = rest.get(..usize::from(length & 0x7f)).filter(|digits| digits.len() <= 4)?;
        size = digits.iter().fold(0, |size, digit| size << 8 | usize::from(*digit));
        rest = &rest[digits.len()..];
    }
    rest.split_at_checked(size)
}

/// UTCTime `YYMMDDHHMMSSZ`, of 1950 to 2049, or GeneralizedTime `YYYYMMDDHHMMSSZ`.
fn date(bytes: &[u8]) -> Option<(Timestamp, &[u8])> {
    const UTC_TIME: u8 = 0x17;
    const GENERALIZED_TIME: u8 = 0x18;
    let (text, rest, century) = match (value(bytes, UTC_TIME), value(bytes, GENERALIZED_TIME)) {
        (Some((text, rest)), _) if text.first()? >= &b'5' => (text, rest, "19"),
        (Some((text, rest)), _) => (text, rest, "20"),
        (None, Some((text, rest))) => (text, rest, ""),
        (None, None) => return None,
    };
    let text = format!("{century}{}", std::str::from_utf8(text).ok()?);
    if text.len() != 15 || !text.ends_with('Z') || !text.is_ascii() {
        return None;
    }
    let part = |from: usize| &text[from..from + 2];
    let written =
        format!("{}-{}-{}T{}:{}:{}Z", &text[..4], part(4), part(6), part(8), part(10), part(12));
    Some((written.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::State;
    use super::*;

    fn made(from: (i32, u8, u8), to: (i32, u8, u8)) -> rcgen::Certificate {
        let mut params = rcgen::CertificateParams::new(vec!["x".to_owned()]).expect("a name");
        params.not_before = rcgen::date_time_ymd(from.0, from.1, from.2);
        params.not_after = rcgen::date_time_ymd(to.0, to.1, to.2);
        params.self_signed(&rcgen::KeyPair::generate().expect("a key")).expect("signed")
    }

    /// Goal: each state is found, over both forms of date. Method: one certificate, seen at several
    /// times; after 2049 dates have another form.
    #[test]
    fn a_certificate_is_good_for_its_time() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("cert.pem");
        for (last_year, other) in [(2030, 2029), (2050, 2049)] {
            let pem = made((2025, 1, 1), (last_year, 6, 15)).pem();
            std::fs::write(&path, pem).expect("written");
            for (at, state, part) in [
                ("2024-12-31T23:59:59Z".to_owned(), State::Fail, "only from 2025-01-01"),
                (format!("{other}-06-01T00:00:00Z"), State::Ok, "good until"),
                (format!("{last_year}-06-01T00:00:00Z"), State::Warn, "14 days more"),
                (format!("{last_year}-06-15T00:00:01Z"), State::Fail, "was good until"),
            ] {
                let found = certificate(&path, at.parse().expect("a time"));
                assert_eq!(found.state, state, "{at}: {found:?}");
                assert!(found.seen.contains(part), "{at}: {found:?}");
            }
        }
        let now = Timestamp::from_seconds(1_800_000_000);
        std::fs::write(&path, "nothing").expect("written");
        assert!(certificate(&path, now).seen.contains("no certificate"));
        std::fs::remove_file(&path).expect("removed");
        assert!(certificate(&path, now).seen.contains("cannot be read"));
    }

    proptest! {
        /// Whatever the bytes are, and wherever a certificate is damaged, nothing panics.
        #[test]
        fn foreign_bytes_do_not_panic(bytes: Vec<u8>, at in 0_usize..400, byte: u8) {
            let _whatever = validity(&bytes);
            let certificate = made((2025, 1, 1), (2030, 1, 1));
            let mut damaged = certificate.der().to_vec();
            if let Some(slot) = damaged.get_mut(at) {
                *slot = byte;
            }
            let _whatever = validity(&damaged);
            let _whatever = validity(&damaged[..at.min(damaged.len())]);
        }
    }
}
