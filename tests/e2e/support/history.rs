//! The access history as the Atlas API answers it, and its comparison with what was attempted.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::mongod::Attempt;

/// An answer of `dbAccessHistory`.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Answer {
    pub access_logs: Vec<Row>,
}

/// One row of it.
#[derive(Clone, Debug, Deserialize, PartialEq, PartialOrd)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Row {
    pub auth_result: bool,
    pub auth_source: Option<String>,
    pub cluster_name: Option<String>,
    pub failure_reason: Option<String>,
    pub group_id: String,
    pub hostname: String,
    pub ip_address: Option<String>,
    pub log_line: String,
    pub timestamp: String,
    pub username: Option<String>,
}

/// Paths of the questions that each client asks: everything, one direction, one host.
pub struct Questions {
    pub everything: String,
    pub successes: String,
    pub failures: String,
    pub one_host: String,
    pub newest_three: String,
}

impl Questions {
    /// About a cluster and its only host.
    pub fn new(group: &str, cluster: &str, host: &str) -> Questions {
        let history = format!("/api/atlas/v2/groups/{group}/dbAccessHistory");
        let cluster = format!("{history}/clusters/{cluster}");
        Questions {
            successes: format!("{cluster}?authResult=true"),
            failures: format!("{cluster}?authResult=false"),
            newest_three: format!("{cluster}?nLogs=3"),
            one_host: format!("{history}/processes/{host}"),
            everything: cluster,
        }
    }

    /// All of them, in the order that [`Answers`] reads.
    pub fn paths(&self) -> Vec<&str> {
        let all =
            [&self.everything, &self.successes, &self.failures, &self.one_host, &self.newest_three];
        all.into_iter().map(String::as_str).collect()
    }
}

/// The answers to [`Questions::paths`].
#[derive(Clone, Debug, PartialEq)]
pub struct Answers {
    pub everything: Vec<Row>,
}

impl Answers {
    /// Takes the answers and holds them against each other: the parts must make up the whole.
    pub fn check(answers: Vec<Answer>) -> Result<Answers> {
        let rows: Vec<_> = answers.into_iter().map(|answer| answer.access_logs).collect();
        let [everything, successes, failures, one_host, newest_three]: [Vec<Row>; 5] =
            rows.try_into().ok().context("one answer for each question")?;
        let of = |result: bool| -> Vec<_> {
            everything.iter().filter(|row| row.auth_result == result).cloned().collect()
        };
        ensure!(successes == of(true), "authResult=true is not the successes of the whole");
        ensure!(failures == of(false), "authResult=false is not the failures of the whole");
        ensure!(one_host == everything, "the only host's history is not the cluster's");
        ensure!(newest_three == everything[..3], "nLogs=3 is not the newest three");
        Ok(Answers { everything })
    }
}

/// Compares rows with attempts: each row belongs to exactly one attempt, each attempt has all its
/// rows, and they say of it what was done. Neither a lost login nor an invented one passes.
pub fn compare(rows: &[Row], attempts: &[Attempt]) -> Result<()> {
    let mut rows_of = by_attempt(rows, attempts)?;
    for (index, attempt) in attempts.iter().enumerate() {
        let rows = rows_of.remove(&index).unwrap_or_default();
        let successes = rows.iter().filter(|row| row.auth_result).count();
        ensure!(
            successes == usize::from(attempt.ok) && rows.len() == attempt.rows(),
            "{attempt:#?} has the rows {rows:#?}"
        );
    }
    Ok(())
}

/// The same where rows may be missing: which attempts do not have all of theirs. None is invented or doubled.
pub fn incomplete(rows: &[Row], attempts: &[Attempt]) -> Result<Vec<usize>> {
    let rows_of = by_attempt(rows, attempts)?;
    let mut incomplete = Vec::new();
    for (index, attempt) in attempts.iter().enumerate() {
        let n_rows = rows_of.get(&index).map_or(0, Vec::len);
        ensure!(n_rows <= attempt.rows(), "{attempt:#?} has {n_rows} rows");
        if n_rows < attempt.rows() {
            incomplete.push(index);
        }
    }
    Ok(incomplete)
}

/// The rows of each attempt, which agree with it.
fn by_attempt<'a>(rows: &'a [Row], attempts: &[Attempt]) -> Result<BTreeMap<usize, Vec<&'a Row>>> {
    let mut rows_of: BTreeMap<usize, Vec<&Row>> = BTreeMap::new();
    for row in rows {
        let (index, attempt) = attempt_of(row, attempts)
            .with_context(|| format!("nobody made the attempt of this row: {row:#?}"))?;
        agree(row, attempt).with_context(|| format!("{row:#?}\n{attempt:#?}"))?;
        rows_of.entry(index).or_default().push(row);
    }
    Ok(rows_of)
}

/// The attempt that used the client port which the log line names, at that time, because a port is
/// given out again; where the line names none (a restricted user), the attempt of that user.
fn attempt_of<'a>(row: &Row, attempts: &'a [Attempt]) -> Option<(usize, &'a Attempt)> {
    let mut candidates = attempts.iter().enumerate();
    match port_in(&row.log_line) {
        Some(port) => candidates.find(|(_, attempt)| {
            attempt.ports.contains(&port)
                && seconds(row).is_none_or(|time| happened_during(time, attempt))
        }),
        None => {
            let time = seconds(row)?;
            candidates.find(|(_, attempt)| {
                attempt.restricted > 0
                    && row.username.as_deref() == Some(&attempt.user)
                    && happened_during(time, attempt)
            })
        }
    }
}

