//! `doorbook review`.

use clap::Subcommand;
use doorbook_event::review::{Decision, MarkKind};
use doorbook_server::admin::reviews::{
    CoveredView, ReviewRequest, ReviewView, RoundRow, RoundView, SignOffView,
};
use doorbook_server::admin::{Failure, Reply, Request};

use super::{DataDir, out_of_turn};
use crate::output;

#[derive(Subcommand)]
pub enum Command {
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
        #[arg(long, value_name = "P")]
        project: Option<String>,
        /// Print one JSON array
        #[arg(long)]
        json: bool,
    },
    /// Show what is new since the last sign-off, and what was signed
    Show {
        /// Its name
        name: String,
        /// At most this many rows, the newest; 0 for all
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: usize,
        /// Print one JSON object
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

pub fn run(data_dir: &DataDir, command: Command) -> anyhow::Result<()> {
    let ask = |request| data_dir.execute(Request::Review(request));
    let reviews = |request| match ask(request)? {
        Reply::Reviews(reviews) => Ok(reviews),
        other => Err(out_of_turn(&other)),
    };
    let done = |request, said: String| match ask(request)? {
        Reply::Done => output::line(&said),
        other => Err(out_of_turn(&other)),
    };
    match command {
        Command::Create { name, filter, project, namespace, due, zone, all: from_start, json } => {
            let request =
                ReviewRequest::Create { name, project, namespace, filter, zone, due, from_start };
            one(&reviews(request)?, json)
        }
        Command::Change { name, filter, due, zone, json } => {
            one(&reviews(ReviewRequest::Change { name, filter, zone, due })?, json)
        }
        Command::Remove { name } => {
            let said = format!("{name} is reviewed no longer");
            done(ReviewRequest::Remove { name }, said)
        }
        Command::List { project, json } => {
            let reviews = reviews(ReviewRequest::List { project })?;
            match json {
                true => output::json(&reviews),
                false => list(&reviews),
            }
        }
        Command::Show { name, limit, json } => show(data_dir, &name, limit, json),
        Command::Mark { name, row: rows, expected, note, .. } => {
            let kind = if expected { MarkKind::Expected } else { MarkKind::FollowUp };
            let said = format!(
                "{} marked {}",
                output::count(rows.len() as u64, "row", "rows"),
                kind.word()
            );
            done(ReviewRequest::Mark { name, rows, kind, note }, said)
        }
        Command::Close { name, row: rows, note } => {
            let said = format!("{} closed", output::count(rows.len() as u64, "row", "rows"));
            done(ReviewRequest::Close { name, rows, note }, said)
        }
        Command::Sign { name, round, decision, note, json } => {
            let decision = Decision::from_word(&decision).expect("clap knows the words");
            let request = ReviewRequest::Sign { name: name.clone(), round, decision, note };
            match ask(request)? {
                Reply::SignedOff(sign) if json => output::json(&sign),
                Reply::SignedOff(sign) => output::line(&format!(
                    "signed round {} of {name}: {}, {}; manifest SHA-256 {}",
                    sign.round,
                    output::count(sign.count, "row", "rows"),
                    sign.decision.word(),
                    sign.manifest_sha256
                )),
                other => Err(out_of_turn(&other)),
            }
        }
        Command::Check { name, round, json } => {
            let checked = match ask(ReviewRequest::Check { name, round })? {
                Reply::ReviewChecked(checked) => checked,
                other => return Err(out_of_turn(&other)),
            };
            if json {
                output::json(&checked)?;
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
    }
}

fn one(reviews: &[ReviewView], json: bool) -> anyhow::Result<()> {
    let Some(review) = reviews.first() else { return Ok(()) };
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

fn whose(review: &ReviewView) -> &str {
    review.project.as_deref().or(review.namespace.as_deref()).unwrap_or_default()
}

fn list(reviews: &[ReviewView]) -> anyhow::Result<()> {
    let row = |review: &ReviewView| {
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

fn show(data_dir: &DataDir, name: &str, limit: usize, json: bool) -> anyhow::Result<()> {
    let mut left = if limit == 0 { usize::MAX } else { limit };
    let mut shown: Option<RoundView> = None;
    let mut connection = data_dir.open()?;
    loop {
        let (round, after) = match &shown {
            Some(shown) => (Some(shown.token.clone()), shown.next.clone()),
            None => (None, None),
        };
        let request = ReviewRequest::Show { name: name.to_owned(), limit: left, round, after };
        let page = match connection.execute(Request::Review(request))? {
            Reply::Round(page) => *page,
            other => return Err(out_of_turn(&other)),
        };
        left = left.saturating_sub(page.rows.len());
        let is_end = page.next.is_none() || page.rows.is_empty() || left == 0;
        match &mut shown {
            None => shown = Some(page),
            Some(shown) => {
                shown.rows.extend(page.rows);
                shown.next = page.next;
            }
        }
        if is_end {
            break;
        }
    }
    connection.close()?;
    let Some(round) = shown else { return Ok(()) };
    match json {
        true => output::json(&round),
        false => print(&round),
    }
}

fn print(round: &RoundView) -> anyhow::Result<()> {
    let review = &round.review;
    let state = if review.overdue { "overdue since" } else { "due at" };
    output::line(&format!("round {} of {}, {state} {}", review.round, review.name, review.due_at))?;
    let from = round.from.map_or("ever".to_owned(), |from| from.to_string());
    output::line(&format!("recorded from {from} to {}, {}", round.to, known(&round.coverage)))?;
    if let Some(before) = round.lost_before {
        output::line(&format!("events before {before} are not kept: some may have gone unseen"))?;
    }
    let row = |row: &RoundRow| {
        let event = &row.event;
        let mark = row.mark.as_ref();
        let note = mark.and_then(|mark| mark.note.as_deref()).unwrap_or_default();
        vec![
            row.id.clone(),
            event.event_time.to_string(),
            event.target.short(),
            event.action.clone(),
            event.outcome.clone(),
            event.user.as_deref().unwrap_or(&event.principal).to_owned(),
            event.address.map_or_else(|| event.peer.clone(), |address| address.to_string()),
            mark.map_or("", |mark| mark.kind.word()).to_owned(),
            note.to_owned(),
        ]
    };
    let headings = ["ROW", "TIME", "TARGET", "ACTION", "OUTCOME", "USER", "FROM", "MARK", "NOTE"];
    if !round.rows.is_empty() {
        output::heading("New:")?;
        output::table(&headings, &round.rows.iter().map(row).collect::<Vec<_>>())?;
    }
    if !round.follow_ups.is_empty() {
        output::heading("To be followed up:")?;
        let row = |mark: &doorbook_server::admin::reviews::MarkView| {
            let note = mark.note.as_deref().unwrap_or_default();
            vec![mark.id.clone(), mark.round.to_string(), mark.by.clone(), note.to_owned()]
        };
        let rows: Vec<_> = round.follow_ups.iter().map(row).collect();
        output::table(&["ROW", "ROUND", "BY", "NOTE"], &rows)?;
    }
    if !round.sign_offs.is_empty() {
        output::heading("Signed:")?;
        let row = |sign: &SignOffView| {
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
        let rows: Vec<_> = round.sign_offs.iter().map(row).collect();
        output::table(&headings, &rows)?;
    }
    eprintln!("{} of {} new rows shown.", round.rows.len(), round.total);
    eprintln!(
        "To sign: doorbook review sign {} --decision accepted --round {}",
        review.name, round.token
    );
    Ok(())
}

/// What could be known, in few words.
fn known(coverage: &CoveredView) -> String {
    let gaps = match coverage.gaps {
        0 => String::new(),
        n => format!(" ({})", output::count(n, "gap", "gaps")),
    };
    match coverage.through {
        Some(through) => format!("{}{gaps}, known to {through}", coverage.state),
        None => format!("{}{gaps}", coverage.state),
    }
}
