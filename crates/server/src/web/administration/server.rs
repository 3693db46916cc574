//! Of the whole server: projects, how long events are kept, and arrays.

use doorbook_event::Scope;
use doorbook_event::registry::Project;
use maud::{Markup, html};

use super::super::act::{Act, Field, Sent, Wrong};
use super::super::text::shown;
use super::super::when::{self, count};
use super::{NUMBER, PATH, Section, Shown, Table, WORDS, Whose, limits, of_project};
use crate::admin::arrays::ArraysRequest;
use crate::admin::request::RetentionView;
use crate::admin::{Reply, Request};

pub const PROJECTS: Section =
    Section { whose: Whose::Anyone, show: projects, acts: &[&NEW_PROJECT] };

static NEW_PROJECT: Act = Act {
    word: "create-project",
    summary: "New project…",
    hint: "",
    fields: &[Field::text("Name", "name")],
    button: "Make it",
    request: |sent| Ok(Request::ProjectCreate { name: sent.text("name"), id: None }),
    done: "The project was made.",
};

fn projects(page: &Shown<'_>) -> Markup {
    let registry = page.registry;
    let row = |project: &&Project| {
        let clusters = registry.clusters(project.id).count();
        let hosts = registry.hosts(project.id).count();
        let keys = registry.keys().filter(|key| key.project == project.id).count();
        html! {
            tr {
                th scope="row" { a href=(of_project(project.id).href(PATH)) { (shown(&project.name)) } }
                td { code { (project.id) } }
                @for n in [clusters, hosts, keys] { td.num { (count(n as u64)) } }
            }
        }
    };
    let columns = &[
        ("Project", WORDS),
        ("Id", WORDS),
        ("Clusters", NUMBER),
        ("Hosts", NUMBER),
        ("Keys", NUMBER),
    ];
    let table = Table { title: "Projects", columns, none: "There is none yet." };
    let below = html! { @if page.powers.server { (page.forms.form(&NEW_PROJECT, &[])) } };
    table.of(&page.powers.projects, row, below)
}

pub const RETENTION: Section = Section { whose: Whose::Server, show: retention, acts: &[&KEEP] };

static KEEP: Act = Act {
    word: "keep",
    summary: "Change…",
    hint: "Longer holds at once, shorter after seven days: nobody who gets hold of a password makes the traces vanish \
           before anyone looks.",
    fields: &[
        Field::number("Days; empty is forever", "keep"),
        Field::number("Never fewer than; empty is as before", "minimum"),
    ],
    button: "Decide",
    request: |sent| {
        Ok(Request::RetentionSet {
            project: sent.some("of-project"),
            namespace: sent.some("of-namespace"),
            keep_days: days(sent, "keep")?,
            minimum_days: days(sent, "minimum")?,
        })
    },
    done: "It is decided.",
};

fn days(sent: &Sent<'_>, field: &'static str) -> Result<Option<u32>, Wrong> {
    let read = |text: String| {
        text.parse().map_err(|_| Wrong::new(field, format!("{text} is no number of days")))
    };
    sent.some(field).map(read).transpose()
}

fn retention(page: &Shown<'_>) -> Markup {
    let admin = page.visit.app.admin();
    let views = match admin.execute_for(&page.visit.caller(), Request::RetentionList) {
        Ok(Reply::Retention(views)) => views,
        _ => Vec::new(),
    };
    let row = |view: &RetentionView| {
        let namespace = match view.scope.parse() {
            Ok(Scope::Namespace(name)) => Some(name),
            _ => None,
        };
        let (whose, about) = match (&view.project, &namespace) {
            (Some(name), _) => (shown(name), ("of-project", &**name)),
            (None, Some(name)) => (html! { (shown(name)) " (arrays)" }, ("of-namespace", &**name)),
            (None, None) => (html! { "Doorbook's own history" }, ("of-project", "")),
        };
        html! {
            tr {
                th scope="row" { (whose) }
                td { (limits(&view.limits)) }
                td { @match view.limits.minimum_days {
                    0 => span.empty { "–" },
                    days => { (days) " days" }
                } }
                td { @match &view.pending {
                    Some(pending) => { (limits(&pending.limits)) " from " (when::to_the_second(pending.from)) }
                    None => span.empty { "–" },
                } }
                td { (page.forms.form(&KEEP, &[about])) }
            }
        }
    };
    let columns = &["Whose", "Kept", "At least", "Decided", "Change"].map(|name| (name, WORDS));
    Table { title: "How long events are kept", columns, none: "" }.of(views, row, html! {})
}

pub const ARRAYS: Section = Section { whose: Whose::Server, show: arrays, acts: &[&FORGET_ARRAY] };

static FORGET_ARRAY: Act = Act {
    word: "deregister-array",
    summary: "No longer known…",
    hint: "What was done with it stays in the history; the array itself is not touched. A source that watches its place \
           registers it again.",
    fields: &[],
    button: "Forget this array",
    request: |sent| {
        let (namespace, array) = (sent.some("namespace"), sent.text("array"));
        Ok(Request::Arrays(ArraysRequest::ArrayDeregister { namespace, array }))
    },
    done: "The array is not known any more.",
};

fn arrays(page: &Shown<'_>) -> Markup {
    let row = |array: &&doorbook_event::arrays::Array| {
        let id = array.id.to_string();
        let about = [("namespace", &*array.namespace), ("array", &*id)];
        html! {
            tr {
                td { (shown(&array.namespace)) } th scope="row" { (shown(&array.name)) }
                td { (shown(&array.uri)) } td.when { (when::to_the_second(array.created)) }
                td { (page.forms.form(&FORGET_ARRAY, &about)) }
            }
        }
    };
    let columns = &["Namespace", "Name", "Stored at", "Since", "Change"].map(|name| (name, WORDS));
    let below = html! {
        p.hint { "Arrays are registered by TileDB's clients, by sources that watch them, and by "
            code { "doorbook array register" } "." }
    };
    let table = Table { title: "Arrays", columns, none: "None is registered." };
    table.of(page.registry.arrays().arrays(), row, below)
}
