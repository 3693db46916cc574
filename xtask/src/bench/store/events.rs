//! Authentications of many hosts, made up: the same number and seed give the same events.
//!
//! 200 hosts in clusters of up to 12 and 20,000 users, both by Zipf's law, so that few are busy and
//! most are hardly ever seen; 5,000 addresses, of which each user comes from few. Days are busier
//! than nights and weekends. Two in a hundred events are bursts of password guesses from one address
//! at one host. What a column cannot say about another (port, connection, duration, mechanism,
//! database, application) is drawn on its own: data that compress better than real ones would
//! flatter everyone. Two million events are 30 days; more events are more days at the same rate,
//! because a store's history grows in length.

use std::fmt::Write as _;
use std::io::{self, Write};

use super::super::random::{Random, Zipf};
use super::super::time::time;

/// 2026-11-01T00:00:00Z: where every history ends, however long it is.
pub const END_MS: u64 = 1_793_491_200_000;
pub const HOUR_MS: u64 = 3_600_000;
pub const DAY_MS: u64 = 24 * HOUR_MS;
/// How many events are 30 days.
pub const EVENTS_IN_30_DAYS: u64 = 2_000_000;

const HOSTS: u16 = 200;
const USERS: u32 = 20_000;
const ADDRESSES: u64 = 5000;
/// Sizes of clusters, over and over until there are no hosts left.
const CLUSTER_SIZES: [u16; 6] = [12, 3, 12, 5, 1, 7];

const SHARE_FAILING: f64 = 0.06;
const SHARE_IN_BURSTS: f64 = 0.02;
const EVENTS_IN_A_BURST_MAX: u64 = 1000;
const BURST_MS: u64 = HOUR_MS / 2;
/// How late a shipper brings a line, at most.
const LATE_MS_MAX: u64 = 3000;

const MECHANISMS: [&str; 5] =
    ["SCRAM-SHA-256", "SCRAM-SHA-256", "SCRAM-SHA-256", "SCRAM-SHA-1", "MONGODB-X509"];
const DATABASES: [&str; 6] = ["admin", "admin", "admin", "orders", "billing", "$external"];
const APPLICATIONS: [&str; 6] =
    ["shop", "mongosh", "orders-api", "billing-v2", "log-collector", "oplog"];

/// One authentication. Names are numbers until they are written.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    pub time_ms: u64,
    pub host: u16,
    user: u32,
    address: u64,
    port: u64,
    database: &'static str,
    mechanism: &'static str,
    application: usize,
    failure: Option<Failure>,
    connection: u64,
    duration_micros: u64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Failure {
    WrongPassword,
    NoSuchUser,
    Abandoned,
}

/// The events, in the order in which shippers bring them: by time, but for a few seconds.
pub struct Events {
    random: Random,
    hosts: Zipf,
    users: Zipf,
    habits: Zipf,
    count: u64,
    start_ms: u64,
    /// For each hour, how many events there are up to its end, as a share of all.
    shares: Vec<f64>,
    hour: usize,
    made: u64,
    connections: Vec<u64>,
    ready: std::vec::IntoIter<Event>,
}

impl Events {
    pub fn new(count: u64, seed: u64) -> Events {
        let hours = days(count) * 24;
        let weight = |hour: u64| {
            let by_day =
                1.0 + 0.8 * ((hour % 24) as f64 / 24.0 * std::f64::consts::TAU - 1.6).sin();
            if hour / 24 % 7 >= 5 { by_day / 2.0 } else { by_day }
        };
        let all: f64 = (0..hours).map(weight).sum();
        let mut sum = 0.0;
        let shares = (0..hours).map(|hour| {
            sum += weight(hour) / all;
            sum
        });
        Events {
            random: Random::new(seed),
            hosts: Zipf::new(HOSTS.into(), 1.0),
            users: Zipf::new(USERS, 1.1),
            habits: Zipf::new(64, 1.2),
            count,
            start_ms: start_ms(count),
            shares: shares.collect(),
            hour: 0,
            made: 0,
            connections: vec![1000; HOSTS.into()],
            ready: Vec::new().into_iter(),
        }
    }

