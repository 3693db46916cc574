//! What the server tells of itself in its log: only what changes, and once.
//!
//! Maintenance runs in the store's own thread, which knows of no log, and a poisoned writer refuses
//! thousands of requests. So one task looks at the store now and then and tells what became of it.
//! `WARN` is: it failed, it was mended, nothing is lost. `ERROR` is: an operator must act.

use std::time::Duration;

use doorbook_store::{Error, Store};

use crate::admin::with_causes;

/// How often it looks.
pub const PAUSE: Duration = Duration::from_secs(10);

/// What is wrong with the store, as far as it was told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vitals {
    poisoned: bool,
    /// Maintenance failed at the latest look.
    maintenance: bool,
    /// Failures of maintenance that were told.
    failures: u64,
    disk_full: bool,
}

/// Something that an operator should know.
#[derive(Debug)]
pub enum News {
    /// Nothing can be written until a restart.
    Poisoned(&'static str),
    /// Maintenance fails, and is tried again.
    MaintenanceFails(Error),
    /// It failed, and does not any more.
    MaintenanceMended {
        /// How often it failed.
        failures: u64,
    },
    /// Less than the reserve is free.
    DiskFull {
        /// What is.
        free_bytes: u64,
        /// What should be.
        reserve_bytes: u64,
    },
    /// There is room again.
    DiskRoomy {
        /// How much.
        free_bytes: u64,
    },
}

impl Vitals {
    /// Looks at a store: what changed since the last look.
    pub fn look(&mut self, store: &Store) -> Vec<News> {
        let mut news = Vec::new();
        if let Some(why) = store.poisoned()
            && !self.poisoned
        {
            self.poisoned = true;
            news.push(News::Poisoned(why));
        }
        // What cannot be measured now is told by who asks for it.
        let Ok(measures) = store.measures() else { return news };
        let failures = measures.work.failures.count;
        let failure = store.maintenance_failure();
        let was_failing = std::mem::replace(&mut self.maintenance, failure.is_some());
        match failure {
            Some(error) if !was_failing => news.push(News::MaintenanceFails(error)),
            None if failures > self.failures => {
                let failures = failures - std::mem::replace(&mut self.failures, failures);
                news.push(News::MaintenanceMended { failures });
            }
            _ => {}
        }
        let (free_bytes, reserve_bytes) = (measures.free_bytes, measures.reserve_bytes);
        let disk_full = free_bytes < reserve_bytes;
        match (disk_full, self.disk_full) {
            (true, false) => news.push(News::DiskFull { free_bytes, reserve_bytes }),
            (false, true) => news.push(News::DiskRoomy { free_bytes }),
            _ => {}
        }
        self.disk_full = disk_full;
        news
    }
}

impl News {
    /// Writes it to the log.
    pub fn tell(&self) {
        match self {
            News::Poisoned(why) => tracing::error!(
                why,
                advice = "restart the server; doorbook verify says what is on the disk",
                "nothing can be written until a restart"
            ),
            News::MaintenanceFails(error) => tracing::error!(
                error = with_causes(error),
                advice = "it is tried again by itself; see the disk",
                "maintenance of the data directory fails"
            ),
            News::MaintenanceMended { failures } => {
                tracing::warn!(failures, "maintenance failed and works again");
            }
            News::DiskFull { free_bytes, reserve_bytes } => tracing::error!(
                free_bytes,
                reserve_bytes,
                advice = "make room; doorbook status says how much there is",
                "less than the reserve is free: events are refused"
            ),
            News::DiskRoomy { free_bytes } => {
                tracing::info!(free_bytes, "the reserve is free again");
            }
        }
    }
}

/// Looks at the store and tells what is new, until it is dropped; after each look `beat` is told
/// whether a restart is needed.
pub async fn watch(store: Store, pause: Duration, mut beat: impl FnMut(bool)) {
    let mut vitals = Vitals::default();
    loop {
        let looking = {
            let store = store.clone();
            tokio::task::spawn_blocking(move || {
                let news = vitals.look(&store);
                (vitals, news)
            })
        };
        let Ok((seen, news)) = looking.await else { return };
        vitals = seen;
        news.iter().for_each(News::tell);
        beat(store.poisoned().is_some());
        tokio::time::sleep(pause).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::app::Settings;
    use crate::test_support::app_in;

    /// Goal: each change is told once, and its end, too. Method: a sound store, then what it says.
    #[test]
    fn a_sound_store_is_no_news() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let app = app_in(dir.path(), Settings::default());
        let mut vitals = Vitals::default();
        assert!(vitals.look(app.store()).is_empty());
        // As if it had been told before that less than the reserve was free.
        vitals.disk_full = true;
        assert!(matches!(vitals.look(app.store())[..], [News::DiskRoomy { .. }]));
        assert!(vitals.look(app.store()).is_empty());
        app.close();
    }

    /// A watchdog is fed by looks, not by time alone.
    #[tokio::test]
    async fn each_look_is_a_beat() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let app = app_in(dir.path(), Settings::default());
        let beats = Arc::new(AtomicU64::new(0));
        let enough = Arc::new(tokio::sync::Notify::new());
        let watching = watch(app.store().clone(), Duration::from_millis(1), {
            let (beats, enough) = (Arc::clone(&beats), Arc::clone(&enough));
            move |is_poisoned| {
                assert!(!is_poisoned);
                if beats.fetch_add(1, Ordering::SeqCst) == 2 {
                    enough.notify_one();
                }
            }
        });
        tokio::select! {
            () = watching => panic!("it ended by itself"),
            () = enough.notified() => {}
        }
        app.close();
    }
}
