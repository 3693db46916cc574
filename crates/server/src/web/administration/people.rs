//! Users and organizations.

use doorbook_event::Text;
use doorbook_event::arrays::{Organization, User};
use maud::{Markup, html};

use super::super::act::{Act, Field, Sent, Wrong};
use super::super::text::shown;
use super::super::when::{self, count};
use super::{PATH, Section, Shown, Table, WORDS, Whose, of_project};
use crate::admin::Request;
use crate::admin::arrays::ArraysRequest;

pub const USERS: Section = Section {
    whose: Whose::Server,
    show: users,
    acts: &[&NEW_USER, &PASSWORD, &NEW_TOKEN, &END_TOKENS, &ADMINISTRATOR, &NO_ADMINISTRATOR],
};

static NEW_USER: Act = Act {
    word: "create-user",
    summary: "New user…",
    hint: "A password is made, and shown once.",
    fields: &[Field::text("Name", "name")],
    button: "Make it",
    request: |sent| {
        let name = sent.text("name");
        Ok(Request::Arrays(ArraysRequest::UserCreate { name, password: None }))
    },
    done: "The user was made.",
};

static PASSWORD: Act = Act {
    word: "change-password",
    summary: "Another password…",
    hint: "It is shown once. Who is signed in with the old one is no more, nor are clients that logged in with it.",
    fields: &[Field::check("End the tokens that were made for programs, too", "end-tokens")],
    button: "Make a new password",
    request: |sent| {
        let name = sent.text("user");
        // The session ends with the password, and nobody would see the new one.
        if name == sent.by {
            let why = "your own password is changed by another administrator, or by `doorbook user password`";
            return Err(Wrong::new("user", why));
        }
        let end_tokens = sent.is_ticked("end-tokens");
        Ok(Request::Arrays(ArraysRequest::UserPassword { name, password: None, end_tokens }))
    },
    done: "The password is another one.",
};

static NEW_TOKEN: Act = Act {
    word: "create-token",
    summary: "New token of mine…",
    hint: "Whoever has it may do what you may, in the APIs, until it is ended.",
    fields: &[],
    button: "Make it",
    request: |sent| Ok(Request::Arrays(ArraysRequest::TokenCreate { user: sent.text("user") })),
    done: "The token was made.",
};

static END_TOKENS: Act = Act {
    word: "end-tokens",
    summary: "End the tokens…",
    hint: "Programs and clients that use them are refused at once.",
    fields: &[],
    button: "End all of them",
    request: |sent| Ok(Request::Arrays(ArraysRequest::TokenDelete { user: sent.text("user") })),
    done: "The tokens are ended.",
};

static ADMINISTRATOR: Act = Act {
    word: "make-administrator",
    summary: "Make an administrator…",
    hint: "",
    fields: &[],
    button: "Do it",
    request: |sent| Ok(Request::Administrator { user: sent.text("user"), is_one: true }),
    done: "The user is an administrator.",
};

static NO_ADMINISTRATOR: Act = Act {
    word: "unmake-administrator",
    summary: "No longer an administrator…",
    hint: "",
    fields: &[],
    button: "Do it",
    request: |sent| Ok(Request::Administrator { user: sent.text("user"), is_one: false }),
    done: "The user is no administrator any more.",
};

fn users(page: &Shown<'_>) -> Markup {
    let columns = &["User", "Since", "Roles", "Tokens", "Change"].map(|name| (name, WORDS));
    let below = html! {
        p.hint { "A role in a project is granted on the page of that project." }
        (page.forms.form(&NEW_USER, &[]))
    };
    let table = Table { title: "Users", columns, none: "There is none yet." };
    table.of(page.registry.arrays().users(), |user| row_of_user(page, user), below)
}

