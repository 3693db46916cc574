//! The report on accounts: who was seen when, who never, who is on no roster, and which programs' accounts
//! people used.

use std::collections::BTreeMap;

use doorbook_event::record::Actor;
use doorbook_event::{Text, Timestamp};
use doorbook_store::filter::{OutcomeKind, PrincipalIs, Rank, SeenValue, TextIs, Wildcard};
use doorbook_store::{Dimension, Filter, Store};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::admin::request::EventsQuery;
use crate::admin::roster::{Account, AccountKind};
use crate::admin::{Admin, Failure, Reply};
use crate::api::native::answers::{Covered, Instant};
use crate::api::native::reviews::covered_by;
use crate::coverage;
use crate::export::push_csv_text;

/// What people use by hand: how these call themselves, as far as a text begins so or holds it.
pub const INTERACTIVE: [&str; 14] = [
    "mongosh*",
    "MongoDB Shell*",
    "MongoDB Compass*",
    "mongodb-vscode*",
    "Studio 3T*",
    "Robo 3T*",
    "robo3t*",
    "Robomongo*",
    "NoSQLBooster*",
    "*DataGrip*",
    "*IntelliJ*",
    "DBeaver*",
    "TablePlus*",
    "Navicat*",
];

/// Names that are told of; more than a person reads.
const NAMES_MAX: usize = 100_000;

/// Applications that are told of an account.
const APPLICATIONS_MAX: usize = 20;

/// A report on accounts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AccountsRequest {
    /// Whose history, and which events of it.
    pub query: EventsQuery,
    /// The accounts that there should be.
    pub roster: Vec<Account>,
    /// Names of interactive applications, `*` standing for anything.
    pub interactive: Vec<String>,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AccountsReport {
    /// When it was made.
    #[schemars(with = "Instant")]
    pub at: Timestamp,
    /// Whose history.
    pub scope: String,
    /// Which events.
    pub filter: String,
    /// The earliest event time that is kept; `null`: all is.
    #[schemars(with = "Option<Instant>")]
    pub kept_from: Option<Timestamp>,
    /// What could be known. Never seen means little where nobody looked.
    pub coverage: Covered,
    /// How many accounts are on the roster.
    pub roster: u64,
    /// Names that were seen and are not told of, because there are too many.
    pub omitted: u64,
    /// Every account: what needs a look first, then by name.
    pub accounts: Vec<AccountRow>,
}

/// An account.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AccountRow {
    /// Its name.
    #[schemars(with = "String")]
    pub name: Text,
    /// What it is for, as the roster says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<AccountKind>,
    /// Who answers for it, as the roster says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub owner: Option<Text>,
    /// Whether the roster has it.
    pub in_roster: bool,
    /// What there is to say.
    pub findings: Vec<Finding>,
    /// When it was first seen, let in or not.
    #[schemars(with = "Option<Instant>")]
    pub first_seen: Option<Timestamp>,
    /// When it was last let in.
    #[schemars(with = "Option<Instant>")]
    pub last_seen: Option<Timestamp>,
    /// When somebody last tried it.
    #[schemars(with = "Option<Instant>")]
    pub last_tried: Option<Timestamp>,
    /// Successes.
    pub success: u64,
    /// Failures.
    pub failure: u64,
    /// Events whose source does not say.
    pub unknown: u64,
    /// Interactive applications it was used from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub interactive: Vec<UsedFrom>,
}

/// An application that an account was used from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct UsedFrom {
    /// What it calls itself.
    #[schemars(with = "String")]
    pub application: Text,
    /// When it last did.
    #[schemars(with = "Instant")]
    pub last: Timestamp,
    /// How often.
    pub count: u64,
}

/// What a reader should look at.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// A program's account was used from an interactive application.
    ServiceUsedByHand,
    /// Somebody was let in under a name that the roster does not have.
    NotInRoster,
    /// Somebody tried a name that the roster does not have, and was never let in.
    TriedNotInRoster,
    /// The roster has it and nobody ever came.
    NeverSeen,
    /// The roster has it and it was never let in.
    NeverLetIn,
}

impl Finding {
    /// In words.
    pub const fn words(self) -> &'static str {
        match self {
            Finding::ServiceUsedByHand => "service account used by hand",
            Finding::NotInRoster => "not in the roster",
            Finding::TriedNotInRoster => "not in the roster, never let in",
            Finding::NeverSeen => "never seen",
            Finding::NeverLetIn => "never let in",
        }
    }
}