    /// The next hour, complete, or `None` after the last.
    fn next_hour(&mut self) -> Option<Vec<Event>> {
        let share = *self.shares.get(self.hour)?;
        let is_last = self.hour + 1 == self.shares.len();
        let until = if is_last { self.count } else { (self.count as f64 * share) as u64 };
        let count = until.min(self.count).saturating_sub(self.made);
        let start_ms = self.start_ms + self.hour as u64 * HOUR_MS;
        let mut times: Vec<u64> =
            (0..count).map(|_| start_ms + self.random.below(HOUR_MS - LATE_MS_MAX)).collect();
        times.sort_unstable();
        // So many bursts that they hold their share of all events; none is all that happens.
        let per_hour = self.count as f64 / self.shares.len() as f64;
        let in_a_burst = (per_hour * 0.35).min(EVENTS_IN_A_BURST_MAX as f64);
        let bursts_per_hour = per_hour * SHARE_IN_BURSTS / in_a_burst;
        let burst = self.random.share(bursts_per_hour).then(|| Burst {
            from_ms: start_ms + self.random.below(HOUR_MS - BURST_MS),
            host: host_of_rank(self.hosts.draw(&mut self.random)),
            address: self.random.below(ADDRESSES),
            first_user: self.random.below(40) as u32,
            left: in_a_burst as u64,
        });
        self.hour += 1;
        self.made += count;
        let mut events = self.events(&times, burst);
        let mut arrivals: Vec<u64> =
            events.iter().map(|event| event.time_ms + self.random.below(LATE_MS_MAX)).collect();
        sort_by_arrival(&mut arrivals, &mut events);
        Some(events)
    }

    fn events(&mut self, times: &[u64], mut burst: Option<Burst>) -> Vec<Event> {
        let mut events = Vec::with_capacity(times.len());
        for &time_ms in times {
            let in_burst = burst.as_mut().is_some_and(|burst| {
                let in_it = time_ms >= burst.from_ms
                    && time_ms < burst.from_ms + BURST_MS
                    && burst.left > 0;
                burst.left -= u64::from(in_it);
                in_it
            });
            let event = match burst.as_ref().filter(|_| in_burst) {
                Some(burst) => {
                    let user = burst.first_user + self.random.below(4) as u32;
                    self.event(time_ms, burst.host, user, burst.address, true)
                }
                None => {
                    let host = host_of_rank(self.hosts.draw(&mut self.random));
                    let user = self.users.draw(&mut self.random) as u32;
                    let habit = self.habits.draw(&mut self.random);
                    let address = (u64::from(user) * 7 + habit * 41) % ADDRESSES;
                    let fails = self.random.share(SHARE_FAILING);
                    self.event(time_ms, host, user, address, fails)
                }
            };
            events.push(event);
        }
        events
    }

    fn event(&mut self, time_ms: u64, host: u16, user: u32, address: u64, fails: bool) -> Event {
        let random = &mut self.random;
        let connection = &mut self.connections[usize::from(host)];
        // Most connections of a host are no logins, or not in this history.
        *connection += 1 + random.below(64);
        let failure = match random.below(20) {
            0..14 => Failure::WrongPassword,
            14..19 => Failure::NoSuchUser,
            _ => Failure::Abandoned,
        };
        Event {
            time_ms,
            host,
            user,
            address,
            port: 1024 + random.below(64_000),
            database: DATABASES[random.below(DATABASES.len() as u64) as usize],
            mechanism: MECHANISMS[random.below(MECHANISMS.len() as u64) as usize],
            application: random.below(APPLICATIONS.len() as u64) as usize,
            failure: fails.then_some(failure),
            connection: *connection,
            duration_micros: 300 + random.below(40_000),
        }
    }
}

impl Iterator for Events {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.ready.next() {
                return Some(event);
            }
            self.ready = self.next_hour()?.into_iter();
        }
    }
}

struct Burst {
    from_ms: u64,
    host: u16,
    address: u64,
    first_user: u32,
    left: u64,
}

/// How many days so many events are: at least 30, so that every question has its range.
pub fn days(count: u64) -> u64 {
    (count * 30).div_ceil(EVENTS_IN_30_DAYS).max(30)
}

/// When a history of so many events begins.
pub fn start_ms(count: u64) -> u64 {
    END_MS - days(count) * DAY_MS
}

