//! `reports/accounts`: the report of `doorbook report accounts`, made where the history is. The roster is sent, since
//! what is to be found depends on it, and is not kept.

use super::dispatch::{Call, Sent};
use super::filter;
use super::problem::Problem;
use super::query::Query;
use crate::admin::accounts::{INTERACTIVE, Report};
use crate::admin::roster;

/// Serves `reports/accounts`.
pub fn accounts(call: &mut Call<'_>, sent: &Sent<'_>) -> Result<Vec<u8>, Problem> {
    let asked = call.query.one("q")?.unwrap_or_default();
    let others = call.query.all("interactive");
    call.query.finish()?;
    call.query = Query::of([("q", asked.clone())].into_iter());
    let filter = filter::take(call)?.filter;
    let roster = roster::read("roster", sent.body)?;
    let interactive = INTERACTIVE.into_iter().map(str::to_owned).chain(others);
    let report = Report { store: call.store, now: call.now, interactive: interactive.collect() };
    let report = report.make(filter, asked, roster)?;
    call.rows = report.accounts.len() as u64;
    serde_json::to_vec(&report).map_err(|_| Problem::unexpected())
}
