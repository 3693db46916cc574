//! [`Sessions`]: who is signed in, and [`Links`] that sign somebody in once. Both in memory only: what
//! opens a page is never on disk, and a restart ends all of it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use doorbook_event::arrays::{Arrays, PasswordHash, User};
use doorbook_event::{Random, Text, Timestamp};

use super::forms::Told;
use crate::auth::users::{new_token, token_sha256};

/// Without any use, a session ends after an hour.
pub const IDLE_SECONDS: i64 = 3600;

/// However much it is used, it ends after a working day.
pub const ABSOLUTE_SECONDS: i64 = 12 * 3600;

/// How long a link can be used.
const LINK_SECONDS: i64 = 900;

const SESSIONS_OF_A_USER_MAX: usize = 16;
const SESSIONS_MAX: usize = 10_000;
const LINKS_MAX: usize = 16;

/// Everyone who is signed in, by the SHA-256 of the secret in the cookie.
#[derive(Default)]
pub struct Sessions(Mutex<HashMap<[u8; 32], Session>>);

struct Session {
    user: Text,
    /// The session is good for as long as this is the user's password.
    password: PasswordHash,
    form_token: String,
    began: Timestamp,
    used: Timestamp,
    /// What the next page is to tell. A secret that was just made is nowhere else.
    told: Option<Told>,
}

/// Somebody who is signed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedIn {
    /// Who.
    pub user: Text,
    /// What each form of theirs must carry.
    pub form_token: String,
}

impl Sessions {
    /// Begins a session. Returns the secret for the cookie.
    pub fn begin(&self, random: &dyn Random, now: Timestamp, user: &User) -> String {
        let secret = new_token(random);
        let session = Session {
            user: user.name.clone(),
            password: user.password.clone(),
            form_token: new_token(random),
            began: now,
            used: now,
            told: None,
        };
        let mut sessions = self.lock();
        sessions.retain(|_, session| session.is_good(now));
        let of_user = sessions.values().filter(|session| session.user == user.name).count();
        if of_user >= SESSIONS_OF_A_USER_MAX {
            remove_oldest(&mut sessions, |session| session.user == user.name);
        }
        if sessions.len() >= SESSIONS_MAX {
            remove_oldest(&mut sessions, |_| true);
        }
        sessions.insert(token_sha256(&secret), session);
        secret
    }

    /// Whose session this is, if it is good. Its use counts.
    pub fn find(&self, arrays: &Arrays, now: Timestamp, secret: &str) -> Option<SignedIn> {
        let found = self.look(arrays, now, secret)?;
        if let Some(session) = self.lock().get_mut(&token_sha256(secret)) {
            session.used = session.used.max(now);
        }
        Some(found)
    }

    /// The same of what a page asks by itself: a window that is left open is no use.
    pub fn look(&self, arrays: &Arrays, now: Timestamp, secret: &str) -> Option<SignedIn> {
        let sessions = self.lock();
        let session = sessions.get(&token_sha256(secret))?;
        let user = arrays.user(&session.user)?;
        if !session.is_good(now) || user.password != session.password {
            return None;
        }
        let (user, form_token) = (session.user.clone(), session.form_token.clone());
        Some(SignedIn { user, form_token })
    }

    /// Keeps what the next page is to tell.
    pub fn tell(&self, secret: &str, told: Told) {
        if let Some(session) = self.lock().get_mut(&token_sha256(secret)) {
            session.told = Some(told);
        }
    }

    /// What this page is to tell; the next one does not.
    pub fn take_told(&self, secret: &str) -> Option<Told> {
        self.lock().get_mut(&token_sha256(secret))?.told.take()
    }

    /// Ends a session.
    pub fn end(&self, secret: &str) {
        self.lock().remove(&token_sha256(secret));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<[u8; 32], Session>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    fn is_good(&self, now: Timestamp) -> bool {
        now < self.used.plus_seconds(IDLE_SECONDS)
            && now < self.began.plus_seconds(ABSOLUTE_SECONDS)
    }
}

fn remove_oldest(sessions: &mut HashMap<[u8; 32], Session>, of: impl Fn(&Session) -> bool) {
    let candidates = sessions.iter().filter(|(_, session)| of(session));
    let oldest = candidates.min_by_key(|(_, session)| session.used).map(|(id, _)| *id);
    oldest.map(|id| sessions.remove(&id));
}

/// Links that sign in whoever opens them first.
#[derive(Default)]
pub struct Links(Mutex<Vec<Link>>);

struct Link {
    sha256: [u8; 32],
    user: Text,
    until: Timestamp,
}

impl Links {
    /// Makes a link for a user; its secret.
    pub fn make(&self, random: &dyn Random, now: Timestamp, user: &str) -> String {
        let secret = new_token(random);
        let (sha256, until) = (token_sha256(&secret), now.plus_seconds(LINK_SECONDS));
        let mut links = self.lock();
        links.retain(|link| now < link.until);
        if links.len() >= LINKS_MAX {
            links.remove(0);
        }
        links.push(Link { sha256, user: user.into(), until });
        secret
    }

