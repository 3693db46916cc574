//! [`App`]: everything that serving needs, built in one place, twice in one test if wished.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use doorbook_event::{Clock, PublicIds, Random, Record, Scope, Timestamp};
use doorbook_store::{Entry, Error, Store};
use tokio::sync::Semaphore;

use crate::admin::Admin;
use crate::api::{atlas, native, operations, s3, tiledb};
use crate::arrays::Places;
use crate::auth::Auth;
use crate::buckets::Buckets;
use crate::metrics::Metrics;
use crate::routing;
use crate::sources::Agents;
use crate::usage::Usage;
use crate::web::{self, Web};

/// What an operator can set. The defaults work.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How often a project's access history can be asked for.
    pub access_history_rate: RateLimit,
    /// Answers that are worked on, or wait to be taken, at once; each may hold 20,000 rows in
    /// memory, the others wait.
    pub concurrent_answers_max: usize,
    /// How long they wait before they are turned away.
    pub answer_wait: Duration,
    /// Between two looks of a tail that has sent all there is.
    pub tail_pause: Duration,
    /// Where on this machine's disk arrays may be stored that users register.
    pub array_places: Places,
    /// The body of a request that sends events, decompressed.
    pub ingest_body_bytes_max: usize,
    /// Bodies of such requests that are read or worked on at once; the events made of them take
    /// some three times as much again.
    pub ingest_in_flight_bytes_max: usize,
    /// How long such a request may wait for room before it is turned away.
    pub ingest_wait: Duration,
    /// Connections at once; further ones wait to be accepted.
    pub connections_max: usize,
    /// How long a TLS handshake, or a request's head, may take; also how long a connection may
    /// idle before and between requests.
    pub head_timeout: Duration,
    /// How long an answer may wait for its reader to take more of it; the whole of it may take ten
    /// times as long.
    pub write_timeout: Duration,
    /// How long answers under way may take once shutdown began.
    pub shutdown_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            access_history_rate: RateLimit::ACCESS_LOGS,
            concurrent_answers_max: 8,
            answer_wait: Duration::from_secs(20),
            tail_pause: Duration::from_millis(250),
            array_places: Places::default(),
            ingest_body_bytes_max: 32 << 20,
            ingest_in_flight_bytes_max: 64 << 20,
            ingest_wait: Duration::from_secs(10),
            connections_max: 1024,
            head_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(60),
            shutdown_timeout: Duration::from_secs(10),
        }
    }
}

/// A token bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Requests at once; 0 turns the limit off.
    pub capacity: u32,
    /// How many are given back per period.
    pub refill: u32,
    /// The period.
    pub period_seconds: u32,
}

impl RateLimit {
    /// Atlas's figures for its set "Access Logs".
    pub const ACCESS_LOGS: RateLimit =
        RateLimit { capacity: 1200, refill: 500, period_seconds: 60 };

    /// No limit.
    pub const OFF: RateLimit = RateLimit { capacity: 0, refill: 0, period_seconds: 1 };
}

impl fmt::Display for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RateLimit { capacity, refill, period_seconds } = self;
        write!(f, "{capacity}/{refill}/{period_seconds}")
    }
}

impl FromStr for RateLimit {
    type Err = &'static str;

    /// Parses `CAPACITY[/REFILL[/SECONDS]]`: all come back in a minute unless it says otherwise.
    fn from_str(text: &str) -> Result<RateLimit, &'static str> {
        let mut numbers = text.split('/').map(|number| {
            let is_plain = number.bytes().all(|b| b.is_ascii_digit());
            number.parse::<u32>().ok().filter(|_| is_plain)
        });
        let malformed = "a rate is CAPACITY, CAPACITY/REFILL or CAPACITY/REFILL/SECONDS";
        let capacity = numbers.next().flatten().ok_or(malformed)?;
        let refill = numbers.next().unwrap_or(Some(capacity)).ok_or(malformed)?;
        let period_seconds = numbers.next().unwrap_or(Some(60)).ok_or(malformed)?;
        if numbers.next().is_some() {
            return Err(malformed);
        }
        if capacity == 0 {
            return Ok(RateLimit::OFF);
        }
        if refill == 0 || period_seconds == 0 {
            return Err(
                "with REFILL or SECONDS 0 nothing would ever come back; 0 alone is no limit",
            );
        }
        Ok(RateLimit { capacity, refill, period_seconds })
    }
}

/// A server's state. Cheap to clone.
#[derive(Clone)]
pub struct App(Arc<Inner>);

struct Inner {
    store: Store,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    settings: Settings,
    auth: Auth,
    usage: Usage,
    access_history_buckets: atlas::rate_limit::Buckets,
    answers: Arc<Semaphore>,
    doors: native::Doors,
    web: Web,
    lines: routing::Router,
    metrics: Metrics,
    agents: Agents,
    buckets: Buckets,
    admin: OnceLock<Admin>,
    started: Timestamp,
    stage: AtomicU8,
}

/// How far a server is. It only goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Stage {
    /// Not everything runs yet that should.
    Starting = 0,
    /// Everything runs.
    Serving = 1,
    /// It is being stopped; requests are still answered.
    Stopping = 2,
}

/// What a server keeps from everyone, and over restarts.
#[derive(Clone)]
pub struct Secrets {
    digest_nonce: [u8; 32],
    public_ids: [u8; 32],
}