fn row_of_user(page: &Shown<'_>, user: &User) -> Markup {
    let (registry, name) = (page.registry, &*user.name);
    let is_administrator = registry.is_administrator(name);
    let tokens = || registry.arrays().tokens_of(name);
    let n_made = tokens().filter(|token| token.expires.is_none()).count();
    let is_good = |expires: doorbook_event::Timestamp| page.visit.now < expires;
    let n_of_logins = tokens().filter(|token| token.expires.is_some_and(is_good)).count();
    let form = |act: &Act| page.forms.form(act, &[("user", name)]);
    html! {
        tr {
            th scope="row" { (shown(name)) @if is_administrator { " " span.tag { "administrator" } } }
            td.when { (when::to_the_second(user.created)) }
            td {
                @for (project, role) in registry.roles_of_user(name) {
                    div { (role.title()) " in " a href=(of_project(project.id).href(PATH)) { (shown(&project.name)) } }
                }
            }
            td { (count(n_made as u64)) @if n_of_logins > 0 { div.more { (count(n_of_logins as u64)) " of logins" } } }
            td {
                @if name == page.user { (form(&NEW_TOKEN)) } @else { (form(&PASSWORD)) }
                @if n_made + n_of_logins > 0 { (form(&END_TOKENS)) }
                (form(if is_administrator { &NO_ADMINISTRATOR } else { &ADMINISTRATOR }))
            }
        }
    }
}

pub const ORGANIZATIONS: Section = Section {
    whose: Whose::Server,
    show: organizations,
    acts: &[&NEW_ORGANIZATION, &ADD_MEMBER, &REMOVE_MEMBER],
};

static NEW_ORGANIZATION: Act = Act {
    word: "create-organization",
    summary: "New organization…",
    hint: "A namespace that several users own: each of them may do everything with its arrays.",
    fields: &[
        Field::text("Name", "name"),
        Field::optional("Members, with spaces between", "members"),
    ],
    button: "Make it",
    request: |sent| {
        let (name, members) = (sent.text("name"), words(&sent.text("members")));
        Ok(Request::Arrays(ArraysRequest::OrganizationCreate { name, members }))
    },
    done: "The organization was made.",
};

static ADD_MEMBER: Act = Act {
    word: "add-member",
    summary: "Add a member…",
    hint: "",
    fields: &[Field::text("User", "user")],
    button: "Add",
    request: |sent| {
        let (name, user) = (sent.text("organization"), sent.text("user"));
        Ok(Request::Arrays(ArraysRequest::OrganizationAdd { name, user }))
    },
    done: "The user is a member now.",
};

static REMOVE_MEMBER: Act = Act {
    word: "remove-member",
    summary: "Take out…",
    hint: "What the user may do with arrays of the organization ends at once, but for what is shared with the user.",
    fields: &[],
    button: "Take the user out",
    request: |sent: &Sent<'_>| {
        let (name, user) = (sent.text("organization"), sent.text("user"));
        Ok(Request::Arrays(ArraysRequest::OrganizationRemove { name, user }))
    },
    done: "The user is no member any more.",
};

fn organizations(page: &Shown<'_>) -> Markup {
    let member = |organization: &str, user: &Text| {
        let about = [("organization", organization), ("user", &**user)];
        html! { div { (shown(user)) (page.forms.form(&REMOVE_MEMBER, &about)) } }
    };
    let row = |organization: &&Organization| {
        let Organization { name, members, created, .. } = organization;
        html! {
            tr {
                th scope="row" { (shown(name)) }
                td { @for user in members { (member(name, user)) }
                    @if members.is_empty() { span.empty { "nobody" } } }
                td.when { (when::to_the_second(*created)) }
                td { (page.forms.form(&ADD_MEMBER, &[("organization", name)])) }
            }
        }
    };
    let columns = &["Organization", "Members", "Since", "Change"].map(|name| (name, WORDS));
    let below = page.forms.form(&NEW_ORGANIZATION, &[]);
    let table = Table { title: "Organizations", columns, none: "There is none." };
    table.of(page.registry.arrays().organizations(), row, below)
}

/// Names that somebody typed with spaces or commas between.
pub fn words(text: &str) -> Vec<String> {
    let words = text.split(|c: char| c == ',' || c.is_whitespace());
    words.filter(|word| !word.is_empty()).map(str::to_owned).collect()
}
