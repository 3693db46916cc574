//! All the events that a page counts, as the API exports them, for who is signed in.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Method, Response, StatusCode};
use doorbook_event::{Action, Scope};

use super::page::Answer;
use super::question::Question;
use super::sessions::SignedIn;
use super::{Looked, Seen, Visit, sign_in, states};
use crate::api::native::export::{self, Ended};
use crate::api::native::problem::Problem;
use crate::export::{Export, Format};

/// Where it is: with the parameters of the history, and `format`.
pub const PATH: &str = "/history/export";

/// Sends an archive, or says on a page why not. It is recorded when it begins, and when it has ended, however that was.
pub async fn answer(visit: Arc<Visit>) -> Response<Body> {
    let refused = |answer: Answer| visit.finish(answer).map(Body::from);
    let Some(signed_in) = &visit.signed_in else { return refused(sign_in::ask_first(&visit)) };
    let Some(permit) = export::permit(&visit.app).await else {
        return refused(states::busy(&visit));
    };
    let mut looked = Looked::default();
    let export = match prepare(&visit, signed_in, &mut looked) {
        Ok(Ok(export)) => export,
        answer => {
            return refused(visit.look(|told| {
                told.scope = looked.scope;
                answer.map(|answer| answer.err().unwrap_or_else(|| states::unreadable(&visit)))
            }));
        }
    };
    if visit.parts.method == Method::HEAD {
        record(
            &visit,
            looked.scope.as_ref(),
            "head",
            Ended { rows: 0, sha256: None, refusal: None },
        );
        return export::head(export.format);
    }
    let began = Ended { rows: 0, sha256: None, refusal: None };
    record(&visit, looked.scope.as_ref(), "began", began);
    let usage = visit.app.usage().clone();
    let visit = Arc::clone(&visit);
    let ended = move |ended| record(&visit, looked.scope.as_ref(), "ended", ended);
    export::send(export, permit, usage, ended)
}

fn prepare(
    visit: &Visit,
    signed_in: &SignedIn,
    looked: &mut Looked,
) -> Result<Result<Export, Answer>, Problem> {
    let question = match Question::of(visit, signed_in, PATH, looked)? {
        Err(answer) => return Ok(Err(answer)),
        Ok(question) => question,
    };
    let expected = || Problem::invalid_parameter("format", "csv, ndjson or parquet");
    let format = question.params.get("format").and_then(Format::from_word).ok_or_else(expected)?;
    let params = question.params.without(&["format"]);
    let shows_all = params.get("show") == Some("all");
    let caller = visit.caller();
    question.asked(visit).export(&params, shows_all, (format, &caller)).map(Ok)
}

fn record(visit: &Visit, scope: Option<&Scope>, part: &'static str, ended: Ended) {
    let mut details = visit.details();
    details.push(("part", part.into()));
    details.extend(ended.sha256.map(|sha256| ("sha256", sha256)));
    let (rows, refusal, status) = (ended.rows, ended.refusal, StatusCode::OK);
    let seen = Seen { action: Action::Query, scope, status, refusal, rows, details };
    visit.record(visit.caller(), seen);
}
