//! [`Act`]: a form of one request, written once: its fields, and the request that they mean. [`Forms`] shows the forms of
//! a page, and [`carry_out`] does what one of them asks for.
//!
//! A form is behind a summary that has to be opened first, so that nothing is done by one click. One that was refused is
//! open on the next page, with what was typed and why at the field.

use maud::{Markup, html};

use super::Visit;
use super::forms::{self, Told};
use super::page::Answer;
use super::params::Params;
use super::sessions::SignedIn;
use super::states;
use super::text::plain;
use crate::admin::{Reply, Request};

/// A form of one request.
pub struct Act {
    /// The word in `do` that means it, of a page.
    pub word: &'static str,
    /// What opens it.
    pub summary: &'static str,
    /// What should be known before it is sent.
    pub hint: &'static str,
    /// What is typed or chosen.
    pub fields: &'static [Field],
    /// What its button says.
    pub button: &'static str,
    /// What it asks for.
    pub request: fn(&Sent<'_>) -> Result<Request, Wrong>,
    /// What is said when there is nothing else to show of what was done.
    pub done: &'static str,
}

/// A field of a form.
pub struct Field {
    label: &'static str,
    name: &'static str,
    takes: Takes,
}

enum Takes {
    /// A text; one that must be there.
    Text { is_needed: bool },
    /// A number, or nothing.
    Number,
    /// One of these, of which the first stands for what is usual.
    Choice(Choices),
    /// Yes or no.
    Check,
}

/// What can be chosen by who visits: values and what they are called.
type Choices = fn(&Visit) -> Vec<(String, String)>;

impl Field {
    /// A text that must be there.
    pub const fn text(label: &'static str, name: &'static str) -> Field {
        Field { label, name, takes: Takes::Text { is_needed: true } }
    }

    /// A text that may be left out.
    pub const fn optional(label: &'static str, name: &'static str) -> Field {
        Field { label, name, takes: Takes::Text { is_needed: false } }
    }

    /// A number that may be left out.
    pub const fn number(label: &'static str, name: &'static str) -> Field {
        Field { label, name, takes: Takes::Number }
    }

    /// One of several.
    pub const fn choice(label: &'static str, name: &'static str, choices: Choices) -> Field {
        Field { label, name, takes: Takes::Choice(choices) }
    }

    /// A box to tick.
    pub const fn check(label: &'static str, name: &'static str) -> Field {
        Field { label, name, takes: Takes::Check }
    }
}

/// What a form sent.
pub struct Sent<'a> {
    params: &'a Params,
    /// Who sent it.
    pub by: &'a str,
}

impl Sent<'_> {
    /// A field, without space around it.
    pub fn text(&self, name: &str) -> String {
        self.params.get(name).unwrap_or_default().trim().to_owned()
    }

    /// A field that says something.
    pub fn some(&self, name: &str) -> Option<String> {
        Some(self.text(name)).filter(|text| !text.is_empty())
    }

    /// Whether a box is ticked.
    pub fn is_ticked(&self, name: &str) -> bool {
        self.params.get(name).is_some()
    }
}

/// A field that cannot be read.
pub struct Wrong {
    field: &'static str,
    why: String,
}

impl Wrong {
    /// Of a field.
    pub fn new(field: &'static str, why: impl Into<String>) -> Wrong {
        Wrong { field, why: why.into() }
    }
}

/// What was refused, for the page on which the form is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Why.
    pub why: String,
    sent: Params,
    field: Option<&'static str>,
}

impl Refused {
    /// Of a form of another page, as it was sent.
    pub fn new(params: &Params, why: String, field: Option<&'static str>) -> Refused {
        let kept = params.without(&["token"]);
        let sent = if kept.text().len() > KEPT_BYTES_MAX { Params::none() } else { kept };
        Refused { why, sent, field }
    }
}

/// As much of what was typed is kept for the next page: the longest filter, and all else that anyone types.
const KEPT_BYTES_MAX: usize = 16 * 1024;

/// Does what a form asks for, and goes on to where it is told.
pub fn carry_out(
    visit: &Visit,
    params: &Params,
    acts: impl IntoIterator<Item = &'static Act>,
    back: &str,
    told: fn(Reply) -> Option<Told>,
) -> Answer {
    let word = params.get("do").unwrap_or_default();
    let Some(act) = acts.into_iter().find(|act| act.word == word) else {
        return states::unreadable(visit);
    };
    let by = visit.signed_in.as_ref().map_or("", |signed_in| &*signed_in.user);
    let refused = |why: String, field: Option<&'static str>| {
        forms::go_on(visit, back, Told::Refused(Box::new(Refused::new(params, why, field))))
    };
    let request = match (act.request)(&Sent { params, by }) {
        Ok(request) => request,
        Err(Wrong { field, why }) => return refused(why, Some(field)),
    };
    match forms::execute(visit, request) {
        Err(answer) => answer,
        // What is wrong is one of the fields; of one alone it is known which.
        Ok(Err(why)) => match act.fields {
            [only] => refused(why, Some(only.name)),
            _ => refused(why, None),
        },
        Ok(Ok(reply)) => {
            let done = || Told::Done(act.done.to_owned());
            forms::go_on(visit, back, told(reply).unwrap_or_else(done))
        }
    }
}

