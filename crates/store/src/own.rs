//! Events of Doorbook's own: what the store itself has to say of who used it.

use doorbook_event::record::Actor;
use doorbook_event::{Access, Action, Record, Scope, Target, Text, Timestamp};

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
    let target = Target::Own { kind: kind.into(), name: name.into() };
    let attributes = attributes.into_iter().map(|(name, value)| (Text::from(name), value));
    Record::Own(Access { attributes: attributes.collect(), ..Access::own(by, action, target, now) })
}

/// Records for the system's own log.
pub(crate) fn part(records: Vec<Record>) -> Part {
    Part { records, ..Part::new(Scope::System, SOURCE.into()) }
}
