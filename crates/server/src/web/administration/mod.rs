//! Projects, clusters, keys, roles, users and how long events are kept: what a command of the command line changes, changed
//! by the same requests.
//!
//! [`SECTIONS`] has a row for each part of the page: whose it is, what it shows, and its forms, each an [`Act`]. `server`,
//! `people` and `project` have them.

mod people;
mod project;
mod server;

use axum::http::StatusCode;
use doorbook_event::ProjectId;
use doorbook_event::registry::{Project, Registry, Role};
use doorbook_event::retention::Limits;
use maud::{Markup, html};

use super::act::{self, Act, Forms, Sent, Wrong};
use super::forms::Told;
use super::navigation::{Here, Section as OfBar};
use super::page::{Answer, Frame, page};
use super::params::Params;
use super::sessions::SignedIn;
use super::text::shown;
use super::when::{self, count};
use super::{Looked, Visit};
use crate::admin::Reply;
use crate::admin::arrays::{NewToken, NewUser};
use crate::admin::request::{NewKey, NewServiceAccount, RetentionView};
use crate::api::native::problem::Problem;
use crate::auth::{Decision, Object, Operation, authorize};

/// Where it is.
pub const PATH: &str = "/admin";

/// What an address says that every form goes back to.
const KEPT: [&str; 2] = ["project", "times"];

/// A part of the page.
struct Section {
    whose: Whose,
    show: fn(&Shown<'_>) -> Markup,
    /// Its forms, which are all that the page takes.
    acts: &'static [&'static Act],
}

/// Where a part is, and for whom.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whose {
    /// Of the server, for whoever manages anything.
    Anyone,
    /// Of the server, for administrators.
    Server,
    /// Of one project, for its owners and administrators.
    Project,
}

/// The parts, in their order. **A further part has its row here.**
const SECTIONS: [&Section; 9] = [
    &server::PROJECTS,
    &people::USERS,
    &people::ORGANIZATIONS,
    &server::RETENTION,
    &server::ARRAYS,
    &project::ROLES,
    &project::KEYS,
    &project::SERVICE_ACCOUNTS,
    &project::CLUSTERS,
];

/// What somebody may manage.
pub struct Powers {
    /// The server.
    pub server: bool,
    /// Who has access to these projects, by name.
    pub projects: Vec<Project>,
}

impl Powers {
    /// Of who asks.
    pub fn of(visit: &Visit) -> Powers {
        let registry = &visit.catalog.registry;
        let caller = visit.caller();
        let may = |operation, object: Object<'_>| {
            authorize(registry, &caller, operation, object) == Decision::Allowed
        };
        let of_project =
            |project: &&Project| may(Operation::ManageAccess, Object::Project(project.id));
        let mut projects: Vec<Project> = registry.projects().filter(of_project).cloned().collect();
        projects.sort_by(|one, other| one.name.cmp(&other.name));
        Powers { server: may(Operation::ManageServer, Object::Everything), projects }
    }

    /// Whether there is anything to manage.
    pub fn is_any(&self) -> bool {
        self.server || !self.projects.is_empty()
    }

    /// Whether this project is among it.
    pub fn has(&self, project: &str) -> bool {
        self.projects.iter().any(|known| known.id.to_string() == project || *known.name == *project)
    }
}

/// The page.
pub fn answer(visit: &Visit, signed_in: &SignedIn) -> Answer {
    visit.look(|looked| build(visit, signed_in, looked))
}

/// What a form of the page asks for.
pub fn change(visit: &Visit, sent: &Params) -> Answer {
    let acts = SECTIONS.iter().flat_map(|section| section.acts).copied();
    act::carry_out(visit, sent, acts, &sent.only(&KEPT).href(PATH), told)
}

fn build(visit: &Visit, signed_in: &SignedIn, looked: &mut Looked) -> Result<Answer, Problem> {
    let params = Params::parse(visit.parts.uri.query().unwrap_or_default())?;
    params.without(&KEPT).query().finish()?;
    let powers = Powers::of(visit);
    let project = match params.query().one("project")? {
        Some(text) => Some(project_of(visit, &text)?),
        None if !powers.is_any() => {
            return Err(Problem::not_found("There is nothing here that you may manage."));
        }
        // The only one there is to manage.
        None => match (&powers.projects[..], powers.server) {
            ([only], false) => Some(only.clone()),
            _ => None,
        },
    };
    looked.rows = powers.projects.len() as u64;
    let here = Here { section: Some(OfBar::Administration), scope: None, params: &params };
    let frame = Frame {
        title: "Administration",
        signed_in: Some(signed_in),
        here: Some((PATH, &params)),
        bar: Some(here.bar(visit, signed_in)),
    };
    let kept = project.as_ref().map_or_else(Params::none, |project| of_project(project.id));
    let kept =
        params.only(&["times"]).iter().fold(kept, |kept, (name, value)| kept.and(name, value));
    let shown = Shown {
        visit,
        registry: &visit.catalog.registry,
        powers: &powers,
        user: &signed_in.user,
        project: project.as_ref(),
        forms: Forms::new(visit, signed_in, PATH, kept),
    };
    Ok(Answer::page(StatusCode::OK, page(&frame, shown.main())))
}

