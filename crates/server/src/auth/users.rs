//! Users of arrays: passwords, and the tokens that programs show instead.
//!
//! A password is guessed offline by whoever gets hold of the data directory, so what is kept of it is
//! slow to compute: PBKDF2 with HMAC-SHA-256, by *ring*, which is in the binary for TLS anyway. Some
//! clients send the password with every request: one that was right is remembered for a while, by a
//! keyed hash, in memory only. Guessing takes turns, so that it cannot take all processors.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use doorbook_event::arrays::{Arrays, PasswordHash};
use doorbook_event::{Random, Text, Timestamp};
use ring::{hmac, pbkdf2};
use sha2::Digest as _;
use tokio::sync::Semaphore;

use super::random_bytes;

/// OWASP's figure for PBKDF2 with HMAC-SHA-256; 0.2 s of a processor of 2020.
pub const ITERATIONS: u32 = 600_000;

/// How long a password that was right is not computed again.
const REMEMBERED_SECONDS: i64 = 600;

/// Passwords that are remembered; all are forgotten when there is one more.
const REMEMBERED_MAX: usize = 1000;

/// Passwords that are computed at once.
const TURNS: usize = 2;

/// Longer than any password; computing the hash of it costs no more than that of a short one.
pub const PASSWORD_BYTES_MAX: usize = 1024;

/// Checks passwords.
pub struct Passwords {
    key: hmac::Key,
    right: Mutex<HashMap<[u8; 32], Right>>,
    turns: Arc<Semaphore>,
}

/// What a password was right for, and until when it is remembered.
struct Right {
    kept: PasswordHash,
    until: Timestamp,
}

impl Passwords {
    /// Remembers under a secret.
    pub fn new(secret: &[u8; 32]) -> Passwords {
        // The secret has another use, too, and neither may help to break the other one.
        let own = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let own = hmac::sign(&own, b"passwords that were right");
        Passwords {
            key: hmac::Key::new(hmac::HMAC_SHA256, own.as_ref()),
            right: Mutex::default(),
            turns: Arc::new(Semaphore::new(TURNS)),
        }
    }

    /// Who waits for a turn to compute one.
    pub fn turns(&self) -> &Arc<Semaphore> {
        &self.turns
    }

    /// Whether this was the user's password a short time ago, and nothing has changed since.
    pub fn is_known(&self, arrays: &Arrays, now: Timestamp, user: &str, password: &str) -> bool {
        let Some(known) = arrays.user(user) else { return false };
        let right = self.right();
        let right = right.get(&self.mark(user, password));
        right.is_some_and(|right| now < right.until && right.kept == known.password)
    }

    /// Whether this is the user's password. Takes its time, and as much for a user who is not there.
    pub fn verify(&self, arrays: &Arrays, now: Timestamp, user: &str, password: &str) -> bool {
        let known = arrays.user(user);
        let nobody = PasswordHash { salt: [0; 16], iterations: ITERATIONS, hash: [0; 32] };
        let kept = known.map_or(&nobody, |user| &user.password);
        let iterations = NonZeroU32::new(kept.iterations).unwrap_or(NonZeroU32::MIN);
        let is_right = password.len() <= PASSWORD_BYTES_MAX
            && pbkdf2::verify(ALGORITHM, iterations, &kept.salt, password.as_bytes(), &kept.hash)
                .is_ok();
        if !is_right || known.is_none() {
            return false;
        }
        let right = Right { kept: kept.clone(), until: now.plus_seconds(REMEMBERED_SECONDS) };
        let mark = self.mark(user, password);
        let mut known = self.right();
        if known.len() >= REMEMBERED_MAX {
            known.clear();
        }
        known.insert(mark, right);
        true
    }

    fn mark(&self, user: &str, password: &str) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.key);
        // No name holds the byte between.
        context.update(user.as_bytes());
        context.update(b"\0");
        context.update(password.as_bytes());
        context.sign().as_ref().try_into().expect("SHA-256 has 32 bytes")
    }

    fn right(&self) -> MutexGuard<'_, HashMap<[u8; 32], Right>> {
        self.right.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

static ALGORITHM: pbkdf2::Algorithm = pbkdf2::PBKDF2_HMAC_SHA256;

