//! The rows.

use doorbook_event::public_id::Names;
use doorbook_event::{
    Access, Class, Outcome, Peer, Principal, PublicIds, Record, Scope, Timestamp,
};
use doorbook_store::Placed;
use maud::{Markup, html};

use super::params::Params;
use super::principals;
use super::text::{plain, shown};
use super::when;

/// What the rows are shown with.
pub struct Table<'a> {
    /// What places of the history are called outside.
    pub ids: &'a PublicIds,
    /// Whose history.
    pub scope: &'a Scope,
    /// The state of the page.
    pub params: &'a Params,
    /// The present.
    pub now: Timestamp,
    /// The row whose detail is shown.
    pub open: Option<&'a str>,
    /// What names stand for.
    pub name_of: &'a dyn Fn(&str, &str) -> String,
    /// What stands before each row. Where there is none, there is no such column.
    pub lead: Option<Lead<'a>>,
}

/// Makes a cell of a row, by its id.
pub type Lead<'a> = &'a dyn Fn(&str, &Placed) -> Markup;

impl Table<'_> {
    /// A real table of rows, newest first.
    pub fn show(&self, rows: &[Placed]) -> Markup {
        let is_arrays = matches!(self.scope, Scope::Namespace(_));
        html! {
            div.scroll.rows tabindex="0" role="region" aria-label="Events" {
                table {
                    caption.hidden { "Events, newest first" }
                    thead { tr {
                        @if self.lead.is_some() { th scope="col" { "Mark" } }
                        th scope="col" { "Time " span.zone data-zone-name="" { "UTC" } }
                        @if is_arrays {
                            th scope="col" { "Action" } th scope="col" { "Array" }
                        }
                        th scope="col" { "Who" }
                        th scope="col" { "From where" }
                        th scope="col" { "Result" }
                        @if !is_arrays { th.mechanism scope="col" { "Mechanism" } }
                        th scope="col" { "Application" }
                        @if !is_arrays { th scope="col" { "Host" } }
                    } }
                    tbody { @for row in rows { (self.row(row, is_arrays)) } }
                }
            }
        }
    }

    fn row(&self, row: &Placed, is_arrays: bool) -> Markup {
        let id = self.ids.id(Names::Record, row.log, row.seq).to_string();
        let is_open = self.open == Some(&*id);
        let href = self.params.href(&format!("/history/{id}"));
        let at = row.event_time();
        let time = html! {
            @if let Some(lead) = self.lead { (lead(&id, row)) }
            td.when {
                a.open href=(href) aria-current=[is_open.then_some("true")] { (when::instant(at)) }
                span.ago { (when::ago(at, self.now)) }
            }
        };
        match &row.record {
            Record::Access(access) | Record::Own(access) => html! {
                tr.open[is_open] {
                    (time)
                    @if is_arrays {
                        td { (access.action.word()) }
                        td { (shown(&(self.name_of)("array", access.target.names().1))) }
                    }
                    td.who-cell { (who_linked(&access.principal, self.params)) (classes(access)) }
                    td.address.tight { (from_where(access.peer)) }
                    td { (result(&access.outcome)) }
                    @if !is_arrays { td.tight.mechanism { (optional(access.mechanism.as_deref())) } }
                    td { (optional(application(access))) }
                    @if !is_arrays { td.host { (shown(access.target.names().1)) } }
                }
            },
            Record::Quarantine(quarantine) => html! {
                tr.open[is_open] {
                    (time)
                    td colspan="6" { span.result.unknown { "could not be read: " (shown(&quarantine.reason)) } }
                }
            },
            // A filter asks for no other kind.
            _ => html! {},
        }
    }
}

/// Who came, with a link to what else is known of them.
pub fn who_linked(principal: &Principal, params: &Params) -> Markup {
    let address = principal.name().and_then(|name| principals::address_of(name, params));
    match address {
        Some(address) => html! { a.who-link href=(address) { (who(principal)) } },
        None => who(principal),
    }
}

/// Who came.
pub fn who(principal: &Principal) -> Markup {
    html! {
        @match principal {
            Principal::Unauthenticated => { span.empty { "(nobody named)" } }
            Principal::User { name, database } => {
                (shown(name))
                @if !database.is_empty() { span.database { "@" (shown(database)) } }
            }
            other => (shown(&other.to_string())),
        }
    }
}

/// From where, without the port.
pub fn from_where(peer: Peer) -> Markup {
    html! {
        @match peer {
            Peer::Ip { address, .. } => (address),
            Peer::UnixSocket => "Unix socket",
            Peer::Unknown => { span.empty { "not said" } }
        }
    }
}

/// How it ended: by sign, word and colour.
pub fn result(outcome: &Outcome) -> Markup {
    html! {
        @match outcome {
            Outcome::Success => { span.result.success { span aria-hidden="true" { "✓ " } "success" } }
            Outcome::Failure { reason, .. } => {
                span.result.failure title=[reason.as_deref().map(plain)] {
                    span aria-hidden="true" { "✕ " } "failure"
                }
            }
            Outcome::Unknown => { span.result.unknown { "not said" } }
        }
    }
}

/// The flags of a row that a reader should know of.
pub fn classes(access: &Access) -> Markup {
    let meaning = |class: Class| match class {
        Class::System => "the system talking to itself",
        Class::Monitor => "a monitoring or automation agent",
        Class::Retry => "the second line of one attempt",
        Class::Suspect => "a success that its own log contradicts",
        Class::Unconfirmed => "a success that its log neither confirms nor contradicts",
        Class::Clock => "the time is doubtful",
        Class::Inferred => "no line says it outright",
    };
    html! {
        @for class in access.classes.iter() {
            " " span.tag title=(meaning(class)) { (class.word()) }
        }
    }
}

/// The client's application.
pub fn application(access: &Access) -> Option<&str> {
    access.client.as_deref().and_then(|client| client.application.as_deref())
}

fn optional(text: Option<&str>) -> Markup {
    html! { @match text { Some(text) => (shown(text)), None => { span.empty { "–" } } } }
}