/// A project that the one who asks may manage.
fn project_of(visit: &Visit, text: &str) -> Result<Project, Problem> {
    let registry = &visit.catalog.registry;
    let absent = || Problem::not_found(format!("There is no project {text}."));
    let project = registry.find_project(text).ok_or_else(absent)?;
    let object = Object::Project(project.id);
    match authorize(registry, &visit.caller(), Operation::ManageAccess, object) {
        Decision::Allowed => Ok(project.clone()),
        Decision::RoleMissing => Err(Problem::forbidden()),
        Decision::Invisible => Err(absent()),
    }
}

/// What there is to show of what was done.
fn told(reply: Reply) -> Option<Told> {
    let secret = |what, secret| Some(Told::Secret { what, secret });
    let done = |what| Some(Told::Done(what));
    match reply {
        Reply::NewKey(NewKey { public_key, private_key }) => secret(
            format!("Key {public_key} was made. Its public and its private half:"),
            format!("{public_key}:{private_key}"),
        ),
        Reply::NewServiceAccount(NewServiceAccount { client_id, client_secret }) => secret(
            format!("Service account {client_id} was made. Its client id and its secret:"),
            format!("{client_id}:{client_secret}"),
        ),
        Reply::NewUser(NewUser { username, password }) => {
            secret(format!("{username} signs in with this password:"), password.0)
        }
        Reply::NewToken(NewToken { token }) => {
            secret("A token was made, good until it is ended:".to_owned(), token.0)
        }
        Reply::Project(project) => done(format!("Project {} was made.", project.name)),
        Reply::Cluster(cluster) => done(format!("Cluster {} was made.", cluster.name)),
        Reply::Retention(views) => {
            let words = views.iter().map(kept).collect::<Vec<_>>().join("; ");
            done(format!("Decided: {words}."))
        }
        _ => None,
    }
}

fn kept(view: &RetentionView) -> String {
    let whose = view.project.as_ref().map_or_else(|| view.scope.clone(), ToString::to_string);
    match &view.pending {
        None => format!("{whose} is kept {}", limits(&view.limits)),
        Some(pending) => format!(
            "{whose} is kept {} until {}, then {}",
            limits(&view.limits),
            pending.from,
            limits(&pending.limits)
        ),
    }
}

fn limits(limits: &Limits) -> String {
    limits.keep_days.map_or_else(|| "forever".to_owned(), |days| format!("for {days} days"))
}

/// The page as it is shown.
struct Shown<'a> {
    visit: &'a Visit,
    registry: &'a Registry,
    powers: &'a Powers,
    /// Who looks.
    user: &'a str,
    project: Option<&'a Project>,
    forms: Forms<'a>,
}

impl Shown<'_> {
    fn main(&self) -> Markup {
        let is_here = |section: &&&Section| match section.whose {
            Whose::Anyone => self.project.is_none(),
            Whose::Server => self.project.is_none() && self.powers.server,
            Whose::Project => self.project.is_some(),
        };
        html! {
            main #main.sheet {
                @match self.project {
                    Some(project) => {
                        @if self.powers.server || self.powers.projects.len() > 1 {
                            p.back { a href=(PATH) { "← All of the server" } }
                        }
                        div.title { h1 { (shown(&project.name)) } }
                        p.hint { "Project " code { (project.id) } ", since " (when::to_the_second(project.created)) }
                    }
                    None => div.title { h1 { "Administration" } },
                }
                (self.forms.told())
                @for section in SECTIONS.iter().filter(is_here) { ((section.show)(self)) }
            }
        }
    }
}

/// A table with its heading and its forms.
struct Table<'a> {
    title: &'a str,
    /// What its columns are called; those of numbers have [`NUMBER`].
    columns: &'a [(&'a str, &'a str)],
    /// What is said if there is nothing in it.
    none: &'a str,
}

const WORDS: &str = "";
const NUMBER: &str = "num";

impl Table<'_> {
    /// With a row for each thing, up to a number that nobody reads to its end, and what stands below.
    fn of<T>(
        &self,
        things: impl IntoIterator<Item = T>,
        row: impl Fn(&T) -> Markup,
        below: Markup,
    ) -> Markup {
        const ROWS_MAX: usize = 500;
        let things: Vec<T> = things.into_iter().collect();
        html! {
            section.values {
                h2 { (self.title) span.of { (count(things.len() as u64)) } }
                @if things.is_empty() { p.hint { (self.none) } } @else {
                    div.scroll tabindex="0" role="region" aria-label=(self.title) {
                        table {
                            thead { tr { @for (name, class) in self.columns { th class=[(!class.is_empty()).then_some(class)] scope="col" { (name) } } } }
                            tbody { @for thing in things.iter().take(ROWS_MAX) { (row(thing)) } }
                        }
                    }
                }
                @if things.len() > ROWS_MAX {
                    p.hint { "The first " (ROWS_MAX) "; the command line lists all of them." }
                }
                (below)
            }
        }
    }
}

/// Roles that somebody can have, first the one that is meant most often.
fn roles(is_one: fn(Role) -> bool) -> Vec<(String, String)> {
    let usual = Role::ClusterLogViewer;
    let others = Role::ALL.into_iter().filter(|role| *role != usual && is_one(*role));
    let all = std::iter::once(usual).chain(others);
    all.map(|role| (role.api_name().to_owned(), role.title().to_owned())).collect()
}

fn role(sent: &Sent<'_>) -> Result<Role, Wrong> {
    Role::parse(&sent.text("role")).ok_or_else(|| Wrong::new("role", "there is no such role"))
}

fn of_project(project: ProjectId) -> Params {
    Params::none().and("project", &project.to_string())
}
