//! The client's half of SCRAM-SHA-256 (RFC 5802, RFC 7677), without channel binding.

use std::num::NonZeroU32;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ring::{digest, hmac, pbkdf2};

/// The name by which a server knows it.
pub(super) const MECHANISM: &str = "SCRAM-SHA-256";

/// mongod's default is 15,000; much more would let a false server keep us busy.
const ITERATIONS: std::ops::RangeInclusive<u32> = 4096..=1_000_000;

/// A conversation that was begun.
pub(super) struct Conversation {
    password: String,
    nonce: String,
    first_bare: String,
}

/// A conversation in which the server has to show yet that it knows the password, too.
pub(super) struct Proven {
    server_signature: Vec<u8>,
}

impl Conversation {
    /// Begins. Only printable ASCII is the same with and without SASLprep.
    pub(super) fn new(
        user: &str,
        password: &str,
        nonce: &[u8; 24],
    ) -> Result<Conversation, &'static str> {
        let is_plain = |text: &str| text.bytes().all(|b| (b' '..=b'~').contains(&b));
        if !is_plain(user) || !is_plain(password) {
            return Err("user and password have to be printable ASCII here; give the user others");
        }
        let nonce = BASE64_STANDARD.encode(nonce);
        let user = user.replace('=', "=3D").replace(',', "=2C");
        let first_bare = format!("n={user},r={nonce}");
        Ok(Conversation { password: password.to_owned(), nonce, first_bare })
    }

    /// The first message.
    pub(super) fn first(&self) -> String {
        format!("n,,{}", self.first_bare)
    }

    /// The second message, for the server's first one.
    pub(super) fn prove(self, server_first: &[u8]) -> Result<(String, Proven), &'static str> {
        const MALFORMED: &str = "its SCRAM message is malformed";
        let server_first = std::str::from_utf8(server_first).map_err(|_| MALFORMED)?;
        let field = |name| field(server_first, name).ok_or(MALFORMED);
        let nonce = field("r")?;
        if !nonce.starts_with(&self.nonce) {
            return Err("its SCRAM message is not for this conversation");
        }
        let salt = BASE64_STANDARD.decode(field("s")?).map_err(|_| MALFORMED)?;
        let iterations: u32 = field("i")?.parse().map_err(|_| MALFORMED)?;
        let iterations = NonZeroU32::new(iterations)
            .filter(|n| ITERATIONS.contains(&n.get()))
            .ok_or("its SCRAM iteration count is out of bounds")?;
        let mut salted = [0; digest::SHA256_OUTPUT_LEN];
        let (algorithm, password) = (pbkdf2::PBKDF2_HMAC_SHA256, self.password.as_bytes());
        pbkdf2::derive(algorithm, iterations, &salt, password, &mut salted);
        let client_key = sign(&salted, b"Client Key");
        let stored_key = digest::digest(&digest::SHA256, client_key.as_ref());
        let without_proof = format!("c=biws,r={nonce}");
        let authenticated = format!("{},{server_first},{without_proof}", self.first_bare);
        let signature = sign(stored_key.as_ref(), authenticated.as_bytes());
        let pairs = client_key.as_ref().iter().zip(signature.as_ref());
        let proof: Vec<u8> = pairs.map(|(key, signature)| key ^ signature).collect();
        let server_key = sign(&salted, b"Server Key");
        let server_signature = sign(server_key.as_ref(), authenticated.as_bytes());
        let message = format!("{without_proof},p={}", BASE64_STANDARD.encode(proof));
        Ok((message, Proven { server_signature: server_signature.as_ref().to_vec() }))
    }
}

impl Proven {
    /// Whether the server's last message shows that it knows the password.
    pub(super) fn is_by_server(&self, server_final: &[u8]) -> bool {
        let text = std::str::from_utf8(server_final).ok();
        let signature = text.and_then(|text| field(text, "v"));
        let signature = signature.and_then(|text| BASE64_STANDARD.decode(text).ok());
        // Whoever could measure this could not use it: the nonce is new each time.
        signature.is_some_and(|signature| signature == self.server_signature)
    }
}

fn sign(key: &[u8], message: &[u8]) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message)
}

fn field<'a>(message: &'a str, name: &str) -> Option<&'a str> {
    message.split(',').find_map(|field| field.strip_prefix(name)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7677, section 3.
    #[test]
    fn the_example_of_the_rfc() {
        let mut conversation = Conversation::new("user", "pencil", &[0; 24]).expect("plain");
        conversation.nonce = "rOprNGfwEbeRWgbNEkqO".into();
        conversation.first_bare = "n=user,r=rOprNGfwEbeRWgbNEkqO".into();
        let nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let first = format!("r={nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096");
        let (message, proven) = conversation.prove(first.as_bytes()).expect("well-formed");
        let proof = "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        assert_eq!(message, format!("c=biws,r={nonce},p={proof}"));
        assert!(proven.is_by_server(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="));
        assert!(!proven.is_by_server(b"v=7rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="));
        assert!(!proven.is_by_server(b"e=other-error"));
    }

    #[test]
    fn a_server_cannot_choose_everything() {
        for bad in ["", "r=x,s=AAAA,i=4096", "r=NONCE,s=AAAA,i=1", "r=NONCE,s=AAAA,i=99999999"] {
            let conversation = Conversation::new("a,b=c", "p", &[1; 24]).expect("plain");
            assert!(conversation.first().starts_with("n,,n=a=2Cb=3Dc,r="));
            let bad = bad.replace("NONCE", &format!("{}x", conversation.nonce));
            assert!(conversation.prove(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(Conversation::new("user", "pässword", &[0; 24]).is_err());
    }
}
