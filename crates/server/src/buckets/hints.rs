//! [`Hints`]: what stores say has changed in their buckets.
//!
//! A hint says that it is time to look, and nothing else: what was done is found by looking. So a forged one costs
//! a look, and a lost one the time until the next look.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Those who want to hear of buckets. Cheap to clone.
#[derive(Clone, Default)]
pub struct Hints(Arc<Mutex<Vec<Weak<Ear>>>>);

/// One who wants to hear of what is below a prefix of a bucket.
pub struct Ear {
    bucket: String,
    prefix: String,
    heard: Mutex<Heard>,
}

/// What one heard since it asked last.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// Objects that changed.
    pub keys: BTreeSet<String>,
    /// So many did that it is not said which.
    pub is_much: bool,
}

impl Hints {
    /// Lets it be heard what changes below `prefix`, which has no slash at its end, for as long as this is kept.
    pub fn listen(&self, bucket: &str, prefix: &str) -> Arc<Ear> {
        let (bucket, prefix) = (bucket.to_owned(), prefix.to_owned());
        let ear = Arc::new(Ear { bucket, prefix, heard: Mutex::default() });
        let mut ears = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ears.retain(|ear| ear.strong_count() > 0);
        ears.push(Arc::downgrade(&ear));
        ear
    }

    /// Says that an object changed.
    pub fn tell(&self, bucket: &str, key: &str) {
        let ears = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for ear in ears.iter().filter_map(Weak::upgrade) {
            if ear.bucket == bucket && ear.is_below(key) {
                ear.hear(key);
            }
        }
    }
}

impl Ear {
    /// So many keys are remembered.
    const KEYS_MAX: usize = 1000;

    /// What was heard since this was asked last.
    pub fn take(&self) -> Heard {
        std::mem::take(&mut self.heard.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn is_below(&self, key: &str) -> bool {
        let rest = key.strip_prefix(&self.prefix);
        rest.is_some_and(|rest| self.prefix.is_empty() || rest.starts_with('/'))
    }

    fn hear(&self, key: &str) {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        if heard.keys.len() < Ear::KEYS_MAX {
            heard.keys.insert(key.to_owned());
        } else if !heard.keys.contains(key) {
            heard.is_much = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: everyone hears of what lies below his own prefix, once, and what nobody takes is bounded. Method:
    /// hints within, beside and without; one who listens no more; more hints than are kept.
    #[test]
    fn one_hears_of_what_is_his() {
        let hints = Hints::default();
        let (all, some) = (hints.listen("lake", ""), hints.listen("lake", "prod/a"));
        drop(hints.listen("lake", ""));
        for (bucket, key) in [
            ("lake", "prod/a/__schema/x"),
            ("lake", "prod/a/__schema/x"),
            ("lake", "prod/ab/__schema/x"),
            ("pond", "prod/a/__schema/x"),
        ] {
            hints.tell(bucket, key);
        }
        let keys = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect();
        assert_eq!(some.take().keys, keys(&["prod/a/__schema/x"]));
        assert_eq!(all.take().keys, keys(&["prod/a/__schema/x", "prod/ab/__schema/x"]));
        assert_eq!(some.take(), Heard::default());
        (0..=Ear::KEYS_MAX).for_each(|n| hints.tell("lake", &n.to_string()));
        let heard = all.take();
        assert!(heard.is_much && heard.keys.len() == Ear::KEYS_MAX);
    }
}