/// What is kept of a password.
pub fn kept(random: &dyn Random, password: &str, iterations: u32) -> PasswordHash {
    let salt = random_bytes::<16>(random);
    let mut hash = [0; 32];
    let times = NonZeroU32::new(iterations).unwrap_or(NonZeroU32::MIN);
    pbkdf2::derive(ALGORITHM, times, &salt, password.as_bytes(), &mut hash);
    PasswordHash { salt, iterations: times.get(), hash }
}

/// A token: 256 random bits.
pub fn new_token(random: &dyn Random) -> String {
    URL_SAFE_NO_PAD.encode(random_bytes::<32>(random))
}

/// What is kept of a token.
pub fn token_sha256(token: &str) -> [u8; 32] {
    sha2::Sha256::digest(token).into()
}

/// Whose token this is, if it is good.
pub fn user_of_token(arrays: &Arrays, now: Timestamp, token: &str) -> Option<Text> {
    let token = arrays.token(&token_sha256(token))?;
    let is_good = token.expires.is_none_or(|expires| now < expires);
    let user = arrays.user(&token.user)?;
    is_good.then(|| user.name.clone())
}

#[cfg(test)]
mod tests {
    use doorbook_event::arrays::{ArraysChange, Token, User, Uuid};
    use doorbook_event::time::CountingRandom;

    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_700_000_000);

    fn arrays(password: &str) -> Arrays {
        let mut arrays = Arrays::default();
        let random = CountingRandom::default();
        arrays.apply(ArraysChange::UserCreated(User {
            name: "alice".into(),
            id: Uuid::random([1; 16]),
            password: kept(&random, password, 2),
            created: NOW,
        }));
        arrays
    }

    /// `hashlib.pbkdf2_hmac("sha256", b"secret", bytes(range(16)), 2).hex()`
    #[test]
    fn what_is_kept_is_pbkdf2() {
        let PasswordHash { salt, hash, .. } = kept(&CountingRandom::default(), "secret", 2);
        let mut expected = [0; 32];
        let times = NonZeroU32::new(2).expect("not zero");
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, times, &salt, b"secret", &mut expected);
        assert_eq!(hash, expected);
        assert_ne!(kept(&CountingRandom::default(), "secreT", 2).hash, hash);
        assert_eq!(format!("{:?}", kept(&CountingRandom::default(), "secret", 2)), "PasswordHash");
    }

    /// Goal: only the present password is right, and remembering one changes nothing of that.
    #[test]
    fn a_password_is_remembered_for_a_while_and_only_if_it_is_right() {
        let (before, passwords) = (arrays("secret"), Passwords::new(&[7; 32]));
        let known = |arrays: &Arrays, now, user: &str, password: &str| {
            passwords.is_known(arrays, now, user, password)
        };
        for (user, password) in [("alice", "Secret"), ("alice", ""), ("bob", "secret")] {
            assert!(!passwords.verify(&before, NOW, user, password), "{user} {password}");
            assert!(!known(&before, NOW, user, password), "{user} {password}");
        }
        assert!(!passwords.verify(&before, NOW, "alice", &"x".repeat(PASSWORD_BYTES_MAX + 1)));
        assert!(!known(&before, NOW, "alice", "secret"));
        assert!(passwords.verify(&before, NOW, "alice", "secret"));
        assert!(known(&before, NOW, "alice", "secret"));
        assert!(!known(&before, NOW, "alice", "Secret"));
        assert!(!known(&before, NOW.plus_seconds(REMEMBERED_SECONDS), "alice", "secret"));
        assert!(!known(&arrays("other"), NOW, "alice", "secret"), "the password has changed");
        assert!(!known(&Arrays::default(), NOW, "alice", "secret"), "the user is gone");
    }

    #[test]
    fn a_token_is_good_until_it_ends() {
        let mut arrays = arrays("secret");
        let token = new_token(&CountingRandom::default());
        assert_eq!(user_of_token(&arrays, NOW, &token), None);
        arrays.apply(ArraysChange::TokenCreated(Token {
            sha256: token_sha256(&token),
            user: "alice".into(),
            created: NOW,
            expires: Some(NOW.plus_seconds(10)),
        }));
        assert_eq!(user_of_token(&arrays, NOW.plus_seconds(9), &token), Some("alice".into()));
        assert_eq!(user_of_token(&arrays, NOW.plus_seconds(10), &token), None);
        assert_eq!(user_of_token(&arrays, NOW, &token[1..]), None);
    }
}
