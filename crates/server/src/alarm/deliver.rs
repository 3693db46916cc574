//! One destination's way through the outbox: the oldest message that it does not have, until it has it.

use std::sync::Arc;
use std::time::Duration;

use doorbook_event::record::Actor;
use doorbook_event::{Peer, Principal, Random, Text};
use doorbook_store::alarm::{Change, Message};
use tokio::sync::{Notify, watch};

use super::Tools;
use super::syslog::Syslog;
use super::webhook::Webhook;
use crate::admin::with_causes;

/// Somebody who is told.
pub enum Destination {
    /// By a signed POST.
    Webhook(Box<Webhook>),
    /// By a line.
    Syslog(Syslog),
}

/// Why a message was not taken.
#[derive(Debug, PartialEq, Eq)]
pub enum Failure {
    /// It may be taken later.
    Again(String),
    /// Nothing is wanted any more.
    Gone,
}

/// The longest pause between two tries.
const PAUSE_MAX: Duration = Duration::from_secs(300);

impl Destination {
    /// The webhook's name in the outbox and in metrics.
    pub const WEBHOOK: &str = "webhook";

    /// The syslog server's.
    pub const SYSLOG: &str = "syslog";

    async fn deliver(&self, message: &Message, tools: &Tools) -> Result<(), Failure> {
        match self {
            Destination::Webhook(webhook) => webhook.deliver(message, tools.clock.now()).await,
            Destination::Syslog(syslog) => syslog.deliver(message).await,
        }
    }
}

/// Delivers until it is stopped, or nothing is wanted any more.
pub(super) async fn run(
    name: Text,
    destination: Destination,
    tools: Tools,
    news: Arc<Notify>,
    mut stopping: watch::Receiver<bool>,
) {
    let mut failures: u32 = 0;
    loop {
        // Before looking, so that what comes in between is not slept through.
        let notified = news.notified();
        let Some(message) = tools.store.alarms().next_for(&name).cloned() else {
            tokio::select! {
                _ = stopping.changed() => return,
                () = notified => continue,
            }
        };
        let answer = tokio::select! {
            _ = stopping.changed() => return,
            answer = destination.deliver(&message, &tools) => answer,
        };
        let settled = match answer {
            Ok(()) => {
                tools.metrics().delivered(&name, "delivered");
                settle(&tools, &message, &name).await
            }
            Err(Failure::Gone) => {
                tools.metrics().delivered(&name, "gone");
                tracing::error!(
                    destination = &*name,
                    advice =
                        "it answered 410: take it out of [alarm], or let it answer and restart",
                    "alarms are not wanted any more"
                );
                return;
            }
            Err(Failure::Again(error)) => {
                tools.metrics().delivered(&name, "failed");
                Err(error)
            }
        };
        match settled {
            Ok(()) => {
                if failures > 0 {
                    tracing::info!(destination = &*name, failures, "alarms are delivered again");
                }
                failures = 0;
            }
            Err(error) => {
                if failures == 0 {
                    let destination = &*name;
                    tracing::error!(
                        destination,
                        error,
                        "an alarm could not be delivered; it is tried again"
                    );
                }
                let pause = pause(tools.pause, failures, &*tools.random);
                failures = failures.saturating_add(1);
                tokio::select! {
                    _ = stopping.changed() => return,
                    () = tokio::time::sleep(pause) => {}
                }
            }
        }
    }
}

/// Takes note that it was taken. If that fails, it is sent again, under the same id.
async fn settle(tools: &Tools, message: &Message, name: &Text) -> Result<(), String> {
    let change = Change::Settled { message: message.id.clone(), destination: name.clone() };
    let store = tools.store.clone();
    let written =
        tokio::task::spawn_blocking(move || store.change_alarms(&doorbook(), vec![change])).await;
    match written {
        Ok(written) => written.map_err(|error| with_causes(&error)),
        Err(error) => Err(error.to_string()),
    }
}

/// Twice as long after each failure, less up to a half, so that not all who failed together try together.
fn pause(first: Duration, failures: u32, random: &dyn Random) -> Duration {
    let longest = first.saturating_mul(1 << failures.min(16)).min(PAUSE_MAX);
    let mut byte = [0];
    random.fill(&mut byte);
    longest - longest / 2 * u32::from(byte[0]) / 255
}

/// Doorbook itself, as who did something.
pub(super) fn doorbook() -> Actor {
    Actor { principal: Principal::Doorbook, peer: Peer::Unknown }
}

#[cfg(test)]
mod tests {
    use doorbook_event::time::CountingRandom;

    use super::*;

    #[test]
    fn pauses_grow_to_five_minutes_and_differ() {
        let random = CountingRandom::default();
        for (failures, longest) in [(0, 1), (1, 2), (5, 32), (9, 300), (u32::MAX, 300)] {
            let pause = pause(Duration::from_secs(1), failures, &random);
            let longest = Duration::from_secs(longest);
            assert!(longest / 2 <= pause && pause <= longest, "{failures}: {pause:?}");
        }
    }
}