impl AccountsReport {
    /// As CSV, with what a spreadsheet would execute made harmless.
    pub fn csv(&self) -> String {
        let mut text =
            "name,kind,owner,in_roster,findings,first_seen,last_seen,last_tried,success,\
                        failure,unknown,interactive\r\n"
                .to_owned();
        for row in &self.accounts {
            let instant = |at: Option<Timestamp>| at.map(|at| at.to_string()).unwrap_or_default();
            let findings: Vec<&str> = row.findings.iter().map(|finding| finding.words()).collect();
            let used = row.interactive.iter().map(|used| used.application.to_string());
            let optional = |text: Option<&str>, line: &mut String| {
                text.iter().for_each(|text| push_csv_text(text, line));
                line.push(',');
            };
            push_csv_text(&row.name, &mut text);
            text.push(',');
            optional(row.kind.map(AccountKind::word), &mut text);
            optional(row.owner.as_deref(), &mut text);
            text.push_str(if row.in_roster { "true," } else { "false," });
            optional(Some(&*findings.join("; ")).filter(|text| !text.is_empty()), &mut text);
            for at in [row.first_seen, row.last_seen, row.last_tried] {
                text.push_str(&instant(at));
                text.push(',');
            }
            text.push_str(&format!("{},{},{},", row.success, row.failure, row.unknown));
            let used = used.collect::<Vec<_>>().join("; ");
            if !used.is_empty() {
                push_csv_text(&used, &mut text);
            }
            text.push_str("\r\n");
        }
        text
    }
}

impl Admin {
    pub(super) fn report_accounts(
        &self,
        by: &Actor,
        request: AccountsRequest,
    ) -> Result<Reply, Failure> {
        let AccountsRequest { query, roster, interactive } = request;
        let filter = self.filter(&query)?;
        let asked = format!("report accounts {}", query.filter);
        self.record_query_of(by, &filter.scope, &asked)?;
        let report = Report { store: &self.store, now: self.clock.now(), interactive };
        let report = report.make(filter, query.filter, roster)?;
        Ok(Reply::Accounts(Box::new(report)))
    }
}

/// What a report is made of, beside filter and roster.
pub(crate) struct Report<'a> {
    /// Where the events are.
    pub store: &'a Store,
    /// The present.
    pub now: Timestamp,
    /// Names of interactive applications, `*` standing for anything.
    pub interactive: Vec<String>,
}

impl Report<'_> {
    /// Makes it, of the events of a filter, which is written as it was asked for.
    pub fn make(
        &self,
        filter: Filter,
        asked: String,
        roster: Vec<Account>,
    ) -> Result<AccountsReport, Failure> {
        let interactive = &self.interactive;
        let applications =
            interactive.iter().map(|text| pattern(text)).collect::<Result<_, _>>()?;
        let all = self.names(&filter)?;
        // All of it is of one state.
        let filter = Filter { as_of: Some(all.as_of), ..filter };
        let let_in = Filter { outcomes: vec![OutcomeKind::Success], ..filter.clone() };
        let is_asked_otherwise = !filter.outcomes.is_empty();
        let let_in = if is_asked_otherwise { filter.clone() } else { let_in };
        let last_seen: BTreeMap<Text, Timestamp> =
            named(self.names(&let_in)?.values).map(|(name, seen)| (name, seen.last)).collect();
        let by_hand = Filter { applications, ..filter.clone() };
        let by_hand = match filter.applications.is_empty() {
            true => named(self.names(&by_hand)?.values).map(|(name, _)| name).collect(),
            false => Vec::new(),
        };
        let mut seen: BTreeMap<Text, SeenValue> = named(all.values).collect();
        let n_named = seen.len() as u64;
        let n_roster = roster.len() as u64;
        let mut accounts = Vec::with_capacity(roster.len() + seen.len());
        for account in roster {
            let seen = seen.remove(&account.name);
            let last = last_seen.get(&account.name).copied();
            let mut row = AccountRow::of(account.name, seen, last);
            (row.kind, row.owner, row.in_roster) = (account.kind, account.owner, true);
            accounts.push(row);
        }
        for (name, seen) in seen {
            let last = last_seen.get(&name).copied();
            accounts.push(AccountRow::of(name, Some(seen), last));
        }
        for row in &mut accounts {
            let is_program = row.kind == Some(AccountKind::Service);
            if is_program && by_hand.contains(&row.name) {
                row.interactive = self.used_from(&filter, &row.name)?;
            }
            row.find();
        }
        let rank =
            |row: &AccountRow| row.findings.first().copied().map_or((1, None), |of| (0, Some(of)));
        accounts.sort_by(|a, b| (rank(a), &a.name).cmp(&(rank(b), &b.name)));
        let known = coverage::of(self.store, &self.store.catalog().registry, &filter, self.now);
        let kept_from = self.store.kept_from(&filter.scope);
        Ok(AccountsReport {
            at: self.now,
            scope: filter.scope.to_string(),
            filter: asked,
            kept_from: (kept_from > Timestamp::MIN).then_some(kept_from),
            coverage: covered_by(&known),
            roster: n_roster,
            omitted: all.distinct.saturating_sub(n_named),
            accounts,
        })
    }

    fn names(&self, filter: &Filter) -> Result<doorbook_store::Seen, Failure> {
        let seen = self.store.seen(filter, &[Dimension::Principal], (Rank::Last, NAMES_MAX))?;
        Ok(seen.into_iter().next().expect("one for each dimension"))
    }

    /// The interactive applications that an account was used from, the latest first.
    fn used_from(&self, filter: &Filter, name: &Text) -> Result<Vec<UsedFrom>, Failure> {
        let applications = self.interactive.iter().map(|text| pattern(text));
        let filter = Filter {
            principals: vec![PrincipalIs::Named(TextIs::Exactly(name.clone()))],
            applications: applications.collect::<Result<_, _>>()?,
            ..filter.clone()
        };
        let order = (Rank::Last, APPLICATIONS_MAX);
        let seen = self.store.seen(&filter, &[Dimension::Application], order)?;
        let values = seen.into_iter().flat_map(|seen| seen.values);
        let used = named(values.collect()).map(|(application, seen)| UsedFrom {
            application,
            last: seen.last,
            count: seen.successes + seen.failures + seen.unknown,
        });
        Ok(used.collect())
    }
}

