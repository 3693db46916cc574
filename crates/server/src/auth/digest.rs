//! HTTP Digest (RFC 7616, MD5, `qop=auth`) as Atlas speaks it.
//!
//! MD5 is what every client of this API has (the Go client knows nothing else); the private key is
//! long and random, so that a collision in MD5 helps nobody to guess it. Over plain HTTP the
//! answer is readable like any other; digest protects the key, not the data.

pub mod header;
pub mod nonce;

use std::sync::{Mutex, PoisonError};

use axum::http::HeaderValue;
use doorbook_event::registry::Registry;
use doorbook_event::{Text, Timestamp};
use md5::{Digest as _, Md5};
use subtle::ConstantTimeEq;

pub use nonce::Nonces;

/// The realm in every challenge; part of every stored key's hash, so it can never change.
pub const REALM: &str = "MMS Public API";

/// MD5 of `public:realm:private`, what the registry keeps of a key.
pub fn ha1(public: &str, private: &str) -> [u8; 16] {
    md5(&[public.as_bytes(), REALM.as_bytes(), private.as_bytes()])
}

/// The public half of the key whose both halves these are.
pub fn holder(registry: &Registry, public: &str, private: &str) -> Option<Text> {
    let key = registry.key(public);
    // A user who does not exist takes the same time as a wrong key.
    let expected = key.map_or([0; 16], |key| key.ha1);
    let is_right = bool::from(ha1(public, private).ct_eq(&expected));
    key.filter(|_| is_right).map(|key| key.public.clone())
}

/// What came of a digest header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The holder of this key signed this very request, now.
    Accepted(Text),
    /// The holder of a key signed it with a nonce that is no longer good: ask again.
    Stale,
    /// The holder of this key signed it, and it was seen before: ask again, and take note.
    Replayed(Text),
    /// Nobody's signature. The name that was claimed, where it could be read.
    Refused(Option<String>),
}

/// Checks digest headers and writes challenges.
pub struct Authenticator(Mutex<Nonces>);

impl Authenticator {
    /// With nonces under a secret.
    pub fn new(secret: [u8; 32], now: Timestamp) -> Authenticator {
        Authenticator(Mutex::new(Nonces::new(secret, now)))
    }

    /// The value of a `WWW-Authenticate` header.
    pub fn challenge(&self, now: Timestamp, stale: bool) -> HeaderValue {
        let nonce = self.nonces().issue(now);
        // Exactly Atlas's text: the Go client fails on a missing ", ", on any further parameter
        // and on a second qop (captures/atlas/digest-challenge-matrix.txt).
        let text = format!(
            "Digest realm=\"{REALM}\", domain=\"\", nonce=\"{nonce}\", algorithm=MD5, \
             qop=\"auth\", stale={stale}"
        );
        HeaderValue::try_from(text).expect("base64 and ASCII are header characters")
    }

    /// Checks the header of a request. `target` is the request target as it was sent.
    pub fn verify(
        &self,
        registry: &Registry,
        now: Timestamp,
        method: &str,
        target: &str,
        value: &str,
    ) -> Verdict {
        let Ok(answer) = header::parse(value) else { return Verdict::Refused(None) };
        let key = registry.key(&answer.username);
        // A user who does not exist takes the same time as a wrong key.
        let ha1 = key.map_or([0; 16], |key| key.ha1);
        let ha2 = md5(&[method.as_bytes(), answer.uri.as_bytes()]);
        let expected = md5(&[
            hex::encode(ha1).as_bytes(),
            answer.nonce.as_bytes(),
            answer.nonce_count_text.as_bytes(),
            answer.client_nonce.as_bytes(),
            b"auth",
            hex::encode(ha2).as_bytes(),
        ]);
        let is_signed = bool::from(expected.ct_eq(&answer.response));
        let is_this_request = answer.uri == target && answer.realm == REALM;
        let Some(key) = key.filter(|_| is_signed && is_this_request) else {
            return Verdict::Refused(Some(answer.username));
        };
        match self.nonces().spend(now, &answer.nonce, answer.nonce_count) {
            nonce::Use::Fresh => Verdict::Accepted(key.public.clone()),
            nonce::Use::Stale => Verdict::Stale,
            nonce::Use::Replayed => Verdict::Replayed(key.public.clone()),
        }
    }

