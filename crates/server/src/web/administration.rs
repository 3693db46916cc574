//! Projects, clusters, keys, roles, users and how long events are kept: what a command of the command line changes, changed
//! by the same requests.

use axum::http::StatusCode;
use doorbook_event::arrays::User;
use doorbook_event::registry::{Key, Project, Registry, Role};
use doorbook_event::retention::Limits;
use doorbook_event::{ProjectId, Scope, Text};
use maud::{Markup, html};

use super::forms::{self, Told};
use super::navigation::{Here, Section};
use super::page::{Answer, Frame, page};
use super::params::Params;
use super::sessions::SignedIn;
use super::states;
use super::text::shown;
use super::when::{self, count};
use super::{Looked, Visit};
use crate::admin::arrays::{ArraysRequest, NewUser};
use crate::admin::request::{NewKey, RetentionView};
use crate::admin::{Reply, Request};
use crate::api::native::problem::Problem;
use crate::auth::{Decision, Object, Operation, authorize};

/// Where it is.
pub const PATH: &str = "/admin";

/// Rows of a table that nobody reads to its end.
const ROWS_MAX: usize = 500;

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

fn build(visit: &Visit, signed_in: &SignedIn, looked: &mut Looked) -> Result<Answer, Problem> {
    let params = Params::parse(visit.parts.uri.query().unwrap_or_default())?;
    params.without(&["project", "times"]).query().finish()?;
    let powers = Powers::of(visit);
    let registry = &visit.catalog.registry;
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
    let here = Here { section: Some(Section::Administration), scope: None, params: &params };
    let frame = Frame {
        title: "Administration",
        signed_in: Some(signed_in),
        here: Some((PATH, &params)),
        bar: Some(here.bar(visit, signed_in)),
    };
    let shown = Shown { visit, signed_in, registry, powers: &powers, project: project.as_ref() };
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

/// What a form of the page asks for.
pub fn change(visit: &Visit, sent: &Params) -> Answer {
    let back = sent.only(&["project", "times"]).href(PATH);
    let request = match request(sent) {
        Ok(Some(request)) => request,
        Ok(None) => return states::unreadable(visit),
        Err(why) => return forms::go_on(visit, &back, Told::NotDone(why)),
    };
    match forms::execute(visit, request) {
        Err(refused) => refused,
        Ok(Err(why)) => forms::go_on(visit, &back, Told::NotDone(why)),
        Ok(Ok(reply)) => forms::go_on(visit, &back, told(reply)),
    }
}

/// The request that a form means. `None`: there is no such form; an error: a field that cannot be read.
fn request(sent: &Params) -> Result<Option<Request>, String> {
    let text = |name: &str| sent.get(name).unwrap_or_default().trim().to_owned();
    // The project of the page and that of a form's own field are not the same thing.
    let project = || text("project");
    let role = || Role::parse(&text("role")).ok_or("there is no such role");
    let days = |name: &str| match text(name) {
        text if text.is_empty() => Ok(None),
        text => text.parse::<u32>().map(Some).map_err(|_| format!("{text} is no number of days")),
    };
    Ok(Some(match sent.get("do").unwrap_or_default() {
        "create-project" => Request::ProjectCreate { name: text("name"), id: None },
        "create-cluster" => {
            let hosts = text("hosts");
            let hosts = hosts.split([' ', ',', '\n', '\r']).filter(|host| !host.is_empty());
            let hosts = hosts.map(str::to_owned).collect();
            Request::ClusterCreate { name: text("name"), project: project(), hosts }
        }
        "add-host" => Request::HostAdd {
            project: project(),
            cluster: text("cluster"),
            host: text("host"),
            aliases: Vec::new(),
        },
        "create-key" => Request::KeyCreate { project: project(), role: role()?, agent: None },
        "end-key" => Request::KeyDelete { public_key: text("key") },
        "grant" => Request::Arrays(ArraysRequest::UserGrant {
            user: text("user"),
            project: project(),
            role: role()?,
        }),
        "revoke" => {
            Request::Arrays(ArraysRequest::UserRevoke { user: text("user"), project: project() })
        }
        "create-user" => {
            Request::Arrays(ArraysRequest::UserCreate { name: text("name"), password: None })
        }
        "change-password" => {
            Request::Arrays(ArraysRequest::UserPassword { name: text("user"), password: None })
        }
        "make-administrator" => Request::Administrator { user: text("user"), is_one: true },
        "unmake-administrator" => Request::Administrator { user: text("user"), is_one: false },
        "keep" => Request::RetentionSet {
            project: Some(text("of-project")).filter(|text| !text.is_empty()),
            namespace: Some(text("of-namespace")).filter(|text| !text.is_empty()),
            keep_days: days("keep")?,
            minimum_days: days("minimum")?,
        },
        _ => return Ok(None),
    }))
}

/// What there is to say of what was done.
fn told(reply: Reply) -> Told {
    match reply {
        Reply::NewKey(NewKey { public_key, private_key }) => Told::Secret {
            what: format!("Key {public_key} was made. Its public and its private half:"),
            secret: format!("{public_key}:{private_key}"),
        },
        Reply::NewUser(NewUser { username, password }) => Told::Secret {
            what: format!("{username} signs in with this password:"),
            secret: password.0,
        },
        Reply::Project(project) => Told::Done(format!("Project {} was made.", project.name)),
        Reply::Cluster(cluster) => Told::Done(format!("Cluster {} was made.", cluster.name)),
        Reply::Host(host) => Told::Done(format!("Host {} was added.", host.name)),
        Reply::Retention(views) => {
            let words = views.iter().map(kept).collect::<Vec<_>>().join("; ");
            Told::Done(format!("Decided: {words}."))
        }
        _ => Told::Done("Done.".to_owned()),
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
    signed_in: &'a SignedIn,
    registry: &'a Registry,
    powers: &'a Powers,
    project: Option<&'a Project>,
}

impl Shown<'_> {
    fn main(&self) -> Markup {
        html! {
            main #main.sheet {
                @match self.project {
                    Some(project) => {
                        @if self.powers.server || self.powers.projects.len() > 1 {
                            p.back { a href=(PATH) { "← All of the server" } }
                        }
                        div.title { h1 { (shown(&project.name)) } }
                        p.hint { "Project " code { (project.id) } ", since " (when::to_the_second(project.created)) }
                        (forms::told(self.visit))
                        (self.roles(project))
                        (self.keys(project))
                        (self.clusters(project))
                    }
                    None => {
                        div.title { h1 { "Administration" } }
                        (forms::told(self.visit))
                        (self.projects())
                        @if self.powers.server {
                            (self.users())
                            (self.retention())
                            (self.arrays())
                        }
                    }
                }
            }
        }
    }

    fn projects(&self) -> Markup {
        let counted = |project: &Project| {
            let keys = self.registry.keys().filter(|key| key.project == project.id).count();
            (
                self.registry.clusters(project.id).count(),
                self.registry.hosts(project.id).count(),
                keys,
            )
        };
        html! {
            section.values {
                h2 { "Projects" span.of { (count(self.powers.projects.len() as u64)) } }
                div.scroll tabindex="0" role="region" aria-label="Projects" {
                    table {
                        thead { tr {
                            th scope="col" { "Project" } th scope="col" { "Id" }
                            th.num scope="col" { "Clusters" } th.num scope="col" { "Hosts" } th.num scope="col" { "Keys" }
                        } }
                        tbody {
                            @for project in self.powers.projects.iter().take(ROWS_MAX) {
                                @let (clusters, hosts, keys) = counted(project);
                                tr {
                                    th scope="row" {
                                        a href=(of_project(project.id).href(PATH)) { (shown(&project.name)) }
                                    }
                                    td { code { (project.id) } }
                                    td.num { (count(clusters as u64)) }
                                    td.num { (count(hosts as u64)) }
                                    td.num { (count(keys as u64)) }
                                }
                            }
                        }
                    }
                }
                @if self.powers.server {
                    (self.form("New project…", "create-project", "Make it", html! { (field("Name", "name")) }))
                }
            }
        }
    }

    fn users(&self) -> Markup {
        let users: Vec<&User> = self.registry.arrays().users().collect();
        html! {
            section.values {
                h2 { "Users" span.of { (count(users.len() as u64)) } }
                div.scroll tabindex="0" role="region" aria-label="Users" {
                    table {
                        thead { tr {
                            th scope="col" { "User" } th scope="col" { "Since" }
                            th scope="col" { "Roles" } th scope="col" { "Change" }
                        } }
                        tbody { @for user in users.iter().take(ROWS_MAX) { (self.user(user)) } }
                    }
                }
                p.hint { "A role in a project is granted on the page of that project." }
                (self.form("New user…", "create-user", "Make it", html! { (field("Name", "name")) }))
            }
        }
    }

    fn user(&self, user: &User) -> Markup {
        let is_administrator = self.registry.is_administrator(&user.name);
        let (what, word) = match is_administrator {
            true => ("unmake-administrator", "No longer an administrator…"),
            false => ("make-administrator", "Make an administrator…"),
        };
        let who = html! { input type="hidden" name="user" value=(user.name); };
        html! {
            tr {
                th scope="row" { (shown(&user.name)) @if is_administrator { " " span.tag { "administrator" } } }
                td.when { (when::to_the_second(user.created)) }
                td {
                    @for (project, role) in self.registry.roles_of_user(&user.name) {
                        div { (role.title()) " in " a href=(of_project(project.id).href(PATH)) { (shown(&project.name)) } }
                    }
                }
                td {
                    (self.form("Another password…", "change-password", "Make a new password", html! { (who)
                        p { "It is shown once. Who is signed in with the old one is no more." } }))
                    (self.form(word, what, "Do it", html! { (who) }))
                }
            }
        }
    }

    fn retention(&self) -> Markup {
        let views = match self
            .visit
            .app
            .admin()
            .execute_for(&self.visit.caller(), Request::RetentionList)
        {
            Ok(Reply::Retention(views)) => views,
            _ => Vec::new(),
        };
        html! {
            section.values {
                h2 { "How long events are kept" }
                p { "Longer holds at once, shorter after seven days: nobody who gets hold of a password makes the traces vanish before anyone looks." }
                div.scroll tabindex="0" role="region" aria-label="How long events are kept" {
                    table {
                        thead { tr {
                            th scope="col" { "Whose" } th scope="col" { "Kept" } th scope="col" { "At least" }
                            th scope="col" { "Decided" } th scope="col" { "Change" }
                        } }
                        tbody { @for view in views.iter().take(ROWS_MAX) { (self.retained(view)) } }
                    }
                }
            }
        }
    }

    fn retained(&self, view: &RetentionView) -> Markup {
        let namespace = match view.scope.parse() {
            Ok(Scope::Namespace(name)) => Some(name),
            _ => None,
        };
        let (whose, of) = match (&view.project, &namespace) {
            (Some(name), _) => {
                (shown(name), html! { input type="hidden" name="of-project" value=(name); })
            }
            (None, Some(name)) => (
                html! { (shown(name)) " (arrays)" },
                html! { input type="hidden" name="of-namespace" value=(name); },
            ),
            (None, None) => (html! { "Doorbook's own history" }, html! {}),
        };
        html! {
            tr {
                th scope="row" { (whose) }
                td { (limits(&view.limits)) }
                td { (view.limits.minimum_days) " days" }
                td { @match &view.pending {
                    Some(pending) => { (limits(&pending.limits)) " from " (when::to_the_second(pending.from)) }
                    None => span.empty { "–" },
                } }
                td {
                    (self.form("Change…", "keep", "Decide", html! { (of)
                        label { "Days; empty is forever " input type="text" inputmode="numeric" name="keep" autocomplete="off"; }
                        label { "Never fewer than; empty is as before "
                            input type="text" inputmode="numeric" name="minimum" autocomplete="off"; } }))
                }
            }
        }
    }

    fn arrays(&self) -> Markup {
        let arrays = self.registry.arrays();
        html! {
            section.values {
                h2 { "Arrays" span.of { (count(arrays.arrays().count() as u64)) } }
                @if arrays.arrays().next().is_none() { p.hint { "None is registered." } } @else {
                    div.scroll tabindex="0" role="region" aria-label="Arrays" {
                        table {
                            thead { tr {
                                th scope="col" { "Namespace" } th scope="col" { "Name" }
                                th scope="col" { "Stored at" } th scope="col" { "Since" }
                            } }
                            tbody {
                                @for array in arrays.arrays().take(ROWS_MAX) {
                                    tr {
                                        td { (shown(&array.namespace)) } th scope="row" { (shown(&array.name)) }
                                        td { (shown(&array.uri)) } td.when { (when::to_the_second(array.created)) }
                                    }
                                }
                            }
                        }
                    }
                }
                p.hint { "Arrays are registered by TileDB's clients and " code { "doorbook array register" } "." }
            }
        }
    }

    fn roles(&self, project: &Project) -> Markup {
        let of = |user: &User| {
            Some((user.name.clone(), self.registry.role_of_user(&user.name, project.id)?))
        };
        let roles: Vec<(Text, Role)> = self.registry.arrays().users().filter_map(of).collect();
        let choices = Role::ALL.into_iter().filter(|role| *role != Role::Shipper);
        html! {
            section.values {
                h2 { "Roles of users" span.of { (count(roles.len() as u64)) } }
                @if roles.is_empty() { p.hint { "No user has a role here." } } @else {
                    div.scroll tabindex="0" role="region" aria-label="Roles of users" {
                        table {
                            thead { tr {
                                th scope="col" { "User" } th scope="col" { "Role" } th scope="col" { "Change" }
                            } }
                            tbody { @for (user, role) in roles.iter().take(ROWS_MAX) {
                                tr {
                                    th scope="row" { (shown(user)) }
                                    td { (role.title()) div.more { code { (role.api_name()) } } }
                                    td { (self.form("Take away…", "revoke", "Take the role away", html! {
                                        input type="hidden" name="user" value=(user); })) }
                                }
                            } }
                        }
                    }
                }
                (self.form("Grant a role…", "grant", "Grant", html! {
                    (field("User", "user"))
                    (role_choice(choices, Role::ClusterLogViewer))
                }))
            }
        }
    }

    fn keys(&self, project: &Project) -> Markup {
        let keys: Vec<&Key> =
            self.registry.keys().filter(|key| key.project == project.id).collect();
        html! {
            section.values {
                h2 { "Keys" span.of { (count(keys.len() as u64)) } }
                @if keys.is_empty() { p.hint { "None." } } @else {
                    div.scroll tabindex="0" role="region" aria-label="Keys" {
                        table {
                            thead { tr {
                                th scope="col" { "Public half" } th scope="col" { "Role" }
                                th scope="col" { "Agent" } th scope="col" { "Since" } th scope="col" { "Change" }
                            } }
                            tbody { @for key in keys.iter().take(ROWS_MAX) {
                                tr {
                                    th scope="row" { code { (key.public) } }
                                    td { (key.role.title()) }
                                    td { @if let Some(agent) = &key.agent { (shown(agent)) } @else { span.empty { "–" } } }
                                    td.when { (when::to_the_second(key.created)) }
                                    td { (self.form("End it…", "end-key", "End this key", html! {
                                        input type="hidden" name="key" value=(key.public);
                                        p { "Programs that use it are refused at once." } })) }
                                }
                            } }
                        }
                    }
                }
                (self.form("New key…", "create-key", "Make it", role_choice(Role::ALL.into_iter(), Role::ClusterLogViewer)))
            }
        }
    }

    fn clusters(&self, project: &Project) -> Markup {
        let clusters: Vec<_> = self.registry.clusters(project.id).collect();
        html! {
            section.values {
                h2 { "Clusters" span.of { (count(clusters.len() as u64)) } }
                @if clusters.is_empty() { p.hint { "None." } } @else {
                    div.scroll tabindex="0" role="region" aria-label="Clusters" {
                        table {
                            thead { tr { th scope="col" { "Cluster" } th scope="col" { "Hosts" } th scope="col" { "Since" } } }
                            tbody { @for cluster in clusters.iter().take(ROWS_MAX) {
                                tr {
                                    th scope="row" { (shown(&cluster.name)) }
                                    td {
                                        @for host in self.registry.hosts(project.id).filter(|host| host.cluster == cluster.name) {
                                            div { (shown(&host.name.to_string()))
                                                @for alias in &host.aliases { span.more { "also " (shown(alias)) } } }
                                        }
                                        @if self.powers.server {
                                            (self.form("Add a host…", "add-host", "Add", html! {
                                                input type="hidden" name="cluster" value=(cluster.name);
                                                (field("Host, with its port if that is not 27017", "host")) }))
                                        }
                                    }
                                    td.when { (when::to_the_second(cluster.created)) }
                                }
                            } }
                        }
                    }
                }
                @if self.powers.server {
                    (self.form("New cluster…", "create-cluster", "Make it", html! {
                        (field("Name", "name")) (field("Hosts, with spaces between", "hosts")) }))
                }
            }
        }
    }

    /// A form that has to be opened first, so that nothing is done by one click.
    fn form(&self, summary: &str, what: &str, word: &str, fields: Markup) -> Markup {
        html! {
            details.act {
                summary { (summary) }
                form method="post" action=(PATH) {
                    (forms::token(self.signed_in))
                    input type="hidden" name="do" value=(what);
                    @if let Some(project) = self.project {
                        input type="hidden" name="project" value=(project.id);
                    }
                    (fields)
                    button.primary type="submit" { (word) }
                }
            }
        }
    }
}

fn of_project(project: ProjectId) -> Params {
    Params::none().and("project", &project.to_string())
}

fn field(label: &str, name: &str) -> Markup {
    html! { label { (label) " " input type="text" name=(name) required autocomplete="off" autocapitalize="none" spellcheck="false"; } }
}

fn role_choice(roles: impl Iterator<Item = Role>, usual: Role) -> Markup {
    html! {
        label { "Role "
            select name="role" {
                @for role in roles {
                    option value=(role.api_name()) selected[role == usual] { (role.title()) }
                }
            }
        }
    }
}