impl AccountRow {
    fn of(name: Text, seen: Option<SeenValue>, last_seen: Option<Timestamp>) -> AccountRow {
        let count = |of: fn(&SeenValue) -> u64| seen.as_ref().map_or(0, of);
        AccountRow {
            name,
            kind: None,
            owner: None,
            in_roster: false,
            findings: Vec::new(),
            first_seen: seen.as_ref().map(|seen| seen.first),
            last_seen,
            last_tried: seen.as_ref().map(|seen| seen.last),
            success: count(|seen| seen.successes),
            failure: count(|seen| seen.failures),
            unknown: count(|seen| seen.unknown),
            interactive: Vec::new(),
        }
    }

    fn find(&mut self) {
        let was_let_in = self.success > 0 || self.unknown > 0;
        let found = match (self.in_roster, self.last_tried.is_some(), was_let_in) {
            (true, false, _) => Some(Finding::NeverSeen),
            (true, true, false) => Some(Finding::NeverLetIn),
            (true, true, true) => None,
            (false, _, true) => Some(Finding::NotInRoster),
            (false, _, false) => Some(Finding::TriedNotInRoster),
        };
        let by_hand = (!self.interactive.is_empty()).then_some(Finding::ServiceUsedByHand);
        self.findings = by_hand.into_iter().chain(found).collect();
    }
}

/// Values that are names.
fn named(values: Vec<SeenValue>) -> impl Iterator<Item = (Text, SeenValue)> {
    values.into_iter().filter_map(|seen| Some((seen.value.clone()?, seen)))
}

