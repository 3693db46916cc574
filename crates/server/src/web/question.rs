//! [`Question`]: what the address of a page asks of a history, and what one gets where that cannot be answered.

use doorbook_event::Scope;
use maud::{Markup, html};

use super::filters::{self, Asked};
use super::navigation::{Here, scope_of};
use super::page::{Answer, Frame, page};
use super::params::Params;
use super::sessions::SignedIn;
use super::text::{first_hidden, plain, shown};
use super::window::Window;
use super::{Looked, Visit};
use crate::api::native::problem::Problem;

/// What a page is about.
pub struct Question {
    /// Where the page is.
    pub path: &'static str,
    /// Its address.
    pub params: Params,
    /// Whose history.
    pub scope: Scope,
    /// From when to when.
    pub window: Window,
}

impl Question {
    /// As an address says it, if the one who asks may see that history; or where to go instead.
    pub fn of(
        visit: &Visit,
        signed_in: &SignedIn,
        path: &'static str,
        looked: &mut Looked,
    ) -> Result<Result<Question, Answer>, Problem> {
        let params = Params::parse(visit.parts.uri.query().unwrap_or_default())?;
        if params.get("project").is_none() && params.get("namespace").is_none() {
            return Ok(Err(Answer::redirect("/")));
        }
        let scope = looked.scope.insert(scope_of(visit, &params)?).clone();
        let apart = all_seen(&params).and_then(|()| filters::with_times_apart(&params, visit.now));
        match apart {
            Err(problem) => {
                let question = Question { path, params, scope, window: Window::all() };
                Ok(Err(question.unreadable(visit, signed_in, &problem)))
            }
            Ok(Some(apart)) => Ok(Err(Answer::redirect(&apart.href(visit.parts.uri.path())))),
            Ok(None) => {
                let window = Window::of(&params, visit.now)?;
                Ok(Ok(Question { path, params, scope, window }))
            }
        }
    }

    /// What is asked of the history.
    pub fn asked<'a>(&'a self, visit: &'a Visit) -> Asked<'a> {
        let registry = &visit.catalog.registry;
        Asked { app: &visit.app, registry, scope: &self.scope, window: self.window }
    }

    /// Where it is asked.
    pub fn here(&self) -> Here<'_> {
        Here::of(self.path, &self.scope, &self.params)
    }

    /// The page for a search that cannot be read: with the search, and without any row.
    pub fn unreadable(&self, visit: &Visit, signed_in: &SignedIn, problem: &Problem) -> Answer {
        let bar = Some(self.here().bar(visit, signed_in));
        let here = Some((self.path, &self.params));
        let frame = Frame { title: problem.title, signed_in: Some(signed_in), here, bar };
        let main = html! {
            main #main.history {
                div.top {
                    h1 { (problem.title) }
                    (search(self.path, &self.params, Some(problem)))
                }
                section.state {
                    p { "Nothing was answered: an answer to another question would be no answer." }
                    p {
                        a href=(self.params.without(&["q", "cursor"]).href(self.path)) { "Without this search" }
                    }
                }
            }
        };
        Answer::page(problem.status, page(&frame, main))
    }
}

/// A field shows its text as it is, and so would reorder or hide what somebody put into the search of a link. A name with
/// such characters is filtered by with a click, which puts it into a parameter of its own.
fn all_seen(params: &Params) -> Result<(), Problem> {
    let Some((column, c)) = params.get("q").and_then(first_hidden) else { return Ok(()) };
    let what = format!(
        "U+{:04X} cannot be seen here; click on a value that has it to filter by that value",
        u32::from(c)
    );
    Err(Problem::invalid_filter(column, &what))
}

/// What can be typed, and what is wrong with it.
pub fn search(path: &str, params: &Params, wrong: Option<&Problem>) -> Markup {
    let text = params.get("q").unwrap_or_default();
    let kept = params.without(&["q", "cursor", "as_of"]);
    html! {
        form.search method="get" action=(path) role="search" {
            @for (name, value) in kept.iter() {
                input type="hidden" name=(name) value=(value);
            }
            label.hidden for="q" { "Search" }
            input #q type="search" name="q" value=(plain(text)) autocomplete="off" spellcheck="false"
                autocapitalize="none" aria-invalid=[wrong.map(|_| "true")]
                aria-describedby=[wrong.map(|_| "q-wrong")] autofocus[wrong.is_some()]
                placeholder="result:failed user:svc-* ip:10.0.0.0/8 -class:system since:2h";
            button.quiet type="submit" { "Search" }
        }
        @if let Some(problem) = wrong {
            div #q-wrong.search-error role="alert" {
                @if let Some(column) = problem.column {
                    pre.caret aria-hidden="true" { (plain(text)) "\n"
                        (" ".repeat(column.saturating_sub(1).min(text.len()))) "^" }
                }
                // The parameter's name says nothing to who typed into the only field.
                p { (shown(problem.detail.strip_prefix("q, ").unwrap_or(&problem.detail))) }
            }
        }
    }
}