/// The clusters with their hosts.
pub fn clusters() -> Vec<(String, Vec<String>)> {
    let mut clusters = Vec::<(String, Vec<String>)>::new();
    for host in 0..HOSTS {
        let cluster = cluster_of(host);
        if clusters.last().is_none_or(|(last, _)| *last != cluster) {
            clusters.push((cluster, Vec::new()));
        }
        clusters.last_mut().expect("pushed above").1.push(host_name(host));
    }
    clusters
}

/// The busiest hosts.
pub fn busiest_hosts() -> [u16; 5] {
    [0, 1, 2, 3, 4].map(host_of_rank)
}

pub fn host_name(host: u16) -> String {
    format!("db-{host:03}.example.net:27017")
}

pub fn cluster_of(host: u16) -> String {
    let mut left = host;
    let mut sizes = CLUSTER_SIZES.iter().cycle().enumerate();
    loop {
        let (number, size) = sizes.next().expect("a cycle has no end");
        match left.checked_sub(*size) {
            Some(rest) => left = rest,
            None => return format!("cluster-{number:02}"),
        }
    }
}

/// Busy and quiet hosts share clusters.
fn host_of_rank(rank: u64) -> u16 {
    (rank * 73 % u64::from(HOSTS)) as u16
}

/// Puts what arrives first first; what arrives at once stays in its order.
fn sort_by_arrival(arrivals: &mut [u64], events: &mut Vec<Event>) {
    let mut order: Vec<usize> = (0..events.len()).collect();
    order.sort_by_key(|&at| arrivals[at]);
    *events = order.into_iter().map(|at| events[at].clone()).collect();
}

impl Event {
    pub fn user(&self) -> String {
        match self.user {
            user @ 0..40 => format!("svc-{user:02}"),
            40 => "admin".to_string(),
            41 => "root".to_string(),
            user @ 42..12_000 => format!("person.{user:05}@example.net"),
            user => format!("job-{user:05}"),
        }
    }

    /// Mostly private networks, some public, one in a hundred IPv6.
    pub fn address(&self) -> String {
        let (high, low) = (self.address / 250, 1 + self.address % 250);
        match self.address % 100 {
            0..80 => format!("10.{}.{high}.{low}", high % 16),
            80..95 => format!("192.168.{high}.{low}"),
            95..99 => format!("203.0.113.{low}"),
            // Never 0, which has a shorter spelling, and every engine is to show the same one.
            _ => format!("2001:db8::{:x}:{:x}", high + 1, low + 1),
        }
    }

    fn failure(&self) -> Option<(String, i32)> {
        Some(match self.failure? {
            Failure::WrongPassword => (
                "AuthenticationFailed: SCRAM authentication failed, storedKey mismatch".to_string(),
                18,
            ),
            Failure::NoSuchUser => {
                let (user, database) = (self.user(), self.database);
                (format!("UserNotFound: Could not find user '{user}' for db '{database}'"), 11)
            }
            Failure::Abandoned => (
                "AuthenticationAbandoned: Authentication session abandoned, client has likely \
                 disconnected"
                    .to_string(),
                337,
            ),
        })
    }