/// As a condition: `*` stands for anything.
pub(crate) fn pattern(text: &str) -> Result<TextIs, Failure> {
    let pieces: Vec<&str> = text.split('*').collect();
    if pieces.iter().all(|piece| piece.is_empty()) {
        return Err(Failure::invalid(format!(
            "{text:?} is the name of no application in particular"
        )));
    }
    Ok(Wildcard::new(&pieces).map_or_else(|| text.into(), TextIs::Like))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use doorbook_event::record::Actor;
    use doorbook_event::registry::{Cluster, Host, Project, RegistryChange};
    use doorbook_event::time::{CountingRandom, ManualClock};
    use doorbook_event::{
        Access, Action, Attributes, Class, Classes, Client, HostName, Outcome, Peer, Principal,
        ProjectId, Record, Scope, Target, WrittenTime,
    };
    use doorbook_store::{Entry, Store};

    use super::*;
    use crate::admin::{Request, roster};
    use crate::test_support::options_in;

    const PROJECT: ProjectId = ProjectId::new([7; 12]);
    const NOW: Timestamp = Timestamp::from_seconds(1_790_000_000);

    fn login(user: &str, seconds: i64, is_success: bool, application: &str) -> Record {
        let client = Client { application: Some(application.into()), ..Client::default() };
        let failure = Outcome::Failure { reason: None, code: None };
        let mut classes = Classes::NONE;
        if user == "__system" {
            classes.insert(Class::System);
        }
        Record::Access(Access {
            target: Target::Host { cluster: "orders".into(), host: "db-1:27017".into() },
            event_time: NOW.plus_seconds(seconds),
            written_time: WrittenTime::Complete,
            action: Action::Authenticate,
            outcome: if is_success { Outcome::Success } else { failure },
            principal: Principal::User { name: user.into(), database: "admin".into() },
            mechanism: None,
            peer: Peer::Unknown,
            peer_joined: false,
            connection: Some(seconds.unsigned_abs()),
            process_start: None,
            client: Some(client.into()),
            speculative: None,
            classes,
            attributes: Attributes::new(),
            raw: Vec::new(),
            task_id: None,
        })
    }

    /// Goal: every account is told of once, with what a reader should look at. Method: an account of each
    /// kind there is; as CSV with a name that a spreadsheet would execute.
    #[test]
    fn who_was_seen_who_not_and_who_should_not_have_been() {
        use Finding::{NeverLetIn, NeverSeen, NotInRoster, ServiceUsedByHand, TriedNotInRoster};
        let dir = tempfile::tempdir().expect("a temporary directory");
        let clock = Arc::new(ManualClock::new(NOW));
        let random: Arc<CountingRandom> = Arc::default();
        let store = Store::open(options_in(dir.path(), &clock, &random)).expect("opens");
        let by = Actor { principal: Principal::Doorbook, peer: Peer::Unknown };
        let (id, created) = (PROJECT, NOW);
        let host = Host {
            project: PROJECT,
            cluster: "orders".into(),
            name: HostName::parse("db-1:27017").expect("valid").0,
            aliases: Vec::new(),
        };
        let changes = vec![
            RegistryChange::ProjectCreated(Project { id, name: "shop".into(), created }),
            RegistryChange::ClusterCreated(Cluster { project: id, name: "orders".into(), created }),
            RegistryChange::HostAdded(host),
        ];
        store.change_registry(&by, changes).expect("is written");
        let records = vec![
            login("alice", -90, true, "mongosh 2.5.8"),
            login("alice", -50, false, "mongosh 2.5.8"),
            login("svc-a", -80, true, "orders"),
            login("svc-a", -70, true, "MongoDB Compass"),
            login("svc-a", -60, true, "our-shell 7"),
            login("svc-b", -40, true, "orders"),
            login("mallory", -30, true, "x"),
            login("=1+1", -20, false, "x"),
            login("carol", -10, false, "x"),
            login("__system", -5, true, "x"),
        ];
        let scope = Scope::Project(PROJECT);
        store.commit(vec![Entry { scope, source: "log".into(), records }]).expect("is written");
        let csv = b"name,kind,owner\nalice,person,\nsvc-a,service,Orders\nsvc-b,service,\n\
                    bob,person,\ncarol,,\n";
        let admin = Admin {
            store,
            clock,
            random,
            base_url: None,
            sources: None,
            receivers: None,
            services: None,
        };
        let interactive = INTERACTIVE.into_iter().chain(["our-shell*"]).map(str::to_owned);
        let request = AccountsRequest {
            query: EventsQuery { filter: "-class:system".into(), ..EventsQuery::default() },
            roster: roster::read("r.csv", csv).expect("is read"),
            interactive: interactive.collect(),
        };
        let reply = admin.execute(&by, Request::Accounts(Box::new(request))).expect("answers");
        let Reply::Accounts(report) = reply else { panic!("{reply:?}") };
        let found: Vec<(&str, &[Finding])> =
            report.accounts.iter().map(|row| (&*row.name, &*row.findings)).collect();
        let expected: [(&str, &[Finding]); 7] = [
            ("svc-a", &[ServiceUsedByHand]),
            ("mallory", &[NotInRoster]),
            ("=1+1", &[TriedNotInRoster]),
            ("bob", &[NeverSeen]),
            ("carol", &[NeverLetIn]),
            ("alice", &[]),
            ("svc-b", &[]),
        ];
        assert_eq!(found, expected);
        let row = |name: &str| {
            report.accounts.iter().find(|row| &*row.name == name).expect("is there").clone()
        };
        let used = row("svc-a").interactive;
        let used: Vec<&str> = used.iter().map(|used| &*used.application).collect();
        assert_eq!(used, ["our-shell 7", "MongoDB Compass"]);
        let alice = row("alice");
        assert_eq!((alice.success, alice.failure), (1, 1));
        assert_eq!(alice.last_seen, Some(NOW.plus_seconds(-90)));
        assert_eq!(alice.last_tried, Some(NOW.plus_seconds(-50)));
        assert!(!report.coverage.is_complete(), "nobody watches");
        let csv = report.csv();
        let line = |begins: &str| csv.lines().find(|line| line.starts_with(begins)).map(str::len);
        assert!(line("'=1+1,,,false,").is_some() && line("=1+1").is_none(), "{csv}");
        assert!(
            csv.contains("\r\nsvc-a,service,Orders,true,service account used by hand,"),
            "{csv}"
        );
    }
}
