//! Keys and secrets: what they look like, and what of them is stored.

use doorbook_event::Random;
use md5::Digest;

/// The realm of Atlas's digests. It is part of what is stored for a key, and clients hash the realm
/// that the server names, so it can never change.
const REALM: &str = "MMS Public API";

/// The public half of a key: 8 lower-case letters, as Atlas's.
pub fn public_key(random: &dyn Random) -> String {
    // 26 * 9 = 234 is the largest multiple of 26 in a byte: bytes beyond it would favour some
    // letters, so they are drawn again.
    let mut letters = String::with_capacity(8);
    while letters.len() < 8 {
        let mut byte = [0; 1];
        random.fill(&mut byte);
        if byte[0] < 26 * 9 {
            letters.push(char::from(b'a' + byte[0] % 26));
        }
    }
    letters
}

/// The private half of a key: a version 4 UUID, as Atlas's.
pub fn private_key(random: &dyn Random) -> String {
    let mut bytes = [0; 16];
    random.fill(&mut bytes);
    bytes[6] = bytes[6] & 0x0f | 0x40; // version 4
    bytes[8] = bytes[8] & 0x3f | 0x80; // the variant of RFC 9562
    let digits = hex::encode(bytes);
    let parts = [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]];
    parts.join("-")
}

/// HA1 of RFC 7616, which is as good as the private key itself.
pub fn ha1(public: &str, private: &str) -> [u8; 16] {
    md5::Md5::digest(format!("{public}:{REALM}:{private}")).into()
}

/// A service account's client id.
pub fn client_id(random: &dyn Random) -> String {
    let mut bytes = [0; 12];
    random.fill(&mut bytes);
    format!("mdb_sa_id_{}", hex::encode(bytes))
}

/// A service account's secret: 256 random bits.
pub fn client_secret(random: &dyn Random) -> String {
    use base64::Engine;
    let mut bytes = [0; 32];
    random.fill(&mut bytes);
    format!("mdb_sa_sk_{}", base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes))
}

/// What is stored of a service account's secret. It holds 256 random bits, so that a slow hash
/// would protect nothing.
pub fn secret_sha256(secret: &str) -> [u8; 32] {
    sha2::Sha256::digest(secret).into()
}

/// A project's id.
pub fn project_id(random: &dyn Random) -> doorbook_event::ProjectId {
    let mut bytes = [0; 12];
    random.fill(&mut bytes);
    doorbook_event::ProjectId::new(bytes)
}

#[cfg(test)]
mod tests {
    use doorbook_event::time::CountingRandom;

    use super::*;

    #[test]
    fn they_look_as_clients_expect() {
        let random = CountingRandom::default();
        let public = public_key(&random);
        assert!(public.len() == 8 && public.bytes().all(|b| b.is_ascii_lowercase()), "{public}");
        let private = private_key(&random);
        assert_eq!(private.len(), 36);
        assert_eq!(&private[14..15], "4", "{private}");
        assert!("89ab".contains(&private[19..20]), "{private}");
        let id = client_id(&random);
        assert_eq!(id.len(), "mdb_sa_id_".len() + 24);
        let secret = client_secret(&random);
        assert_eq!(secret.len(), "mdb_sa_sk_".len() + 43);
        assert_ne!(secret, client_secret(&random));
    }

    #[test]
    fn ha1_is_that_of_rfc_7616() {
        // printf 'abcdefgh:MMS Public API:secret' | md5sum
        let expected = "aeb7d4450bc463b4ae235889101c1fed";
        assert_eq!(hex::encode(ha1("abcdefgh", "secret")), expected);
    }
}
