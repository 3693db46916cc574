//! Random questions, to be asked of the store and, as SQL, of ClickHouse.

use anyhow::Result;
use doorbook_event::{Action, Class, Classes, Scope, Timestamp};
use doorbook_store::filter::{Dimension, OutcomeKind, PeerIs, PrincipalIs, Targets};
use doorbook_store::{Filter, Store};
use serde_json::{Value, json};

use crate::VISIBLE;
use crate::history::{ADDRESSES, APPLICATIONS, HOSTS, MECHANISMS, NOW, Numbers, PROJECT, USERS};

/// A filter with its conditions as SQL, and what is asked of the rows.
pub struct Question {
    filter: Filter,
    conditions: Vec<String>,
    what: What,
}

#[derive(Clone, Copy)]
enum What {
    /// The newest rows, after their total.
    Newest,
    Top(Dimension),
    /// Counts by outcome in each stretch of this many microseconds.
    Histogram(i64),
}

const TOP: usize = 3;

impl Question {
    pub fn random(numbers: &mut Numbers) -> Question {
        let scope = match numbers.below(8) {
            0 => Scope::System,
            _ => Scope::Project(PROJECT),
        };
        let what = match numbers.below(4) {
            0 => What::Top(numbers.of(&DIMENSIONS).0),
            1 => What::Histogram(numbers.of(&[3_600_000_000, 86_400_000_000])),
            _ => What::Newest,
        };
        let conditions = vec![format!("r.scope = '{scope}'")];
        let mut question = Question { filter: Filter::all(scope, 20), conditions, what };
        for condition in CONDITIONS {
            if numbers.below(5) == 0 {
                condition(&mut question, numbers);
            }
        }
        question
    }

    /// What the store says, as rows of SQL.
    pub fn ask(&self, store: &Store) -> Result<Value> {
        let filter = &self.filter;
        let rows: Vec<Value> = match self.what {
            What::Newest => {
                let page = store.select(filter)?;
                let rows = page.rows.iter().map(|row| json!([page.total, row.seq]));
                rows.collect()
            }
            What::Top(dimension) => {
                let top = store.top(filter, dimension, TOP)?;
                let rows = top.values.iter();
                rows.map(|(value, count)| json!([value, count, top.distinct, top.total])).collect()
            }
            What::Histogram(width_micros) => {
                let histogram = store.histogram(filter, width_micros)?;
                let rows = histogram.bars.iter();
                rows.map(|bar| json!([bar.from.micros(), bar.successes, bar.failures, bar.unknown]))
                    .collect()
            }
        };
        Ok(Value::Array(rows))
    }

    pub fn sql(&self) -> String {
        let rows = format!("{VISIBLE} AND {}", self.conditions.join(" AND "));
        match self.what {
            What::Newest => format!(
                "SELECT count(*) OVER (), r.seq + r.base_seq AS position FROM {rows} \
                 ORDER BY r.event_time DESC, position DESC LIMIT 20"
            ),
            What::Top(dimension) => {
                let column = DIMENSIONS.iter().find(|(of, _)| *of == dimension);
                let column = column.expect("all of them are there").1;
                format!(
                    "SELECT {column} AS value, count(*) AS n, \
                     count({column}) OVER () AS distinct_values, sum(count(*)) OVER () \
                     FROM {rows} GROUP BY {column} ORDER BY n DESC, value NULLS FIRST LIMIT {TOP}"
                )
            }
            What::Histogram(width) => format!(
                "SELECT intDiv(toUnixTimestamp64Micro(r.event_time), {width}) * {width} AS bar, \
                 countIf(r.outcome = 'success'), countIf(r.outcome = 'failure'), \
                 countIf(r.outcome = 'unknown') FROM {rows} GROUP BY bar ORDER BY bar"
            ),
        }
    }
}

const DIMENSIONS: [(Dimension, &str); 9] = [
    (Dimension::Cluster, "r.cluster"),
    (Dimension::Host, "r.host"),
    (Dimension::Action, "r.action"),
    (Dimension::Outcome, "r.outcome"),
    (Dimension::Principal, "r.principal"),
    (Dimension::Address, "r.address"),
    (Dimension::Mechanism, "r.mechanism"),
    (Dimension::Application, "r.application"),
    (Dimension::Source, "r.source"),
];

/// Adds a condition to the filter and to the SQL.
type Condition = fn(&mut Question, &mut Numbers);

const CONDITIONS: [Condition; 11] =
    [targets, times, action, outcome, principal, peer, mechanism, application, with, without, raw];

