//! Pages that show no rows, and say why.

use std::collections::BTreeSet;

use axum::http::{HeaderValue, StatusCode, header};
use doorbook_event::record::Grade;
use doorbook_event::registry::Registry;
use doorbook_event::{ProjectId, Scope};
use doorbook_store::Answer as Coverage;
use maud::{Markup, html};

use super::Visit;
use super::filters::{self, active, dropped, label};
use super::gaps::of_what;
use super::navigation::Here;
use super::page::{Answer, Frame, page};
use super::params::Params;
use super::sessions::SignedIn;
use super::text::{plain, shown};
use super::when::{self, count};
use super::window::Window;
use crate::api::native::problem::Problem;

/// A page that says what is the matter.
pub fn said(visit: &Visit, status: StatusCode, title: &str, said: Markup) -> Answer {
    let signed_in = visit.signed_in.as_ref();
    let bar = signed_in.map(|signed_in| Here::nowhere().bar(visit, signed_in));
    let frame = Frame { title, signed_in, here: None, bar };
    let main = html! {
        main #main.narrow {
            h1 { (title) }
            (said)
            p { a href="/" { "To the beginning" } }
        }
    };
    Answer::page(status, page(&frame, main))
}

/// A problem of the API, for people.
pub fn problem(visit: &Visit, problem: &Problem) -> Answer {
    let text = match problem.status {
        StatusCode::FORBIDDEN => {
            return forbidden(visit);
        }
        StatusCode::NOT_FOUND => html! {
            p { (shown(&problem.detail)) }
            p.hint { "Or it is not shared with you. Whoever runs this server can change that: "
                code { "doorbook user grant NAME --project P --role R" } }
        },
        StatusCode::BAD_REQUEST => html! {
            p.notice.bad { (shown(&problem.detail)) }
            p { "The address of this page says something that cannot be read. Nothing was left out in silence: "
                "no part of it was answered." }
        },
        _ => {
            html! { p.notice.bad { (shown(&problem.detail)) } p { "Loading the page again may help." } }
        }
    };
    said(visit, problem.status, problem.title, text)
}

fn forbidden(visit: &Visit) -> Answer {
    let text = html! {
        p { "Your role here does not allow reading this history." }
        p.hint { "These do: GROUP_OWNER, GROUP_CLUSTER_LOG_VIEWER, GROUP_DATABASE_ACCESS_ADMIN, "
            "GROUP_MONITORING_ADMIN. Whoever runs this server can grant one: "
            code { "doorbook user grant NAME --project P --role R" } }
    };
    said(visit, StatusCode::FORBIDDEN, "Not allowed", text)
}

/// Somebody may see this, and not do that.
pub fn may_not(visit: &Visit) -> Answer {
    let text = html! {
        p { "Your role here does not allow that. Nothing was done." }
        p.hint { "Whoever runs this server can grant another: "
            code { "doorbook user grant NAME --project P --role R" } }
    };
    said(visit, StatusCode::FORBIDDEN, "Not allowed", text)
}

/// There is no such thing for the one who asks.
pub fn not_there(visit: &Visit) -> Answer {
    let text = html! { p { "There is nothing of that name, or it is not yours to change. Nothing was done." } };
    said(visit, StatusCode::NOT_FOUND, "Not found", text)
}

/// Too many others are being answered.
pub fn busy(visit: &Visit) -> Answer {
    let text = html! { p { "Too much is being worked on. Load the page again in a moment." } };
    said(visit, StatusCode::SERVICE_UNAVAILABLE, "The server is busy", text)
        .with(header::RETRY_AFTER, HeaderValue::from_static("5"))
}

/// A form, or a link, that did not come from our own page.
pub fn from_elsewhere(visit: &Visit) -> Answer {
    let text = html! {
        p { "Your browser says that this did not come from a page of this server, or the page was of a "
            "session that has ended. Nothing was done." }
    };
    said(visit, StatusCode::FORBIDDEN, "Not from here", text)
}

/// A form that cannot be read.
pub fn unreadable(visit: &Visit) -> Answer {
    let text = html! { p { "What was sent cannot be read. Nothing was done." } };
    said(visit, StatusCode::BAD_REQUEST, "That cannot be read", text)
}

/// A method that a path does not have.
pub fn wrong_method(visit: &Visit, allowed: &'static str) -> Answer {
    let text = html! { p { "This address does not take that." } };
    said(visit, StatusCode::METHOD_NOT_ALLOWED, "Method not allowed", text)
        .with(header::ALLOW, HeaderValue::from_static(allowed))
}

/// Somebody who may see nothing yet.
pub fn nothing_granted(visit: &Visit, signed_in: &SignedIn) -> Answer {
    let text = html! {
        p { "No project and no array is shared with " (shown(&signed_in.user)) " yet." }
        p { "Whoever runs this server can change that:" }
        pre { "doorbook user grant " (shown(&signed_in.user))
            " --project P --role GROUP_CLUSTER_LOG_VIEWER" }
    };
    said(visit, StatusCode::OK, "Nothing to see yet", text)
}