/// The forms of a page.
pub struct Forms<'a> {
    visit: &'a Visit,
    signed_in: &'a SignedIn,
    /// Where they are sent.
    path: &'a str,
    /// What each of them carries, so that the next page is this one.
    kept: Params,
    told: Option<Told>,
}

impl<'a> Forms<'a> {
    /// Of a page, with what is to be told of the form before.
    pub fn new(visit: &'a Visit, signed_in: &'a SignedIn, path: &'a str, kept: Params) -> Self {
        Forms { visit, signed_in, path, kept, told: forms::take_told(visit) }
    }

    /// What was done, or why not.
    pub fn told(&self) -> Markup {
        html! { @if let Some(told) = &self.told { (forms::notice(told)) } }
    }

    /// A form about what the hidden values name.
    pub fn form(&self, act: &Act, about: &[(&str, &str)]) -> Markup {
        self.filled(act, about, &Params::none(), false)
    }

    /// The same, with what its fields say at first, and open if that is what the page is for.
    pub fn filled(
        &self,
        act: &Act,
        about: &[(&str, &str)],
        values: &Params,
        is_open: bool,
    ) -> Markup {
        let refused = self.refused(act, about);
        let is_open = refused.is_some() || is_open;
        let values = refused.map_or(values, |refused| &refused.sent);
        let shown = Shown { visit: self.visit, refused, values, first: act.fields.first() };
        let is_of_none =
            |refused: &&Refused| !act.fields.iter().any(|f| Some(f.name) == refused.field);
        html! {
            details.act open[is_open] {
                summary { (act.summary)
                    // Forms of many rows are called alike, and some hear them without their row.
                    @if let Some((_, of)) = about.last().filter(|(_, of)| !of.is_empty()) { span.hidden { " " (plain(of)) } }
                }
                form method="post" action=(self.path) {
                    (forms::token(self.signed_in))
                    input type="hidden" name="do" value=(act.word);
                    @for (name, value) in self.kept.iter().chain(about.iter().copied()) {
                        input type="hidden" name=(name) value=(value);
                    }
                    @if let Some(refused) = refused.filter(is_of_none) { (why(refused)) }
                    @for field in act.fields { (shown.field(field)) }
                    @if !act.hint.is_empty() { p.hint { (act.hint) } }
                    button.primary type="submit" { (act.button) }
                }
            }
        }
    }

    /// What the form of these words sent that was refused; of one that is shown elsewhere.
    pub fn sent(&self, words: &[&str]) -> Option<&Params> {
        let Some(Told::Refused(refused)) = &self.told else { return None };
        refused.sent.get("do").filter(|word| words.contains(word)).map(|_| &refused.sent)
    }

    /// Why this very form was refused, if it was.
    fn refused(&self, act: &Act, about: &[(&str, &str)]) -> Option<&Refused> {
        let Some(Told::Refused(refused)) = &self.told else { return None };
        let is_its = |(name, value): (&str, &str)| refused.sent.get(name) == Some(value);
        let mut named = self.kept.iter().chain(about.iter().copied()).chain([("do", act.word)]);
        named.all(is_its).then_some(refused)
    }
}

/// A form as it is shown.
struct Shown<'a> {
    visit: &'a Visit,
    refused: Option<&'a Refused>,
    values: &'a Params,
    first: Option<&'a Field>,
}

impl Shown<'_> {
    fn field(&self, field: &Field) -> Markup {
        let value = self.values.get(field.name);
        let wrong = self.refused.filter(|refused| refused.field == Some(field.name));
        // Whoever corrects it types on at once; of no field in particular at the first.
        let is_first = self.first.is_some_and(|first| first.name == field.name);
        let has_focus =
            wrong.is_some() || self.refused.is_some_and(|r| r.field.is_none() && is_first);
        let describes = has_focus.then_some("wrong");
        let text = |kind: Option<&str>, is_needed: bool| {
            html! {
                input type="text" inputmode=[kind] name=(field.name) value=[value.map(plain)]
                    required[is_needed] autocomplete="off" autocapitalize="none" spellcheck="false"
                    aria-invalid=[wrong.map(|_| "true")] aria-describedby=[describes] autofocus[has_focus];
            }
        };
        let input = match field.takes {
            Takes::Text { is_needed } => text(None, is_needed),
            Takes::Number => text(Some("numeric"), false),
            Takes::Check => {
                return html! {
                    label.choice {
                        input type="checkbox" name=(field.name) value="yes" checked[value.is_some()];
                        " " (field.label)
                    }
                };
            }
            Takes::Choice(choices) => html! {
                select name=(field.name) aria-invalid=[wrong.map(|_| "true")] aria-describedby=[describes]
                    autofocus[has_focus] {
                    @for (choice, label) in choices(self.visit) {
                        option value=(choice) selected[value == Some(&*choice)] { (plain(&label)) }
                    }
                }
            },
        };
        html! {
            label { (field.label) " " (input) }
            @if let Some(refused) = wrong { (why(refused)) }
        }
    }
}

/// Why a form was refused; at most one of a page was.
fn why(refused: &Refused) -> Markup {
    html! { p.wrong #wrong { (forms::lines(&refused.why)) } }
}