    fn nonces(&self) -> std::sync::MutexGuard<'_, Nonces> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// MD5 of the parts joined by colons.
fn md5(parts: &[&[u8]]) -> [u8; 16] {
    let mut hash = Md5::new();
    for (n, part) in parts.iter().enumerate() {
        if n > 0 {
            hash.update(b":");
        }
        hash.update(part);
    }
    hash.finalize().into()
}

#[cfg(test)]
pub(crate) mod tests_support {
    use super::*;

    /// The header that a client with this key sends for a challenge, in the shape that the Go
    /// client writes.
    pub(crate) fn sign(
        challenge: &str,
        (public, private): (&str, &str),
        (method, target): (&str, &str),
        count: u32,
    ) -> String {
        let nonce = challenge.split('"').nth(5).expect("the third quoted value is the nonce");
        let response = response(ha1(public, private), nonce, count, "0badcafe", method, target);
        format!(
            "Digest username=\"{public}\", realm=\"MMS Public API\", nonce=\"{nonce}\", \
             uri=\"{target}\", response=\"{response}\", algorithm=\"MD5\", qop=auth, \
             nc={count:08x}, cnonce=\"0badcafe\""
        )
    }

    pub(crate) fn response(
        ha1: [u8; 16],
        nonce: &str,
        count: u32,
        client_nonce: &str,
        method: &str,
        target: &str,
    ) -> String {
        let ha2 = hex::encode(md5(&[method.as_bytes(), target.as_bytes()]));
        let whole = format!("{}:{nonce}:{count:08x}:{client_nonce}:auth:{ha2}", hex::encode(ha1));
        hex::encode(md5(&[whole.as_bytes()]))
    }
}

#[cfg(test)]
mod tests {
    use doorbook_event::ProjectId;
    use doorbook_event::registry::{Key, Project, RegistryChange, Role};

    use super::tests_support::{response, sign};
    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_700_000_000);
    const TARGET: &str = "/api/atlas/v2/groups/32b6e34b3d91647abb20e7b8?nLogs=1";
    const KEY: (&str, &str) = ("abcdefgh", "11111111-2222-3333-4444-555555555555");

    fn registry() -> Registry {
        let id = ProjectId::new([1; 12]);
        let mut registry = Registry::default();
        registry.apply(&RegistryChange::ProjectCreated(Project {
            id,
            name: "p".into(),
            created: NOW,
        }));
        registry.apply(&RegistryChange::KeyCreated(Key {
            public: KEY.0.into(),
            ha1: ha1(KEY.0, KEY.1),
            project: id,
            role: Role::Owner,
            created: NOW,
            agent: None,
        }));
        registry
    }

    fn challenge(authenticator: &Authenticator) -> String {
        authenticator.challenge(NOW, false).to_str().expect("ASCII").to_owned()
    }

    /// The oracle is the captures: each client computed these responses with its own code.
    #[test]
    fn our_arithmetic_is_that_of_the_captured_clients() {
        let host = "/api/atlas/v2/groups/32b6e34b3d91647abb20e7b8/dbAccessHistory/processes/\
                    atlas-zi8w28-shard-00-00.xvvx3a.mongodb.net:27017?authResult=False";
        let cluster = "/api/atlas/v1.0/groups/32b6e34b3d91647abb20e7b8/clusters/Cluster0\
                       ?envelope=true&pretty=true";
        let pretty = "/api/atlas/v2/groups/32b6e34b3d91647abb20e7b8/dbAccessHistory/clusters/\
                      Cluster0?pretty=true";
        for (client, nonce, count, client_nonce, target, expected) in [
            (
                "go",
                "BaKwEAT4blbB1QGBQBCMb66jNPfQC8oT",
                1,
                "77cd03e92d4b32da",
                "/api/atlas/v1.0/groups/byName/Project%200",
                "bfdcc4ba6566f6825521b789d1d089d4",
            ),
            (
                "requests",
                "Uv3u/xGCigcCYmV/sXRjqMmhuHMetz6l",
                2,
                "021e95b63ce3f217",
                host,
                "8813152f3c52e2e0a799dc50a8da9f81",
            ),
            (
                "curl",
                "zLWYwQfQzouCBmix/UzREBFORrWjeq3/",
                1,
                "OTE0OWE3MmRkZGRkYmRmYjYwYTI0MzJiNmFiYzRmYWU=",
                pretty,
                "c892648fdc1975e3b68f44ddfacb641e",
            ),
            (
                "urllib",
                "jhwndw5cfzSl+Lvsa3GWT6YmIivdnUFL",
                2,
                "c15464410ce3354f",
                cluster,
                "25a81eaa89cb5072774017affbaf62f8",
            ),
        ] {
            let ours = response(ha1(KEY.0, KEY.1), nonce, count, client_nonce, "GET", target);
            assert_eq!(ours, expected, "{client}");
        }
    }

