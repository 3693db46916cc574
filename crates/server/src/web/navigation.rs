//! Where somebody is and may go: whose history a page is about, and the bar that leads to every page of it.

use doorbook_event::Scope;
use maud::{Markup, html};

use super::administration::{self, Powers};
use super::params::Params;
use super::sessions::SignedIn;
use super::text::shown;
use super::{Visit, reviews};
use crate::api::native::filter;
use crate::api::native::problem::Problem;
use crate::auth::{Decision, Object, Operation, authorize};

/// A page that the bar leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// Who came to a project's databases.
    AccessHistory,
    /// What was done with a namespace's arrays.
    ArrayActivity,
    /// Who was seen.
    Principals,
    /// Who watches.
    Sources,
    /// What is looked through, and was signed.
    Reviews,
    /// What there is, and who may what.
    Administration,
}

impl Section {
    /// Which kind of history it is of; `None` is either.
    const fn is_arrays(self) -> Option<bool> {
        match self {
            Section::AccessHistory => Some(false),
            Section::ArrayActivity => Some(true),
            Section::Principals | Section::Sources | Section::Reviews | Section::Administration => {
                None
            }
        }
    }
}

fn is_of_arrays(scope: &Scope) -> bool {
    matches!(scope, Scope::Namespace(_))
}

/// The bar, in its order: what a page is called, where it is, and which parameters go along. **A page that is to be
/// in the bar has its row here.**
const SECTIONS: [(Section, &str, &str, &[&str]); 6] = [
    (Section::AccessHistory, "Access history", "/history", &WITH_WINDOW),
    (Section::ArrayActivity, "Array activity", "/history", &WITH_WINDOW),
    (Section::Principals, "Principals", "/principals", &WITH_WINDOW),
    (Section::Sources, "Sources", "/sources", &ALWAYS),
    (Section::Reviews, "Reviews", "/reviews", &ALWAYS),
    (Section::Administration, "Administration", administration::PATH, &ALWAYS),
];

/// Whose history, and how times are shown.
const ALWAYS: [&str; 3] = ["project", "namespace", "times"];

/// The same, of which array and of which time, for pages that are about one.
const WITH_WINDOW: [&str; 7] = ["project", "namespace", "array", "times", "last", "from", "to"];

/// A history that somebody may see.
pub struct Place {
    /// Which kind of thing has it.
    pub kind: &'static str,
    /// What that is called.
    pub name: String,
    /// What an address says to mean it.
    pub params: Params,
    is_arrays: bool,
}

impl Place {
    /// The history itself.
    pub fn href(&self) -> String {
        self.params.href("/history")
    }
}

/// The projects in which a user has a role, the namespaces that are the user's, and the arrays that are
/// shared with the user.
pub fn places(visit: &Visit, signed_in: &SignedIn) -> Vec<Place> {
    let registry = &visit.catalog.registry;
    let arrays = registry.arrays();
    let user = &*signed_in.user;
    let params = |name: &str, value: &str| Params::default().and(name, value);
    let mut all: Vec<Place> = registry
        .roles_of_user(user)
        .map(|(project, _)| Place {
            kind: "Project",
            name: project.name.to_string(),
            params: params("project", &project.id.to_string()),
            is_arrays: false,
        })
        .collect();
    for namespace in arrays.namespaces() {
        let of_namespace = params("namespace", namespace);
        if arrays.owns(user, namespace) {
            if arrays.arrays_of(namespace).next().is_some() {
                let (name, params) = (namespace.to_string(), of_namespace);
                all.push(Place { kind: "Arrays", name, params, is_arrays: true });
            }
            continue;
        }
        let caller = visit.caller();
        for array in arrays.arrays_of(namespace) {
            let decision =
                authorize(registry, &caller, Operation::ReadHistory, Object::Array(array));
            if decision == Decision::Allowed {
                let params = of_namespace.and("array", &array.id.to_string());
                let name = format!("{namespace}/{}", array.name);
                all.push(Place { kind: "Array", name, params, is_arrays: true });
            }
        }
    }
    all.sort_by(|a, b| (b.kind, &a.name).cmp(&(a.kind, &b.name)));
    all
}

/// Whose history an address means, if the one who asks may read it.
pub fn scope_of(visit: &Visit, params: &Params) -> Result<Scope, Problem> {
    let registry = &visit.catalog.registry;
    let caller = visit.caller();
    let may = |object: Object<'_>| authorize(registry, &caller, Operation::ReadHistory, object);
    for name in ["project", "namespace"] {
        params.query().one(name)?;
    }
    match (params.get("project"), params.get("namespace")) {
        (Some(_), Some(_)) => {
            Err(Problem::invalid_parameter("namespace", "either this or project"))
        }
        (Some(text), None) => {
            let absent = || Problem::not_found(format!("There is no project {text}."));
            let id = registry.find_project(text).map(|project| project.id).ok_or_else(absent)?;
            match may(Object::Project(id)) {
                Decision::Allowed => Ok(Scope::Project(id)),
                Decision::RoleMissing => Err(Problem::forbidden()),
                Decision::Invisible => Err(absent()),
            }
        }
        (None, name) => {
            let name = name.unwrap_or_default();
            let scope = || Scope::Namespace(name.into());
            let arrays = filter::arrays(&params.query());
            let is_allowed = |text: &String| {
                let array = registry.arrays().find(name, text);
                array.is_some_and(|array| may(Object::Array(array)) == Decision::Allowed)
            };
            match may(Object::Namespace(name)) {
                Decision::Allowed => Ok(scope()),
                Decision::RoleMissing if !arrays.is_empty() && arrays.iter().all(is_allowed) => {
                    Ok(scope())
                }
                Decision::RoleMissing => Err(Problem::forbidden()),
                Decision::Invisible => {
                    Err(Problem::not_found(format!("There is no namespace {name}.")))
                }
            }
        }
    }
}

