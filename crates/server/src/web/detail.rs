//! One row with everything that is known of it, in a panel beside the others.

use doorbook_event::public_id::Names;
use doorbook_event::record::Quarantine;
use doorbook_event::{
    Access, Outcome, Peer, Principal, PublicIds, Record, Scope, Target, Timestamp,
};
use doorbook_store::Placed;
use maud::{Markup, html};

use super::params::Params;
use super::table;
use super::text::{shown, shown_bytes, visible_json};
use super::when;
use crate::api::native::events;

/// What a row is shown with.
pub struct Detail<'a> {
    /// What places of the history are called outside.
    pub ids: &'a PublicIds,
    /// Whose history.
    pub scope: &'a Scope,
    /// The state of the page.
    pub params: &'a Params,
    /// The present.
    pub now: Timestamp,
    /// Where the browser says that we are.
    pub base_url: String,
    /// What names stand for.
    pub name_of: &'a dyn Fn(&str, &str) -> String,
    /// What else its connection did, newest first, and how much that is.
    pub neighbours: &'a (Vec<Placed>, u64),
}

impl Detail<'_> {
    /// The panel.
    pub fn show(&self, row: &Placed) -> Markup {
        let id = self.ids.id(Names::Record, row.log, row.seq).to_string();
        html! {
            section.detail #detail aria-labelledby="detail-title" {
                header {
                    h2 #detail-title tabindex="-1" { "Event" }
                    a.close href=(self.params.href("/history")) aria-label="Close the event" { "×" }
                }
                @match &row.record {
                    Record::Access(access) | Record::Own(access) => (self.access(row, access)),
                    Record::Quarantine(quarantine) => (self.quarantine(row, quarantine)),
                    _ => p { "This is no event." },
                }
                (self.sightings(row))
                (self.neighbours())
                (self.copies(row, &id))
            }
        }
    }

    fn access(&self, row: &Placed, access: &Access) -> Markup {
        let Access { principal, peer, outcome, client, mechanism, .. } = access;
        let is_array = matches!(access.target, Target::Array { .. });
        let (group, member) = access.target.names();
        let user = match principal {
            Principal::User { name, .. } => Some(&**name),
            _ => None,
        };
        let address = match peer {
            Peer::Ip { address, .. } => Some(address.to_string()),
            Peer::UnixSocket => Some("unix".to_owned()),
            Peer::Unknown => None,
        };
        html! {
            dl {
                (field("Time", html! { (when::instant(access.event_time))
                    span.ago { (when::ago(access.event_time, self.now)) } }))
                (field("Action", self.filter("action", access.action.word(), html! { (access.action.word()) })))
                (field("Result", self.filter("outcome", access.outcome.word(), table::result(outcome))))
                @if let Outcome::Failure { reason, code } = outcome {
                    @if reason.is_some() || code.is_some() {
                        (field("Reason", html! {
                            @if let Some(reason) = reason { (shown(reason)) }
                            @if let Some(code) = code { " (code " (code) ")" }
                        }))
                    }
                }
                (field("Who", match user {
                    Some(user) => self.filter("user", user, table::who_linked(principal, self.params)),
                    None => table::who_linked(principal, self.params),
                }))
                (field("From", html! {
                    @match &address {
                        Some(address) => (self.filter("address", address, table::from_where(*peer))),
                        None => (table::from_where(*peer)),
                    }
                    @if let Some(port) = peer.port() { span.more { "port " (port) } }
                    @if access.peer_joined { span.more { "told by another line of this connection" } }
                }))
                @if is_array {
                    (field("Array", self.filter("array", member, shown(&(self.name_of)("array", member)))))
                    (field("Namespace", shown(group)))
                } @else {
                    (field("Host", self.filter("host", member, shown(member))))
                    (field("Cluster", self.filter("cluster", group, shown(group))))
                }
                @if let Some(mechanism) = mechanism {
                    (field("Mechanism", self.filter("mechanism", mechanism, shown(mechanism))))
                }
                @if let Some(client) = client.as_deref() {
                    @if let Some(application) = &client.application {
                        (field("Application", self.filter("application", application, shown(application))))
                    }
                    @if let Some(driver) = &client.driver {
                        (field("Driver", html! { (shown(driver)) " "
                            @if let Some(version) = &client.driver_version { (shown(version)) } }))
                    }
                    @if let Some(os) = &client.os { (field("System", shown(os))) }
                    @if let Some(platform) = &client.platform { (field("Platform", shown(platform))) }
                    @if let Some(via) = &client.via { (field("Via", shown(via))) }
                    @if let Some(origin) = &client.origin { (field("Origin", html! { (origin) })) }
                }
                @if let Some(connection) = access.connection {
                    @let number = connection.to_string();
                    (field("Connection", self.filter("connection", &number, html! { (number) })))
                }
                @if let Some(task) = &access.task_id {
                    (field("Task", self.filter("task_id", task, shown(task))))
                }
                @if access.classes.iter().next().is_some() {
                    (field("Classes", table::classes(access)))
                }
                (field("Told by", self.filter("source", &row.source, shown(&row.source))))
                (field("Received", html! { (when::instant(row.ingest_time))
                    span.ago { (when::ago(row.ingest_time, self.now)) } }))
                @for (name, value) in access.attributes.iter() {
                    (field_of(shown(name), shown(value)))
                }
            }
            h3 { "As it was received" }
            @if access.raw.is_empty() {
                p.hint { "Its source has no line of its own for it." }
            } @else {
                (raw(&access.raw))
            }
        }
    }

    fn quarantine(&self, row: &Placed, quarantine: &Quarantine) -> Markup {
        html! {
            dl {
                (field("Received", when::instant(row.ingest_time)))
                (field("Why", shown(&quarantine.reason)))
                (field("Told by", shown(&row.source)))
                (field("File", shown(&quarantine.place.file)))
                (field("Line", html! { (quarantine.place.line) }))
                (field("Bytes", html! { (when::count(quarantine.length_bytes)) }))
                (field("SHA-256", html! { code { (hex::encode(quarantine.sha256)) } }))
            }
            h3 { "As it was received" }
            (raw(&quarantine.bytes))
        }
    }

    fn sightings(&self, row: &Placed) -> Markup {
        html! {
            @if !row.sightings.is_empty() {
                h3 { "Also told by" }
                ul.sightings {
                    @for sighted in &row.sightings {
                        li {
                            (shown(&sighted.source)) ", received " (when::instant(sighted.ingest_time))
                            @if let Some(at) = sighted.event_time { ", which says " (when::instant(at)) }
                            @if sighted.amends { " " span.tag { "says more" } }
                        }
                    }
                }
            }
        }
    }

    fn neighbours(&self) -> Markup {
        let (rows, total) = self.neighbours;
        html! {
            @if *total > 0 {
                h3 { "On the same connection" }
                ul.neighbours {
                    @for row in rows {
                        @if let Record::Access(access) = &row.record {
                            @let id = self.ids.id(Names::Record, row.log, row.seq);
                            li {
                                a href=(self.params.href(&format!("/history/{id}"))) {
                                    (when::instant(row.event_time()))
                                }
                                " " (table::who(&access.principal)) " " (access.action.word()) " "
                                (table::result(&access.outcome))
                            }
                        }
                    }
                }
                @if *total > rows.len() as u64 {
                    p.hint { "The newest " (when::count(rows.len() as u64)) " of " (when::count(*total)) "." }
                }
            }
        }
    }

    /// The same row by other means. Ids, times and addresses only: none of it can break a shell's quotes.
    fn copies(&self, row: &Placed, id: &str) -> Markup {
        let at = row.event_time();
        let whose = match self.scope {
            Scope::Project(project) => format!("project={project}"),
            Scope::Namespace(name) => Params::default().and("namespace", name).text(),
            Scope::System => String::new(),
        };
        let credentials = match self.scope {
            Scope::Namespace(_) => "--header 'Authorization: Bearer TOKEN'",
            _ => "--user 'PUBLIC:PRIVATE'",
        };
        let curl = format!("curl {credentials} '{}/api/v1/events/{id}?{whose}'", self.base_url);
        let json = serde_json::from_slice::<serde_json::Value>(&events::of_row(self.ids, row))
            .and_then(|value| serde_json::to_string_pretty(&value));
        let json = visible_json(&json.unwrap_or_default());
        html! {
            h3 { "Copy as" }
            (copy("curl", &curl))
            @if let Record::Access(access) = &row.record {
                @if let (Scope::Project(project), Target::Host { cluster, .. }) = (self.scope, &access.target) {
                    (copy("Atlas CLI", &atlas(&project.to_string(), cluster, at)))
                }
                (copy("doorbook", &self.doorbook(access, at)))
            }
            (copy("JSON", &json))
        }
    }

    fn doorbook(&self, access: &Access, at: Timestamp) -> String {
        let whose = match self.scope {
            Scope::Project(project) => format!("--project {project}"),
            Scope::Namespace(name) => format!("--namespace {name}"),
            Scope::System => "--system".to_owned(),
        };
        let address = match access.peer {
            Peer::Ip { address, .. } => format!(" --address {address}"),
            Peer::UnixSocket => " --address unix".to_owned(),
            Peer::Unknown => String::new(),
        };
        format!("doorbook events {whose} --from {at} --to {at}{address} --json")
    }

    /// A value with a link that filters by it.
    fn filter(&self, name: &str, value: &str, shown: Markup) -> Markup {
        let params = self.params.without(&["cursor"]);
        let params = match params.has(name, value) {
            true => return shown,
            false => params.and(name, value),
        };
        html! {
            (shown)
            a.filter href=(params.href("/history"))
                aria-label=(format!("Only this {}", super::filters::label(name).to_lowercase())) {
                "only"
            }
        }
    }
}

fn field(name: &str, value: Markup) -> Markup {
    field_of(html! { (name) }, value)
}

fn field_of(name: Markup, value: Markup) -> Markup {
    html! { div { dt { (name) } dd { (value) } } }
}

fn raw(bytes: &[u8]) -> Markup {
    html! { pre.raw tabindex="0" { (shown_bytes(bytes)) } }
}

fn copy(name: &str, text: &str) -> Markup {
    html! {
        details.copy {
            summary { (name) }
            div {
                button.copy-button type="button" hidden data-copied="Copied" { "Copy" }
                pre tabindex="0" { (text) }
            }
        }
    }
}

/// Cluster names are letters, digits and hyphens.
fn atlas(project: &str, cluster: &str, at: Timestamp) -> String {
    let milliseconds = at.millis();
    format!(
        "atlas accessLogs list --projectId {project} --clusterName {cluster} \
         --start {milliseconds} --end {}",
        milliseconds + 1
    )
}