impl Secrets {
    /// Of a data directory.
    pub fn of(store: &Store) -> Result<Secrets, Error> {
        Ok(Secrets {
            digest_nonce: store.secret("digest-nonce")?,
            public_ids: store.secret("public-ids")?,
        })
    }
}

impl App {
    /// Over an open store. Starts the thread that records uses; [`App::close`] ends it.
    pub fn new(
        store: Store,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        settings: Settings,
        secrets: &Secrets,
    ) -> App {
        let sink = {
            let store = store.clone();
            Box::new(move |records: Vec<Record>| -> Result<(), Error> {
                let source = "doorbook".into();
                store.commit(vec![Entry { scope: Scope::System, source, records }])
            })
        };
        App(Arc::new(Inner {
            auth: Auth::new(secrets.digest_nonce, clock.now()),
            usage: Usage::start(Arc::clone(&clock), sink),
            access_history_buckets: atlas::rate_limit::Buckets::new(settings.access_history_rate),
            answers: Arc::new(Semaphore::new(settings.concurrent_answers_max.max(1))),
            web: Web::default(),
            doors: native::Doors::new(PublicIds::new(&secrets.public_ids), &settings),
            lines: routing::Router::new(routing::Tools {
                store: store.clone(),
                clock: Arc::clone(&clock),
            }),
            metrics: Metrics::default(),
            agents: Agents::default(),
            buckets: Buckets::default(),
            admin: OnceLock::new(),
            started: clock.now(),
            stage: AtomicU8::new(Stage::Starting as u8),
            store,
            clock,
            random,
            settings,
        }))
    }

    /// Commits what callers did so far. [`crate::http::serve`] does this when it ends; the store
    /// can be closed afterwards.
    pub fn close(&self) {
        self.0.usage.close();
    }

    /// Every surface.
    pub fn router(&self) -> Router {
        atlas::router(self)
            .merge(native::router(self))
            .merge(tiledb::router(self))
            .merge(operations::router(self))
            .merge(s3::router(self))
            .merge(web::router(self))
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.0.store
    }

    /// Where the present comes from.
    pub fn clock(&self) -> &dyn Clock {
        &*self.0.clock
    }

    /// Where unpredictable bytes come from.
    pub fn random(&self) -> &dyn Random {
        &*self.0.random
    }

    /// What the operator set.
    pub fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// Who is calling.
    pub fn auth(&self) -> &Auth {
        &self.0.auth
    }

    /// The record of who did.
    pub fn usage(&self) -> &Usage {
        &self.0.usage
    }

    /// The rate limit of the access history.
    pub fn access_history_buckets(&self) -> &atlas::rate_limit::Buckets {
        &self.0.access_history_buckets
    }

    /// What our own API holds.
    pub fn doors(&self) -> &native::Doors {
        &self.0.doors
    }

    /// What the page holds.
    pub fn web(&self) -> &Web {
        &self.0.web
    }

    /// Where lines that are sent to us find their host.
    pub fn lines(&self) -> &routing::Router {
        &self.0.lines
    }

    /// What the server counts of itself.
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// What agents said of themselves.
    pub fn agents(&self) -> &Agents {
        &self.0.agents
    }

    /// How buckets are reached, and what stores say of them.
    pub fn buckets(&self) -> &Buckets {
        &self.0.buckets
    }

    /// Says with what requests of pages are carried out. Only the first one counts.
    pub fn set_admin(&self, admin: Admin) {
        let _the_first_one_stays = self.0.admin.set(admin);
    }

    /// What carries the requests of pages out; without anything that runs beside, where nobody said.
    pub fn admin(&self) -> &Admin {
        self.0.admin.get_or_init(|| Admin {
            store: self.0.store.clone(),
            clock: self.0.clock.clone(),
            random: self.0.random.clone(),
            base_url: None,
            sources: None,
            receivers: None,
            services: None,
        })
    }

    /// When this was made.
    pub fn started(&self) -> Timestamp {
        self.0.started
    }

    /// How far the server is.
    pub fn stage(&self) -> Stage {
        match self.0.stage.load(Ordering::SeqCst) {
            0 => Stage::Starting,
            1 => Stage::Serving,
            _ => Stage::Stopping,
        }
    }

    /// The server has come this far. An earlier stage changes nothing.
    pub fn reach(&self, stage: Stage) {
        self.0.stage.fetch_max(stage as u8, Ordering::SeqCst);
    }

    /// Permits for answers that are worked on.
    pub fn answers(&self) -> &Arc<Semaphore> {
        &self.0.answers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_written_in_three_numbers_or_less() {
        let check = |text: &str, expected: Option<(u32, u32, u32)>| {
            let expected = expected.map(|(capacity, refill, period_seconds)| RateLimit {
                capacity,
                refill,
                period_seconds,
            });
            assert_eq!(text.parse::<RateLimit>().ok(), expected, "{text:?}");
        };
        check("1200/500/60", Some((1200, 500, 60)));
        check("10/5", Some((10, 5, 60)));
        check("10", Some((10, 10, 60)));
        for off in ["0", "0/0", "0/500/60"] {
            check(off, Some((0, 0, 1)));
        }
        for bad in ["", "/", "1/", "-1", "+1", "1/0", "1/1/0", "1/1/1/1", "x", "4294967296"] {
            check(bad, None);
        }
        assert_eq!(RateLimit::ACCESS_LOGS.to_string().parse(), Ok(RateLimit::ACCESS_LOGS));
    }
}