    #[test]
    fn the_challenge_is_atlas_s_to_the_byte() {
        let challenge = challenge(&Authenticator::new([7; 32], NOW));
        let nonce = challenge.split('"').nth(5).expect("nonce");
        let recorded = "Digest realm=\"MMS Public API\", domain=\"\", \
            nonce=\"SlgYP7Tv3FS/BuCj/x4WQRIV1bNKdpJg\", algorithm=MD5, qop=\"auth\", stale=false";
        assert_eq!(challenge, recorded.replace("SlgYP7Tv3FS/BuCj/x4WQRIV1bNKdpJg", nonce));
    }

    #[test]
    fn a_signature_is_good_for_one_request_once() {
        let authenticator = Authenticator::new([7; 32], NOW);
        let check = |expected: Verdict, method: &str, target: &str, header: &str| {
            let got = authenticator.verify(&registry(), NOW, method, target, header);
            assert_eq!(got, expected, "{method} {target} {header}");
        };
        let refused = |name: &str| Verdict::Refused(Some(name.into()));
        let accepted = || Verdict::Accepted(KEY.0.into());
        let challenge = challenge(&authenticator);

        let first = sign(&challenge, KEY, ("GET", TARGET), 1);
        check(refused(KEY.0), "POST", TARGET, &first);
        check(refused(KEY.0), "GET", "/api/atlas/v2/groups", &first);
        check(accepted(), "GET", TARGET, &first);
        check(Verdict::Replayed(KEY.0.into()), "GET", TARGET, &first);
        check(accepted(), "GET", TARGET, &sign(&challenge, KEY, ("GET", TARGET), 2));

        let wrong = sign(&challenge, (KEY.0, "guess"), ("GET", TARGET), 3);
        check(refused(KEY.0), "GET", TARGET, &wrong);
        let nobody = sign(&challenge, ("nobody", KEY.1), ("GET", TARGET), 3);
        check(refused("nobody"), "GET", TARGET, &nobody);
        let other_realm = first.replace("MMS Public API", "elsewhere");
        check(refused(KEY.0), "GET", TARGET, &other_realm);
        check(Verdict::Refused(None), "GET", TARGET, "Digest nonsense");

        let foreign = challenge.replace("nonce=\"", "nonce=\"AAAA");
        check(Verdict::Stale, "GET", TARGET, &sign(&foreign, KEY, ("GET", TARGET), 1));
    }

    #[test]
    fn an_old_nonce_is_stale_only_to_those_who_could_use_it() {
        let authenticator = Authenticator::new([7; 32], NOW);
        let challenge = challenge(&authenticator);
        let later = NOW.plus_seconds(301);
        let verify = |header: &str| authenticator.verify(&registry(), later, "GET", TARGET, header);
        assert_eq!(verify(&sign(&challenge, KEY, ("GET", TARGET), 1)), Verdict::Stale);
        let wrong = sign(&challenge, (KEY.0, "guess"), ("GET", TARGET), 1);
        assert_eq!(verify(&wrong), Verdict::Refused(Some(KEY.0.into())));
    }
}