fn targets(question: &mut Question, numbers: &mut Numbers) {
    let (cluster, host) = numbers.of(&HOSTS);
    let (targets, condition) = match numbers.below(2) {
        0 => (Targets::Group(cluster.into()), format!("r.cluster = '{cluster}'")),
        _ => (
            Targets::Members(vec![(cluster.into(), host.into())]),
            format!("r.cluster = '{cluster}' AND r.host = '{host}'"),
        ),
    };
    question.filter.targets = targets;
    question.conditions.push(condition);
}

fn times(question: &mut Question, numbers: &mut Numbers) {
    let from = NOW.plus_seconds(numbers.below(4 * 86_400).cast_signed());
    let to = from.plus_seconds(numbers.below(3 * 86_400).cast_signed());
    (question.filter.from, question.filter.to) = (from, to);
    let micros = Timestamp::micros;
    question.conditions.push(format!(
        "toUnixTimestamp64Micro(r.event_time) BETWEEN {} AND {}",
        micros(from),
        micros(to)
    ));
}

fn action(question: &mut Question, numbers: &mut Numbers) {
    let action = numbers.of(&[Action::Authenticate, Action::Authorize, Action::Import]);
    question.filter.actions = vec![action];
    question.conditions.push(format!("r.action = '{}'", action.word()));
}

fn outcome(question: &mut Question, numbers: &mut Numbers) {
    let kinds = [OutcomeKind::Success, OutcomeKind::Failure, OutcomeKind::Unknown];
    let kinds = [numbers.of(&kinds), numbers.of(&kinds)];
    question.filter.outcomes = kinds.to_vec();
    question.conditions.push(format!("r.outcome IN {}", list(kinds.map(OutcomeKind::word))));
}

fn principal(question: &mut Question, numbers: &mut Numbers) {
    let user = numbers.of(&USERS);
    let name = quoted(user);
    let (is, condition) = match numbers.below(4) {
        0 => (PrincipalIs::Unauthenticated, "r.principal_kind = 'unauthenticated'".to_owned()),
        1 => (PrincipalIs::Named(user.into()), format!("r.principal = {name}")),
        2 => (
            PrincipalIs::User(user.into()),
            format!("r.principal_kind = 'user' AND r.principal = {name}"),
        ),
        _ => (
            PrincipalIs::UserOf { name: user.into(), database: "admin".into() },
            format!(
                "r.principal_kind = 'user' AND r.principal = {name} \
                 AND r.principal_database = 'admin'"
            ),
        ),
    };
    question.filter.principals = vec![is];
    question.conditions.push(condition);
}

fn peer(question: &mut Question, numbers: &mut Numbers) {
    let address = numbers.of(&ADDRESSES);
    let (is, condition) = match numbers.below(3) {
        0 => (PeerIs::UnixSocket, "r.address = 'unix'".to_owned()),
        1 => (
            PeerIs::exactly(address.parse().expect("an address")),
            format!("r.address = '{address}'"),
        ),
        _ => (
            PeerIs::Network("10.0.0.0/16".parse().expect("a network")),
            "r.address LIKE '10.0.%'".to_owned(),
        ),
    };
    question.filter.peers = vec![is];
    question.conditions.push(condition);
}

fn mechanism(question: &mut Question, numbers: &mut Numbers) {
    let mechanism = numbers.of(&MECHANISMS);
    question.filter.mechanisms = vec![mechanism.into()];
    question.conditions.push(format!("r.mechanism = '{mechanism}'"));
}

fn application(question: &mut Question, numbers: &mut Numbers) {
    let application = numbers.of(&APPLICATIONS);
    question.filter.applications = vec![application.into()];
    question.conditions.push(format!("r.application = '{application}'"));
}

fn with(question: &mut Question, numbers: &mut Numbers) {
    let classes = some_classes(numbers);
    question.filter.with = classes;
    question.conditions.push(format!("bitAnd(r.classes, {}) != 0", classes.bits()));
}

fn without(question: &mut Question, numbers: &mut Numbers) {
    let classes = some_classes(numbers);
    question.filter.unwanted.classes = classes;
    question.conditions.push(format!("bitAnd(r.classes, {}) = 0", classes.bits()));
}

fn raw(question: &mut Question, numbers: &mut Numbers) {
    let text = numbers.of(&["ann", "line 30", "bob"]);
    question.filter.raw_contains = vec![text.into()];
    question.conditions.push(format!("position(r.raw, '{text}') > 0"));
}

fn some_classes(numbers: &mut Numbers) -> Classes {
    let classes = [Class::Monitor, Class::Retry, Class::Suspect];
    Classes::NONE.with(numbers.of(&classes)).with(numbers.of(&classes))
}

fn list(words: [&str; 2]) -> String {
    format!("('{}', '{}')", words[0], words[1])
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}