fn agree(row: &Row, attempt: &Attempt) -> Result<()> {
    ensure!(row.username.as_deref() == Some(&attempt.user), "another user");
    ensure!(row.auth_source.as_deref() == Some(&attempt.db), "another database");
    ensure!(row.ip_address.as_deref() == Some("127.0.0.1"), "another address");
    ensure!(row.failure_reason.is_some() != row.auth_result, "a reason for a success, or none");
    ensure!(row.cluster_name.is_none(), "only v1.0 has clusterName");
    if let Some(time) = seconds(row) {
        ensure!(happened_during(time, attempt), "another time: {time}");
    }
    Ok(())
}

/// mongod cuts its times to milliseconds.
fn happened_during(time: f64, attempt: &Attempt) -> bool {
    attempt.from - 0.001 <= time && time <= attempt.to
}

/// The last `127.0.0.1:PORT` of a line. Last, because a text line has the user's name before it.
fn port_in(line: &str) -> Option<u16> {
    const ADDRESS: &str = "127.0.0.1:";
    let after = &line[line.rfind(ADDRESS)? + ADDRESS.len()..];
    let digits = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
    after[..digits].parse().ok()
}

/// When the line was written, where it is JSON: seconds since 1970, from `{"t":{"$date":...}}`.
fn seconds(row: &Row) -> Option<f64> {
    let line: serde_json::Value = serde_json::from_str(&row.log_line).ok()?;
    // The tests run their mongod in UTC.
    seconds_since_1970(line["t"]["$date"].as_str()?)
}

/// Of a time such as `2026-11-23T05:22:54.180+00:00` or `2026-11-23T05:22:54.18Z`.
pub fn seconds_since_1970(written: &str) -> Option<f64> {
    let utc = written.strip_suffix("+00:00").or(written.strip_suffix('Z'))?;
    let (date, time) = utc.split_once('T')?;
    let mut date = date.splitn(3, '-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let mut time = time.splitn(3, ':').map(|part| part.parse::<f64>().ok());
    let (hour, minute, second) = (time.next()??, time.next()??, time.next()??);
    let days = days_since_1970(year, month, day) as f64;
    Some(((days * 24.0 + hour) * 60.0 + minute) * 60.0 + second)
}

/// The proleptic Gregorian calendar in whole years of 365.2425 days, counted from March so that the
/// leap day comes last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719_468
}

/// Goal: the comparison that the other tests rest on does fail. Method: a history that agrees, then
/// one thing wrong at a time.
#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(user: &str, failures: usize, port: u16) -> Attempt {
        Attempt {
            name: "test".to_string(),
            user: user.to_string(),
            db: "admin".to_string(),
            ok: failures == 0,
            failures,
            restricted: 0,
            address: None,
            hidden: false,
            application: None,
            ports: vec![port, port + 1],
            from: 1_795_411_374.0,
            to: 1_795_411_375.0,
        }
    }

    fn row(user: &str, ok: bool, port: u16) -> Row {
        Row {
            auth_result: ok,
            auth_source: Some("admin".to_string()),
            cluster_name: None,
            failure_reason: (!ok).then(|| "UserNotFound".to_string()),
            group_id: "0".repeat(24),
            hostname: "db-1".to_string(),
            ip_address: Some("127.0.0.1".to_string()),
            log_line: format!(
                r#"{{"t":{{"$date":"2026-11-23T05:22:54.180+00:00"}},"attr":{{"remote":"127.0.0.1:{port}"}}}}"#
            ),
            timestamp: "Mon Nov 23 05:22:54 GMT 2026".to_string(),
            username: Some(user.to_string()),
        }
    }

    #[test]
    fn a_comparison_fails_on_each_thing_that_is_wrong() {
        let attempts = [attempt("ann", 0, 1000), attempt("nobody", 2, 2000)];
        let rows =
            vec![row("nobody", false, 2001), row("nobody", false, 2001), row("ann", true, 1001)];
        compare(&rows, &attempts).expect("these agree");

        let wrong = |what: &str, change: fn(&mut Vec<Row>)| {
            let mut rows = rows.clone();
            change(&mut rows);
            assert!(compare(&rows, &attempts).is_err(), "{what} passed");
        };
        wrong("a lost login", |rows| drop(rows.pop()));
        wrong("a lost line of a pair", |rows| drop(rows.remove(0)));
        wrong("a doubled login", |rows| rows.push(rows[2].clone()));
        wrong("an invented login", |rows| rows.push(row("ann", true, 3000)));
        wrong("another user", |rows| rows[2].username = Some("bob".to_string()));
        wrong("another database", |rows| rows[2].auth_source = Some("orders".to_string()));
        wrong("another address", |rows| rows[2].ip_address = Some("127.0.0.2".to_string()));
        wrong("a failure turned success", |rows| {
            rows[0].auth_result = true;
            rows[0].failure_reason = None;
        });
        wrong("a reason for a success", |rows| rows[2].failure_reason = Some("why".to_string()));
        wrong("another time", |rows| rows[2].log_line = rows[2].log_line.replace("05:22", "05:32"));
    }

    #[test]
    fn the_parts_of_an_answer_must_make_up_the_whole() {
        let everything =
            vec![row("nobody", false, 2001), row("nobody", false, 2001), row("ann", true, 1001)];
        let answer = |rows: &[Row]| Answer { access_logs: rows.to_vec() };
        let answers = vec![
            answer(&everything),
            answer(&everything[2..]),
            answer(&everything[..2]),
            answer(&everything),
            answer(&everything),
        ];
        Answers::check(answers.clone()).expect("these agree");
        for part in 1..answers.len() {
            let mut answers = answers.clone();
            answers[part].access_logs.pop();
            assert!(Answers::check(answers).is_err(), "part {part} may be anything");
        }
    }
}
