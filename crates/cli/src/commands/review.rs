//! `doorbook review`.

use std::collections::BTreeMap;

use clap::Subcommand;
use doorbook_event::review::{Decision, MarkKind};
use doorbook_server::admin::request::EventsQuery;
use doorbook_server::admin::reviews::ReviewRequest;
use doorbook_server::admin::rows::EventRow;
use doorbook_server::admin::{Failure, Reply, Request};
use doorbook_server::api::native::answers::{
    ChangedReview, CheckedRound, Closing, Covered, Done, Mark, Marking, NewReview, Review, Reviews,
    Round, SignOff, Signing,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::history::{History, Operation, named, scope};
use super::{DataDir, out_of_turn};
use crate::output;
use crate::remote::{Remote, ServerArgs};

#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Subcommand)]
enum Command {
    /// Have the events of a filter looked through daily or weekly
    Create {
        /// Its name: lower-case letters, digits and -_.
        name: String,
        /// Which events: result:failed -class:system; all without it. It takes no times
        #[arg(long, value_name = "FILTER", default_value = "", allow_hyphen_values = true)]
        filter: String,
        /// The project, by id or name [default: the only one there is]
        #[arg(long, value_name = "P", conflicts_with = "namespace")]
        project: Option<String>,
        /// The namespace whose arrays' history it is
        #[arg(long, value_name = "NS")]
        namespace: Option<String>,
        /// By when somebody is to have signed: 10:00 for every day, "monday 10:00" for every week
        #[arg(long, value_name = "WHEN")]
        due: String,
        /// The zone of that: a name such as Europe/Berlin, or an offset
        #[arg(long, value_name = "ZONE", default_value = "UTC")]
        zone: String,
        /// Begin with all that is in the history, and not with what comes from now on
        #[arg(long)]
        all: bool,
        /// Print the review as JSON
        #[arg(long)]
        json: bool,
    },
    /// Describe a review anew, from its next round on
    Change {
        /// Its name
        name: String,
        /// Which events
        #[arg(long, value_name = "FILTER", allow_hyphen_values = true)]
        filter: Option<String>,
        /// By when somebody is to have signed
        #[arg(long, value_name = "WHEN")]
        due: Option<String>,
        /// The zone of that
        #[arg(long, value_name = "ZONE")]
        zone: Option<String>,
        /// Print the review as JSON
        #[arg(long)]
        json: bool,
    },
    /// Have it looked through no longer; what was signed stays in the history
    Remove {
        /// Its name
        name: String,
    },
    /// List reviews, and which are overdue
    List {
        /// Only of this project
        #[arg(long, value_name = "P", conflicts_with = "namespace")]
        project: Option<String>,
        /// Only of this namespace
        #[arg(long, value_name = "NS")]
        namespace: Option<String>,
        /// Print one JSON array, of what GET /api/v1/reviews answers
        #[arg(long)]
        json: bool,
    },
    /// Show what is new since the last sign-off, and what was signed
    Show {
        /// Its name
        name: String,
        /// At most this many rows, the newest; 0 for all
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: u64,
        /// Print one JSON object, as GET /api/v1/reviews/NAME answers it
        #[arg(long)]
        json: bool,
    },
    /// Say of rows what they are
    #[command(group = clap::ArgGroup::new("kind").required(true))]
    Mark {
        /// Its name
        name: String,
        /// The rows, as `review show` calls them
        #[arg(required = true)]
        row: Vec<String>,
        /// They are as they should be
        #[arg(long, group = "kind")]
        expected: bool,
        /// Somebody has to look further
        #[arg(long, group = "kind", requires = "note")]
        follow_up: bool,
        /// What else there is to say
        #[arg(long, value_name = "TEXT")]
        note: Option<String>,
    },
    /// Say what came of rows that were to be followed up
    Close {
        /// Its name
        name: String,
        /// The rows
        #[arg(required = true)]
        row: Vec<String>,
        /// What came of it
        #[arg(long, value_name = "TEXT")]
        note: String,
    },
    /// Sign the round that was looked at
    Sign {
        /// Its name
        name: String,
        /// The round, as `review show` calls it
        #[arg(long, value_name = "TOKEN")]
        round: String,
        /// accepted: nothing is left to look at; follow_up: the rows that are marked so
        #[arg(long, value_parser = ["accepted", "follow_up"])]
        decision: String,
        /// What else there is to say
        #[arg(long, value_name = "TEXT")]
        note: Option<String>,
        /// Print the sign-off as JSON
        #[arg(long)]
        json: bool,
    },
    /// Read again what was signed, and compare
    Check {
        /// Its name
        name: String,
        /// Which round
        round: u64,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
}

/// Rows of a request; the command asks again for more.
const ROWS_MAX: u64 = 1000;

const LIST: Operation = Operation("listReviews", "reviews");
const SHOW: Operation = Operation("getReview", "reviews/{name}");
const CHECK: Operation = Operation("checkReview", "reviews/{name}/check");
const CREATE: Change = ("POST", "reviews");
const CHANGE: Change = ("PATCH", "reviews/{name}");
const REMOVE: Change = ("DELETE", "reviews/{name}");
const MARK: Change = ("POST", "reviews/{name}/marks");
const CLOSE: Change = ("POST", "reviews/{name}/closings");
const SIGN: Change = ("POST", "reviews/{name}/sign-offs");

/// What changes something: the method and the path of our own API.
type Change = (&'static str, &'static str);

pub fn run(data_dir: &DataDir, args: Args) -> anyhow::Result<()> {
    let Args { command, server } = args;
    let here = |request| data_dir.execute(Request::Review(request));
    match command {
        Command::Create { name, filter, project, namespace, due, zone, all: from_start, json } => {
            let review = match server.remote()? {
                Some(remote) => {
                    let of = EventsQuery { project, namespace, ..EventsQuery::default() };
                    let whose: Vec<_> = scope(&of).collect();
                    let new = NewReview { name, filter, due, zone: Some(zone), all: from_start };
                    remote.send(CREATE, &whose, body(&new)?)?
                }
                None => review(here(ReviewRequest::Create {
                    name,
                    project,
                    namespace,
                    filter,
                    zone,
                    due,
                    from_start,
                })?)?,
            };
            described(&review, json)
        }
        Command::Change { name, filter, due, zone, json } => {
            let review = match server.remote()? {
                Some(remote) => send(&remote, CHANGE, &name, &ChangedReview { filter, due, zone })?,
                None => review(here(ReviewRequest::Change { name, filter, zone, due })?)?,
            };
            described(&review, json)
        }
        Command::Remove { name } => {
            match server.remote()? {
                Some(remote) => {
                    let _: Done = send(&remote, REMOVE, &name, &())?;
                }
                None => done(here(ReviewRequest::Remove { name: name.clone() })?)?,
            }
            output::line(&format!("{name} is reviewed no longer"))
        }
        Command::List { project, namespace, json } => {
            let reviews = reviews(data_dir, &server, project, namespace)?;
            match json {
                true => output::json(&reviews),
                false => list(&reviews),
            }
        }
        Command::Show { name, limit, json } => {
            let round = round(data_dir, &server, &name, limit)?;
            match json {
                true => output::json(&round),
                false => print(round),
            }
        }
        Command::Mark { name, row: rows, expected, note, .. } => {
            let kind = if expected { MarkKind::Expected } else { MarkKind::FollowUp };
            let count = output::count(rows.len() as u64, "row", "rows");
            match server.remote()? {
                Some(remote) => {
                    let _: Done = send(&remote, MARK, &name, &Marking { rows, kind, note })?;
                }
                None => done(here(ReviewRequest::Mark { name, rows, kind, note })?)?,
            }
            output::line(&format!("{count} marked {}", kind.word()))
        }
        Command::Close { name, row: rows, note } => {
            let count = output::count(rows.len() as u64, "row", "rows");
            match server.remote()? {
                Some(remote) => {
                    let _: Done = send(&remote, CLOSE, &name, &Closing { rows, note })?;
                }
                None => done(here(ReviewRequest::Close { name, rows, note })?)?,
            }
            output::line(&format!("{count} closed"))
        }
        Command::Sign { name, round, decision, note, json } => {
            let decision = Decision::from_word(&decision).expect("clap knows the words");
            let sign = match server.remote()? {
                Some(remote) => send(&remote, SIGN, &name, &Signing { round, decision, note })?,
                None => {
                    let name = name.clone();
                    match here(ReviewRequest::Sign { name, round, decision, note })? {
                        Reply::SignedOff(sign) => *sign,
                        other => return Err(out_of_turn(&other)),
                    }
                }
            };
            signed(&name, &sign, json)
        }
        Command::Check { name, round, json } => {
            let mut history = History::open(data_dir, &server, &EventsQuery::default())?;
            let parameters = [("round", round.to_string())];
            let checked: CheckedRound = history.ask(CHECK, Some(&name), &parameters)?;
            history.close()?;
            tell(&checked, json)
        }
    }
}

/// What is done over the network.
fn send<T: DeserializeOwned>(
    remote: &Remote,
    (method, path): Change,
    name: &str,
    what: &impl Serialize,
) -> anyhow::Result<T> {
    remote.send((method, &named(path, Some(name))), &[], body(what)?)
}

fn body(what: &impl Serialize) -> anyhow::Result<(&'static str, Vec<u8>)> {
    Ok(("application/json", serde_json::to_vec(what)?))
}

fn done(reply: Reply) -> anyhow::Result<()> {
    match reply {
        Reply::Done => Ok(()),
        other => Err(out_of_turn(&other)),
    }
}

/// All reviews, over a network those of the key's own project; or those of a project or a namespace.
fn reviews(
    data_dir: &DataDir,
    server: &ServerArgs,
    project: Option<String>,
    namespace: Option<String>,
) -> anyhow::Result<Vec<Review>> {
    let system = !server.is_named() && project.is_none() && namespace.is_none();
    let of = EventsQuery { project, namespace, system, ..EventsQuery::default() };
    let mut history = History::open(data_dir, server, &of)?;
    let answer: Reviews = history.ask(LIST, None, &[])?;
    history.close()?;
    Ok(answer.reviews)
}

/// The open round, with at most so many rows; 0 for all.
fn round(data_dir: &DataDir, server: &ServerArgs, name: &str, limit: u64) -> anyhow::Result<Round> {
    let mut history = History::open(data_dir, server, &EventsQuery::default())?;
    let mut left = if limit == 0 { u64::MAX } else { limit };
    let page = |left: u64| ("limit", left.min(ROWS_MAX).to_string());
    let mut round: Round = history.ask(SHOW, Some(name), &[page(left)])?;
    left = left.saturating_sub(round.events.len() as u64);
    while let Some(cursor) = round.cursor.take().filter(|_| left > 0) {
        let next: Round = history.ask(SHOW, Some(name), &[("cursor", cursor), page(left)])?;
        left = left.saturating_sub(next.events.len() as u64);
        round.events.extend(next.events);
        round.marks.extend(next.marks);
        round.cursor = next.cursor;
    }
    history.close()?;
    Ok(round)
}

fn signed(name: &str, sign: &SignOff, json: bool) -> anyhow::Result<()> {
    match json {
        true => output::json(sign),
        false => output::line(&format!(
            "signed round {} of {name}: {}, {}; manifest SHA-256 {}",
            sign.round,
            output::count(sign.count, "row", "rows"),
            sign.decision.word(),
            sign.manifest_sha256
        )),
    }
}

fn tell(checked: &CheckedRound, json: bool) -> anyhow::Result<()> {
    if json {
        output::json(checked)?;
    }
    let rows = output::count(checked.sign_off.count, "row", "rows");
    match checked.same {
        true if json => Ok(()),
        true => output::line(&format!("{rows}, as they were signed")),
        false => Err(Failure::failed(format!(
            "these are not the rows that were signed: {} of {rows} are there, with SHA-256 {}",
            checked.count, checked.rows_sha256
        ))
        .into()),
    }
}

fn review(reply: Reply) -> anyhow::Result<Review> {
    match reply {
        Reply::Review(review) => Ok(*review),
        other => Err(out_of_turn(&other)),
    }
}

fn described(review: &Review, json: bool) -> anyhow::Result<()> {
    if json {
        return output::json(review);
    }
    output::line(&format!(
        "review {} of {}, {} by {} {}; the open round is due at {}",
        review.name,
        whose(review),
        review.rhythm,
        review.due,
        review.zone,
        review.due_at
    ))?;
    review.notes.iter().for_each(|note| eprintln!("{}", output::safe(note)));
    Ok(())
}

fn whose(review: &Review) -> &str {
    review.project.as_deref().or(review.namespace.as_deref()).unwrap_or_default()
}

fn list(reviews: &[Review]) -> anyhow::Result<()> {
    let row = |review: &Review| {
        let last = review.last.as_ref();
        vec![
            review.name.to_string(),
            whose(review).to_owned(),
            format!("{} {} {}", review.rhythm, review.due, review.zone),
            review.round.to_string(),
            review.due_at.to_string(),
            if review.overdue { "overdue" } else { "open" }.to_owned(),
            review.follow_ups.to_string(),
            last.map(|last| format!("{} by {}", last.at, last.by)).unwrap_or_default(),
            review.filter.to_string(),
        ]
    };
    let headings =
        ["REVIEW", "OF", "EVERY", "ROUND", "DUE", "STATE", "FOLLOW-UPS", "SIGNED", "FILTER"];
    output::table(&headings, &reviews.iter().map(row).collect::<Vec<_>>())?;
    for review in reviews {
        for note in &review.notes {
            eprintln!("{}: {}", output::safe(&review.name), output::safe(note));
        }
    }
    Ok(())
}

fn print(round: Round) -> anyhow::Result<()> {
    let review = &round.review;
    let state = if review.overdue { "overdue since" } else { "due at" };
    output::line(&format!("round {} of {}, {state} {}", review.round, review.name, review.due_at))?;
    let from = round.from.map_or("ever".to_owned(), |from| from.to_string());
    output::line(&format!("recorded from {from} to {}, {}", round.to, known(&round.coverage)))?;
    if let Some(before) = round.lost_before {
        output::line(&format!("events before {before} are not kept: some may have gone unseen"))?;
    }
    let marks: BTreeMap<&str, &Mark> = round.marks.iter().map(|mark| (&*mark.id, mark)).collect();
    let n_shown = round.events.len();
    let row = |answer: doorbook_server::api::native::answers::Row| {
        let id = answer.id.clone();
        let event = EventRow::from_answer(answer)?;
        let mark = marks.get(&*id);
        let note = mark.and_then(|mark| mark.note.as_deref()).unwrap_or_default();
        Some(vec![
            id.clone(),
            event.event_time.to_string(),
            event.target.short(),
            event.action.clone(),
            event.outcome.clone(),
            event.user.as_deref().unwrap_or(&event.principal).to_owned(),
            event.address.map_or_else(|| event.peer.clone(), |address| address.to_string()),
            mark.map_or("", |mark| mark.kind.word()).to_owned(),
            note.to_owned(),
        ])
    };
    let headings = ["ROW", "TIME", "TARGET", "ACTION", "OUTCOME", "USER", "FROM", "MARK", "NOTE"];
    let rows: Vec<_> = round.events.into_iter().filter_map(row).collect();
    if !rows.is_empty() {
        output::heading("New:")?;
        output::table(&headings, &rows)?;
    }
    let follow_ups = round.follow_ups.unwrap_or_default();
    if !follow_ups.is_empty() {
        output::heading("To be followed up:")?;
        let row = |mark: &Mark| {
            let note = mark.note.as_deref().unwrap_or_default();
            vec![mark.id.clone(), mark.round.to_string(), mark.by.clone(), note.to_owned()]
        };
        let rows: Vec<_> = follow_ups.iter().map(row).collect();
        output::table(&["ROW", "ROUND", "BY", "NOTE"], &rows)?;
    }
    let sign_offs = round.sign_offs.unwrap_or_default();
    if !sign_offs.is_empty() {
        output::heading("Signed:")?;
        let row = |sign: &SignOff| {
            vec![
                sign.round.to_string(),
                sign.at.to_string(),
                sign.by.clone(),
                sign.count.to_string(),
                sign.decision.word().to_owned(),
                known(&sign.coverage),
                sign.manifest_sha256.clone(),
                sign.filter.to_string(),
            ]
        };
        let headings =
            ["ROUND", "SIGNED", "BY", "ROWS", "DECISION", "COVERAGE", "MANIFEST SHA-256", "FILTER"];
        let rows: Vec<_> = sign_offs.iter().map(row).collect();
        output::table(&headings, &rows)?;
    }
    eprintln!("{n_shown} of {} new rows shown.", round.total);
    eprintln!(
        "To sign: doorbook review sign {} --decision accepted --round {}",
        review.name, round.token
    );
    Ok(())
}

/// What could be known, in few words.
fn known(coverage: &Covered) -> String {
    let gaps = match coverage.gaps {
        0 => String::new(),
        n => format!(" ({})", output::count(n, "gap", "gaps")),
    };
    match coverage.through {
        Some(through) => format!("{}{gaps}, known to {through}", coverage.state),
        None => format!("{}{gaps}", coverage.state),
    }
}