/// Where a page is.
pub struct Here<'a> {
    /// Which page it is, if it is one of the bar's.
    pub section: Option<Section>,
    /// Whose history it is about.
    pub scope: Option<&'a Scope>,
    /// Its address.
    pub params: &'a Params,
}

impl Here<'_> {
    /// A page that is about nobody's history.
    pub fn nowhere() -> Here<'static> {
        static NONE: Params = Params::none();
        Here { section: None, scope: None, params: &NONE }
    }

    /// The page of a history that is at a path, or below it.
    pub fn of<'a>(path: &str, scope: &'a Scope, params: &'a Params) -> Here<'a> {
        let is_right =
            |section: Section| section.is_arrays().is_none_or(|is| is == is_of_arrays(scope));
        let row =
            SECTIONS.iter().find(|(section, _, known, _)| *known == path && is_right(*section));
        Here { section: row.map(|(section, ..)| *section), scope: Some(scope), params }
    }

    /// Whose history one may choose, and the pages that there are of it.
    pub fn bar(&self, visit: &Visit, signed_in: &SignedIn) -> Markup {
        let all = places(visit, signed_in);
        let links: Vec<(Section, &str, String)> = SECTIONS
            .iter()
            .filter_map(|(section, label, path, kept)| {
                let params = match section {
                    Section::Administration => self.params_to_manage(visit)?,
                    Section::Reviews => self.params_for(*section, &all).or_else(|| {
                        // Who manages them sees which there are, and no history.
                        reviews::are_managed(visit).then(|| self.params.only(&["times"]))
                    })?,
                    Section::Sources if !self.may_read_all(visit) => None?,
                    section => self.params_for(*section, &all)?,
                };
                Some((*section, *label, params.only(kept).href(path)))
            })
            .collect();
        html! {
            (self.chooser(visit, &all))
            @if !links.is_empty() {
                nav.sections aria-label="Pages of Doorbook" {
                    @for (section, label, href) in &links {
                        a href=(href) aria-current=[(self.section == Some(*section)).then_some("page")] { (label) }
                    }
                }
            }
        }
    }

    /// Whether it is a history as a whole that one sees, and not that of an array which is shared.
    fn may_read_all(&self, visit: &Visit) -> bool {
        let registry = &visit.catalog.registry;
        self.scope.is_none_or(|scope| {
            let decision = authorize(registry, &visit.caller(), Operation::ReadHistory, scope);
            decision == Decision::Allowed
        })
    }

    /// The same of the administration, for who may: of the project at hand, if it is among what they may manage.
    fn params_to_manage(&self, visit: &Visit) -> Option<Params> {
        let powers = Powers::of(visit);
        let is_managed = self.params.get("project").is_some_and(|project| powers.has(project));
        let kept = if is_managed { &["project", "times"][..] } else { &["times"] };
        powers.is_any().then(|| self.params.only(kept))
    }

    /// What the address of a section says from here: the history that the page is about where the section has one of
    /// that kind, else the first that has.
    fn params_for(&self, section: Section, all: &[Place]) -> Option<Params> {
        let is_right = |is_arrays: bool| section.is_arrays().is_none_or(|is| is == is_arrays);
        if self.scope.is_some_and(|scope| is_right(is_of_arrays(scope))) {
            return Some(self.params.clone());
        }
        let other = all.iter().find(|place| is_right(place.is_arrays))?;
        let shown = self.params.without(&["project", "namespace", "array"]);
        Some(
            shown
                .iter()
                .fold(other.params.clone(), |params, (name, value)| params.and(name, value)),
        )
    }

    fn chooser(&self, visit: &Visit, all: &[Place]) -> Markup {
        let Some(scope) = self.scope else { return html! {} };
        let registry = &visit.catalog.registry;
        let name = match scope {
            Scope::Project(id) => registry.project(*id).map(|project| project.name.to_string()),
            Scope::Namespace(name) => Some(name.to_string()),
            Scope::System => None,
        };
        let name = name.unwrap_or_default();
        let path = SECTIONS.iter().find(|(section, ..)| Some(*section) == self.section);
        let path = path.map_or("/history", |(_, _, path, _)| *path);
        html! {
            details.chooser {
                summary { span.hidden { "History of " } (shown(&name)) }
                ul {
                    @for place in all {
                        li {
                            a href=(place.params.href(path)) aria-current=[(place.name == name).then_some("page")] {
                                span.kind { (place.kind) } (shown(&place.name))
                            }
                        }
                    }
                }
            }
        }
    }
}
