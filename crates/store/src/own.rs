//! Events of Doorbook's own: what the store itself has to say of who used it.

use std::collections::BTreeMap;

use doorbook_event::record::Actor;
use doorbook_event::{
    Access, Action, Classes, Outcome, Record, Scope, Target, Text, Timestamp, WrittenTime,
};

use crate::commit::Part;

/// The source of events that the store itself tells.
pub(crate) const SOURCE: &str = "doorbook";

/// Someone did something to `kind` `name`, by our own word and clock.
pub(crate) fn event<'a>(
    by: &Actor,
    action: Action,
    (kind, name): (&str, &str),
    now: Timestamp,
    attributes: impl IntoIterator<Item = (&'a str, Text)>,
) -> Record {
    Record::Own(Access {
        target: Target::Own { kind: kind.into(), name: name.into() },
        event_time: now,
        written_time: WrittenTime::Complete,
        action,
        outcome: Outcome::Success,
        principal: by.principal.clone(),
        mechanism: None,
        peer: by.peer,
        peer_joined: false,
        connection: None,
        process_start: None,
        client: None,
        speculative: None,
        classes: Classes::NONE,
        attributes: attributes
            .into_iter()
            .map(|(name, value)| (Text::from(name), value))
            .collect::<BTreeMap<_, _>>(),
        raw: Vec::new(),
    })
}

/// Records for the system's own log.
pub(crate) fn part(records: Vec<Record>) -> Part {
    Part { records, ..Part::new(Scope::System, SOURCE.into()) }
}