    /// Whom a link signs in; it is used up.
    pub fn take(&self, now: Timestamp, secret: &str) -> Option<Text> {
        let sha256 = token_sha256(secret);
        let mut links = self.lock();
        let at = links.iter().position(|link| link.sha256 == sha256 && now < link.until)?;
        Some(links.remove(at).user)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Link>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use doorbook_event::arrays::{ArraysChange, Uuid};
    use doorbook_event::time::CountingRandom;

    use super::*;
    use crate::auth::users::kept;

    const NOW: Timestamp = Timestamp::from_seconds(1_700_000_000);

    fn user(name: &str, password: &str) -> User {
        let random = CountingRandom::default();
        let (name, password) = (name.into(), kept(&random, password, 1));
        User { name, id: Uuid::random([1; 16]), password, created: NOW }
    }

    fn arrays(users: &[User]) -> Arrays {
        let mut arrays = Arrays::default();
        users.iter().for_each(|user| arrays.apply(ArraysChange::UserCreated(user.clone())));
        arrays
    }

    /// Goal: a session lasts while it is used, never beyond its day, and never beyond its password.
    #[test]
    fn a_session_ends_by_idling_by_age_by_signing_out_and_with_the_password() {
        let (random, sessions) = (CountingRandom::default(), Sessions::default());
        let alice = user("alice", "one");
        let known = arrays(std::slice::from_ref(&alice));
        let is_good = |secret: &str, seconds: i64| {
            sessions.find(&known, NOW.plus_seconds(seconds), secret).is_some()
        };
        let secret = sessions.begin(&random, NOW, &alice);
        assert!(is_good(&secret, 0) && is_good(&secret, IDLE_SECONDS - 1));
        assert!(!is_good("", 0) && !is_good(&secret[1..], 0));
        assert!(!is_good(&secret, 2 * IDLE_SECONDS), "idle");
        let mut at = 2 * IDLE_SECONDS;
        let secret = sessions.begin(&random, NOW, &alice);
        for step in (0..ABSOLUTE_SECONDS).step_by(1800) {
            assert!(is_good(&secret, step), "{step}");
            at = step;
        }
        assert!(at + IDLE_SECONDS > ABSOLUTE_SECONDS && !is_good(&secret, ABSOLUTE_SECONDS), "old");
        // What a page asks by itself does not keep the session.
        let secret = sessions.begin(&random, NOW, &alice);
        let looks =
            |seconds: i64| sessions.look(&known, NOW.plus_seconds(seconds), &secret).is_some();
        assert!(looks(0) && looks(IDLE_SECONDS - 1) && !looks(IDLE_SECONDS));
        let secret = sessions.begin(&random, NOW, &alice);
        let changed = arrays(&[user("alice", "another")]);
        assert_eq!(sessions.find(&changed, NOW, &secret), None);
        assert_eq!(sessions.find(&Arrays::default(), NOW, &secret), None);
        assert!(is_good(&secret, 0));
        sessions.end(&secret);
        assert!(!is_good(&secret, 0));
    }

    /// Goal: memory is bounded, and a user who signs in again and again ends none of others.
    #[test]
    fn a_further_session_of_a_user_ends_the_one_used_longest_ago() {
        let (random, sessions) = (CountingRandom::default(), Sessions::default());
        let (alice, bob) = (user("alice", "one"), user("bob", "two"));
        let known = arrays(&[alice.clone(), bob.clone()]);
        let of_bob = sessions.begin(&random, NOW.plus_seconds(-1), &bob);
        let secrets: Vec<String> = (0..=SESSIONS_OF_A_USER_MAX as i64)
            .map(|n| sessions.begin(&random, NOW.plus_seconds(n), &alice))
            .collect();
        let is_good = |secret: &String| sessions.find(&known, NOW, secret).is_some();
        assert!(!is_good(&secrets[0]) && secrets[1..].iter().all(is_good) && is_good(&of_bob));
    }

    #[test]
    fn a_link_is_good_once_and_for_a_while() {
        let (random, links) = (CountingRandom::default(), Links::default());
        let secret = links.make(&random, NOW, "alice");
        assert_eq!(links.take(NOW, "x"), None);
        assert_eq!(links.take(NOW, &secret), Some("alice".into()));
        assert_eq!(links.take(NOW, &secret), None);
        let secret = links.make(&random, NOW, "alice");
        assert_eq!(links.take(NOW.plus_seconds(LINK_SECONDS), &secret), None);
    }
}
