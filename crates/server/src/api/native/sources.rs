//! `GET sources`: how the sources of a scope are.

use doorbook_event::record::UnknownId;
use doorbook_event::source::Subject;

use super::answers;
use super::dispatch::Call;
use super::problem::Problem;
use crate::sources::Board;
use crate::sources::overview::{Overview, Seen};

/// Messages of unknown ids that are told; a log can hold any number of them.
const UNKNOWN_IDS_MAX: usize = 100;

/// Serves `sources`.
pub fn list(call: &mut Call<'_>) -> Result<Vec<u8>, Problem> {
    call.query.finish()?;
    let live = call.sources.map(Board::statuses);
    let overview = Overview::of(call.store, live.as_ref(), &call.scope, call.now)?;
    call.rows = overview.sources.len() as u64;
    let unknown_ids = overview.unknown_ids.into_iter().take(UNKNOWN_IDS_MAX);
    let unknown_ids = unknown_ids.map(|unknown| unknown_id(&unknown));
    let answer = answers::Sources {
        sources: overview.sources.into_iter().map(source).collect(),
        quarantined: overview.quarantined,
        unrouted: overview.unrouted,
        unknown_ids: unknown_ids.collect(),
    };
    Ok(serde_json::to_vec(&answer).expect("plain data"))
}

fn unknown_id(unknown: &UnknownId) -> answers::UnknownId {
    answers::UnknownId {
        id: unknown.id,
        version: unknown.version.as_ref().map(ToString::to_string),
        count: unknown.count,
        message: unknown.message.to_string(),
    }
}

fn source(seen: Seen) -> answers::Source {
    let gaps = answers::Gaps { open: seen.open_gaps().count(), total: seen.gaps.len() };
    let Seen { source, health, quarantined, .. } = seen;
    let rules = Some(source.rules_in_words()).filter(|rules| !rules.is_empty());
    let (cluster, host, place) = match &source.subject {
        Subject::Host { cluster, host, .. } => {
            (Some(cluster.to_string()), Some(host.to_string()), None)
        }
        Subject::Arrays { below, .. } => (None, None, Some(below.to_string())),
    };
    let heartbeat = health.heartbeat.map(|heartbeat| answers::Heartbeat {
        at: heartbeat.at,
        through: heartbeat.through,
        lines: heartbeat.lines,
        events: heartbeat.events,
        behind_bytes: heartbeat.behind_bytes,
        delay_micros: heartbeat.delay_micros,
        clock: heartbeat.clock.into(),
    });
    answers::Source {
        name: source.name.to_string(),
        kind: source.kind,
        cluster,
        host,
        place,
        path: Some(source.path.to_string()).filter(|path| !path.is_empty()),
        rules,
        zone: source.zone.to_string(),
        agent: source.agent.map(|agent| agent.to_string()),
        state: health.state,
        message: health.message.map(|message| message.to_string()),
        through: health.through,
        lag_seconds: health.lag_seconds,
        behind_bytes: health.behind_bytes,
        lines: health.lines,
        events: health.events,
        advanced: health.advanced,
        heartbeat,
        gaps,
        quarantined,
        unknown_messages: health.unknown_ids.total(),
        unknown_ids: health.unknown_ids.iter().map(unknown_id).collect(),
    }
}