/// Rows there are, and none of them matches.
pub fn no_match(
    params: &Params,
    window: &Window,
    n_hidden: u64,
    elsewhere: u64,
    name_of: &dyn Fn(&str, &str) -> String,
) -> Markup {
    let active = active(params);
    html! {
        section.state role="status" {
            h2 { "No event matches" }
            p { "In the window " (window.told()) "." }
            @if n_hidden > 0 {
                p { (count(n_hidden)) " of the system, of monitors or retries are hidden. "
                    a href=(params.set("show", "all").without(&["cursor"]).href("/history")) { "Show them" } }
            }
            @if !active.is_empty() {
                p { "What could be dropped:" }
                ul {
                    @for (name, value) in &active {
                        li { a href=(dropped(params, "/history", name, value)) {
                            "Without " (label(name)) ": " (shown(&name_of(name, value))) } }
                    }
                    @if active.len() > 1 {
                        li { a href=(filters::without_any(params, "/history")) { "Without any of them" } }
                    }
                }
            }
            @if window.last != Some("all") && elsewhere > 0 {
                @let all = params.without(&["from", "to", "cursor", "as_of"]).set("last", "all");
                p { (count(elsewhere)) " match at other times. " a href=(all.href("/history")) { "Show all time" } }
            }
        }
    }
}

/// A history without any row.
pub fn no_data(registry: &Registry, scope: &Scope) -> Markup {
    html! {
        section.state role="status" {
            h2 { "No data yet" }
            @match scope {
                Scope::Project(project) => {
                    p { "Nothing was recorded in this project. Write this into the file of the estate, "
                        code { "doorbook.toml" } ", and run " code { "doorbook apply" } ":" }
                    pre.config tabindex="0" { (config(registry, *project)) }
                    p { "Or import what is there already: " code { "doorbook import --project P --cluster C FILE…" } }
                }
                _ => {
                    p { "Nothing was told of these arrays. Applications report what they do:" }
                    pre.config tabindex="0" {
                        "curl --header 'Authorization: Bearer TOKEN' --header 'Content-Type: application/x-ndjson' \\\n"
                        "  --data-binary @events.ndjson http://127.0.0.1:8080/api/v1/ingest/app"
                    }
                }
            }
        }
    }
}

pub fn config(registry: &Registry, project: ProjectId) -> String {
    let name = registry.project(project).map_or("shop", |project| &*project.name);
    let mut config = format!("version = 1\n\n[[project]]\nname = {name:?}\n");
    let clusters: Vec<_> = registry.clusters(project).collect();
    for cluster in &clusters {
        let hosts = registry.hosts(project).filter(|host| host.cluster == cluster.name);
        let hosts: Vec<String> = hosts.map(|host| format!("{:?}", host.name.to_string())).collect();
        config.push_str(&format!(
            "\n[[project.cluster]]\nname = \"{}\"\nhosts = [{}]\n",
            cluster.name,
            hosts.join(", ")
        ));
    }
    if clusters.is_empty() {
        config.push_str("\n[[project.cluster]]\nname = \"orders\"\nhosts = [\"db-1\", \"db-2\"]\n");
    }
    config.push_str(
        "\n[[source]]\nname = \"{cluster}.{host}\"\nkind = \"mongod-log\"\n\
         path = \"/srv/logs/{host}/mongod.log\"\n",
    );
    config
}

/// What the total can know: complete, at best effort, or blind since when and why.
pub fn completeness(
    answer: &Coverage,
    window: &Window,
    is_anything_known: bool,
    name_of: &dyn Fn(&str, &str) -> String,
) -> Markup {
    // Of no hosts everything is known, and it would read as if somebody watched.
    if !is_anything_known {
        return html! {
            span.state-word.blind { span aria-hidden="true" { "◐ " } "nobody watches: nothing is set up yet" }
        };
    }
    let lasting: Vec<_> =
        answer.gaps.iter().filter(|gap| gap.to.is_none() && gap.grade == Grade::Blind).collect();
    let through = |words: &str| {
        html! {
            (words)
            @match answer.through {
                Some(through) => { " to " (when::to_the_second(through.min(window.to))) }
                None => ", and of some nothing is known",
            }
        }
    };
    let first = lasting.iter().min_by_key(|gap| gap.from);
    // An array may have several, each of other actions.
    let places: BTreeSet<_> = lasting.iter().map(|gap| gap.target.names().1).collect();
    let blind_to: BTreeSet<_> = lasting.iter().map(|gap| of_what(gap)).collect();
    let where_ = match (places.len(), first) {
        (1, Some(gap)) => format!(" at {}", plain(&name_of("target", gap.target.names().1))),
        (n, _) => format!(" at {} places", count(n as u64)),
    };
    let closed = answer.gaps.iter().filter(|gap| gap.grade == Grade::Blind).count();
    html! {
        @match (first, answer.grade) {
            (Some(gap), _) => {
                span.state-word.blind {
                    span aria-hidden="true" { "◐ " }
                    // Said of all of them, or of none.
                    @let of_what = of_what(gap).filter(|_| blind_to.len() == 1);
                    @match gap.is_unwatched() && gap.from == window.from {
                        true => { "nobody watches" @if let Some(what) = of_what { " " (what) } },
                        false => { "blind" @if let Some(what) = of_what { " to " (what) }
                            " since " (when::to_the_second(gap.from)) },
                    }
                    (where_) ": " (shown(&gap.cause))
                }
            }
            (None, Grade::Watched) => {
                span.state-word.complete { span aria-hidden="true" { "● " } (through("complete")) }
            }
            (None, Grade::BestEffort) => {
                span.state-word.effort { span aria-hidden="true" { "○ " } (through("best effort")) }
            }
            (None, Grade::Blind) => {
                span.state-word.blind {
                    span aria-hidden="true" { "◐ " }
                    "not complete: "
                    a href="#gaps" { (count(closed as u64)) (if closed == 1 { " gap" } else { " gaps" }) }
                    (through(", known"))
                }
            }
        }
    }
}