    /// As a line of the ingest door, with its newline. No value needs escaping in JSON.
    pub fn json(&self, line: &mut String) {
        let _ = write!(
            line,
            r#"{{"time":"{}Z","cluster":"{}","host":"{}","action":"authenticate","#,
            time(self.time_ms),
            cluster_of(self.host),
            host_name(self.host)
        );
        let _ = match self.failure() {
            None => write!(line, r#""outcome":"success","#),
            Some((reason, code)) => {
                write!(line, r#""outcome":"failure","reason":"{reason}","code":{code},"#)
            }
        };
        let _ = writeln!(
            line,
            r#""user":"{}","database":"{}","mechanism":"{}","address":"{}","port":{},"connection":{},"application":"{}","duration_micros":{}}}"#,
            self.user(),
            self.database,
            self.mechanism,
            self.address(),
            self.port,
            self.connection,
            APPLICATIONS[self.application],
            self.duration_micros
        );
    }

    /// The same values between tabs, the time in milliseconds, for peers that load that faster.
    pub fn tabs(&self, line: &mut String) {
        let (reason, code) = self.failure().unwrap_or_default();
        let _ = writeln!(
            line,
            "{}\t{}\t{}\t{}\t{reason}\t{code}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}",
            self.time_ms,
            cluster_of(self.host),
            host_name(self.host),
            if self.failure.is_some() { "failure" } else { "success" },
            self.user(),
            self.database,
            self.mechanism,
            self.address(),
            self.port,
            self.connection,
            APPLICATIONS[self.application],
            self.duration_micros
        );
    }

    /// As a mongod 7.0 would have logged it, with its newline: 477 bytes on average.
    pub fn mongod_line(&self, line: &mut String) {
        let (id, message, result) = match self.failure() {
            None => (5_286_306, "Successfully authenticated", r#""result":0"#.to_string()),
            Some((reason, code)) => (
                5_286_307,
                "Failed to authenticate",
                format!(r#""error":"{reason}","result":{code}"#),
            ),
        };
        let address = self.address();
        let address = if address.contains(':') { format!("[{address}]") } else { address };
        let application = APPLICATIONS[self.application];
        let micros = self.duration_micros;
        let _ = writeln!(
            line,
            r#"{{"t":{{"$date":"{}+00:00"}},"s":"I",  "c":"ACCESS",   "id":{id}, "ctx":"conn{}","msg":"{message}","attr":{{"client":"{address}:{}","isSpeculative":true,"isClusterMember":false,"mechanism":"{}","user":"{}","db":"{}",{result},"metrics":{{"conversation_duration":{{"micros":{micros},"summary":{{"0":{{"step":1,"step_total":2,"duration_micros":{}}}}}}}}},"doc":{{"application":{{"name":"{application}"}}}},"extraInfo":{{}}}}}}"#,
            time(self.time_ms),
            self.connection,
            self.port,
            self.mechanism,
            self.user(),
            self.database,
            micros / 3,
        );
    }
}

/// Writes events, one line each, in one of their forms.
pub fn write_lines(
    events: impl Iterator<Item = Event>,
    form: fn(&Event, &mut String),
    out: &mut impl Write,
) -> io::Result<u64> {
    let mut size_bytes = 0;
    let mut line = String::new();
    for event in events {
        line.clear();
        form(&event, &mut line);
        out.write_all(line.as_bytes())?;
        size_bytes += line.len() as u64;
    }
    Ok(size_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_arguments_give_the_same_events() {
        let events = |seed| Events::new(5000, seed).collect::<Vec<_>>();
        assert_eq!(events(1), events(1));
        assert_ne!(events(1), events(2));
    }

    /// Goal: what the bench's questions rely on. Method: count it over one small history.
    #[test]
    fn a_history_has_the_shape_that_is_promised() {
        let events: Vec<_> = Events::new(200_000, 1).collect();
        assert_eq!(events.len(), 200_000);
        let failures = events.iter().filter(|event| event.failure.is_some()).count();
        assert!((14_000..18_000).contains(&failures), "{failures} failures");
        let start_ms = start_ms(200_000);
        assert!(events.iter().all(|event| (start_ms..END_MS).contains(&event.time_ms)));
        let late = events.windows(2).filter(|pair| pair[1].time_ms + LATE_MS_MAX < pair[0].time_ms);
        assert_eq!(late.count(), 0);
        let jitter = events.windows(2).filter(|pair| pair[1].time_ms < pair[0].time_ms).count();
        assert!(jitter > 0);
        let busiest = events.iter().filter(|event| event.host == busiest_hosts()[0]).count();
        assert!(busiest > 25_000, "{busiest} events of the busiest host");
    }

    #[test]
    fn clusters_have_up_to_twelve_hosts() {
        let clusters = clusters();
        let sizes: Vec<_> = clusters.iter().map(|(_, hosts)| hosts.len()).collect();
        assert_eq!(sizes.iter().sum::<usize>(), usize::from(HOSTS));
        assert_eq!(sizes[..6], [12, 3, 12, 5, 1, 7]);
    }

    #[test]
    fn lines_are_json_and_as_long_as_said() {
        let mut size_bytes = 0;
        for event in Events::new(2000, 1) {
            for form in [Event::json, Event::mongod_line] {
                let mut line = String::new();
                form(&event, &mut line);
                serde_json::from_str::<serde_json::Value>(&line).expect("valid JSON");
            }
            let mut line = String::new();
            event.mongod_line(&mut line);
            size_bytes += line.len() - 1;
        }
        assert_eq!(size_bytes.div_ceil(2000), 477);
    }
}
