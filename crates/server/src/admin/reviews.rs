//! Changes of reviews: what is to be looked at, what is said of it, and that it was. Our own API reads them, here as over a
//! network.

use doorbook_event::record::Actor;
use doorbook_event::registry::RegistryChange;
use doorbook_event::review::{Decision, Due, MarkKind};
use doorbook_event::{PublicIds, Scope, Text};
use serde::{Deserialize, Serialize};

use crate::admin::{Admin, Failure, Reply};
use crate::api::native::reviews::{describe, of_sign_off};
use crate::pipeline::hosts::find_project;
use crate::review::{Described, Desk};

/// One of these commands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "about", rename_all = "snake_case", rename_all_fields = "camelCase")]
#[serde(deny_unknown_fields)]
pub enum ReviewRequest {
    /// Make a review.
    Create {
        /// Its name.
        name: String,
        /// A project; `None`: a namespace, or the only project there is.
        project: Option<String>,
        /// A namespace.
        namespace: Option<String>,
        /// Which events.
        filter: String,
        /// The zone of its deadlines.
        zone: String,
        /// By when somebody is to have signed.
        due: String,
        /// Whether its first round begins with the history, and not now.
        from_start: bool,
    },
    /// Describe it anew; what is `None` stays.
    Change {
        /// Its name.
        name: String,
        /// Which events.
        filter: Option<String>,
        /// The zone of its deadlines.
        zone: Option<String>,
        /// By when somebody is to have signed.
        due: Option<String>,
    },
    /// Review it no longer.
    Remove {
        /// Its name.
        name: String,
    },
    /// Say what rows of the open round are.
    Mark {
        /// Its name.
        name: String,
        /// The rows, by their ids.
        rows: Vec<String>,
        /// What they are.
        kind: MarkKind,
        /// What else there is to say.
        note: Option<String>,
    },
    /// Say what came of rows that were to be followed up.
    Close {
        /// Its name.
        name: String,
        /// The rows, by their ids.
        rows: Vec<String>,
        /// What came of it.
        note: String,
    },
    /// Sign the round that was looked at.
    Sign {
        /// Its name.
        name: String,
        /// The round, as an answer named it.
        round: String,
        /// What came of it.
        decision: Decision,
        /// What else there is to say.
        note: Option<String>,
    },
}

impl Admin {
    pub(super) fn execute_on_reviews(
        &self,
        by: &Actor,
        request: ReviewRequest,
    ) -> Result<Reply, Failure> {
        let desk = self.desk()?;
        match request {
            ReviewRequest::Create { name, project, namespace, filter, zone, due, from_start } => {
                let registry = &desk.catalog.registry;
                let scope = match (project, namespace) {
                    (_, Some(namespace)) => Scope::Namespace(namespace.into()),
                    (Some(project), None) => Scope::Project(find_project(registry, &project)?),
                    (None, None) => Scope::Project(super::history::the_only_project(registry)?),
                };
                let (filter, zone, due) = (filter.into(), zone.into(), parse_due(&due)?);
                let described = Described { name: name.clone().into(), scope, filter, zone, due };
                desk.create(by, described, from_start)?;
                self.described(&name)
            }
            ReviewRequest::Change { name, filter, zone, due } => {
                let before = desk.review(&name)?;
                let described = Described {
                    name: before.name.clone(),
                    scope: before.scope.clone(),
                    filter: filter.map_or_else(|| before.filter.clone(), Text::from),
                    zone: zone.map_or_else(|| before.zone.clone(), Text::from),
                    due: due.map_or(Ok(before.due), |due| parse_due(&due))?,
                };
                desk.change(by, before, described)?;
                self.described(&name)
            }
            ReviewRequest::Remove { name } => {
                let name = desk.review(&name)?.name.clone();
                self.store.change_registry(by, vec![RegistryChange::ReviewRemoved { name }])?;
                Ok(Reply::Done)
            }
            ReviewRequest::Mark { name, rows, kind, note } => {
                let round = desk.look(desk.review(&name)?, None)?;
                desk.mark(by, &round, &rows, (kind, note.as_deref()))?;
                Ok(Reply::Done)
            }
            ReviewRequest::Close { name, rows, note } => {
                desk.close(by, desk.review(&name)?, &rows, &note)?;
                Ok(Reply::Done)
            }
            ReviewRequest::Sign { name, round, decision, note } => {
                let review = desk.review(&name)?;
                let sign = desk.sign_seen(by, review, &round, (decision, note.as_deref()))?;
                Ok(Reply::SignedOff(Box::new(of_sign_off(&sign))))
            }
        }
    }

    pub(super) fn desk(&self) -> Result<Desk, Failure> {
        Ok(Desk {
            store: self.store.clone(),
            ids: PublicIds::new(&self.store.secret("public-ids")?),
            catalog: self.store.catalog(),
            now: self.clock.now(),
        })
    }

    /// As it is after what was done.
    fn described(&self, name: &str) -> Result<Reply, Failure> {
        let desk = self.desk()?;
        Ok(Reply::Review(Box::new(describe(&desk, desk.review(name)?))))
    }
}

fn parse_due(text: &str) -> Result<Due, Failure> {
    Due::parse(text).ok_or_else(|| {
        Failure::invalid(format!(
            "{text:?} is no deadline: write 10:00 for every day, or \"monday 10:00\" for every week"
        ))
    })
}
