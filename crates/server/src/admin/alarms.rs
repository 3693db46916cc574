//! Commands about alarms: which there are, and what came of them.

use doorbook_event::record::Actor;
use doorbook_event::{Scope, Text};
use doorbook_store::ErrorKind;
use doorbook_store::alarm::{Acknowledgement, Alarm, AlarmKind, Change, Condition};

use crate::admin::request::{AcknowledgementView, AlarmView};
use crate::admin::{Admin, Failure, Reply, views};
use crate::alarm::message;

/// What a cause or a note may have.
const CHARS_MAX: usize = 2000;

impl Admin {
    /// Those that are open, or all, the latest first.
    pub(super) fn alarms(&self, all: bool) -> Vec<AlarmView> {
        let alarms = self.store.alarms();
        let wanted = alarms.alarms.values().filter(|alarm| all || alarm.closed.is_none());
        let mut views: Vec<AlarmView> = wanted.map(|alarm| self.alarm_view(alarm)).collect();
        views.sort_by(|one, other| (other.opened, &one.id).cmp(&(one.opened, &other.id)));
        views
    }

    /// Those of one history, the open ones first and of each the latest.
    pub fn alarms_of(&self, scope: &Scope) -> Vec<AlarmView> {
        let alarms = self.store.alarms();
        let of_scope = alarms.alarms.values().filter(|alarm| {
            let Condition { project, kind, host, .. } = &alarm.condition;
            match scope {
                Scope::Project(id) => *project == Some(*id),
                // A gap of arrays has the name of their namespace where others have a host.
                Scope::Namespace(name) => {
                    project.is_none() && *kind == AlarmKind::Gap && host.as_ref() == Some(name)
                }
                Scope::System => project.is_none(),
            }
        });
        let mut views: Vec<AlarmView> = of_scope.map(|alarm| self.alarm_view(alarm)).collect();
        views.sort_by(|one, other| {
            let order = |view: &AlarmView| (view.closed.is_some(), std::cmp::Reverse(view.opened));
            (order(one), &one.id).cmp(&(order(other), &other.id))
        });
        views
    }

    pub(super) fn acknowledge(
        &self,
        by: &Actor,
        id: &str,
        cause: &str,
        note: Option<&str>,
    ) -> Result<Reply, Failure> {
        let cause = said("cause", cause)?;
        let note = note.map(|note| said("note", note)).transpose()?;
        let what = Acknowledgement { by: by.clone(), at: self.clock.now(), cause, note };
        let change = Change::Acknowledged { id: id.into(), what: Box::new(what) };
        self.store.change_alarms(by, vec![change]).map_err(|error| match error.kind {
            ErrorKind::Missing => {
                Failure::missing(format!("no alarm {id}; `doorbook alarm list --all` shows all"))
            }
            _ => error.into(),
        })?;
        let alarms = self.store.alarms();
        let alarm = alarms.alarms.get(id).map(|alarm| self.alarm_view(alarm));
        Ok(Reply::Alarms(alarm.into_iter().collect()))
    }

    fn alarm_view(&self, alarm: &Alarm) -> AlarmView {
        let condition = &alarm.condition;
        let catalog = self.store.catalog();
        let project = condition.project.map(|id| views::project_name(&catalog.registry, id));
        let acknowledged = alarm.acknowledged.as_ref().map(|what| AcknowledgementView {
            by: what.by.principal.to_string(),
            at: what.at,
            cause: what.cause.clone(),
            note: what.note.clone(),
        });
        AlarmView {
            id: alarm.id.clone(),
            kind: condition.kind.word().into(),
            project,
            cluster: condition.cluster.clone(),
            host: condition.host.clone(),
            source: condition.source.clone(),
            review: condition.review.clone(),
            text: message::summary(alarm),
            from: condition.from,
            to: condition.to,
            missing: condition.missing,
            opened: alarm.opened,
            closed: alarm.closed,
            acknowledged,
        }
    }
}

fn said(what: &str, text: &str) -> Result<Text, Failure> {
    let text = text.trim();
    match text.chars().count() {
        0 => Err(Failure::invalid(format!("the {what} says nothing; write what was found"))),
        1..=CHARS_MAX => Ok(text.into()),
        _ => Err(Failure::invalid(format!("a {what} has at most {CHARS_MAX} characters"))),
    }
}
