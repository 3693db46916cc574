//! `GET v1/user` and `GET v1/session`: who one is, and a token instead of a password.

use doorbook_event::Timestamp;
use doorbook_event::arrays::{ArraysChange, Organization, Token};
use serde::Serialize;

use super::dispatch::{Answer, Call};
use super::error::ApiError;
use crate::auth::users;

/// How long a login holds that is to be remembered, and one that is not.
const REMEMBERED_SECONDS: i64 = 30 * 86_400;
const SESSION_SECONDS: i64 = 86_400;

/// Logins of one user at once; a further one ends the oldest.
const SESSIONS_MAX: usize = 64;

/// What may be done in a namespace that is one's own.
const OWNER: [&str; 3] = ["read", "write", "create"];

#[derive(Serialize)]
struct User<'a> {
    id: String,
    username: &'a str,
    name: &'a str,
    is_valid_email: bool,
    organizations: Vec<OrganizationUser<'a>>,
    allowed_actions: [&'static str; 3],
    unpaid_subscription: bool,
    default_namespace_charged: &'static str,
}

#[derive(Serialize)]
struct OrganizationUser<'a> {
    user_id: String,
    organization_id: String,
    username: &'a str,
    organization_name: &'a str,
    role: &'static str,
    allowed_actions: [&'static str; 3],
}

#[derive(Serialize)]
struct Session {
    token: String,
    name: &'static str,
    issued_at: Timestamp,
    expires_at: Timestamp,
    scope: [&'static str; 1],
}

/// Serves `v1/user`.
pub fn user(call: &mut Call<'_>) -> Result<Answer, ApiError> {
    let user = call.arrays().user(call.user).ok_or_else(ApiError::unauthenticated)?;
    let is_member = |organization: &&Organization| organization.members.contains(&user.name);
    let organizations = call.arrays().organizations().filter(is_member);
    let organizations = organizations.map(|organization| OrganizationUser {
        user_id: user.id.to_string(),
        organization_id: organization.id.to_string(),
        username: &user.name,
        organization_name: &organization.name,
        role: "owner",
        allowed_actions: OWNER,
    });
    Ok(Call::object(&User {
        id: user.id.to_string(),
        username: &user.name,
        name: &user.name,
        is_valid_email: true,
        organizations: organizations.collect(),
        allowed_actions: OWNER,
        unpaid_subscription: false,
        default_namespace_charged: "",
    }))
}

/// Serves `v1/session`.
pub fn session(call: &mut Call<'_>) -> Result<Answer, ApiError> {
    let seconds = match call.query.truth("remember_me")? {
        Some(true) => REMEMBERED_SECONDS,
        Some(false) | None => SESSION_SECONDS,
    };
    let token = users::new_token(call.app.random());
    let expires = call.now.plus_seconds(seconds);
    let sessions = call.arrays().tokens_of(call.user).filter(|token| token.expires.is_some());
    let mut sessions: Vec<&Token> = sessions.collect();
    sessions.sort_by_key(|token| (token.expires, token.sha256));
    let n_too_many = (sessions.len() + 1).saturating_sub(SESSIONS_MAX);
    let is_over = |token: &Token| token.expires.is_some_and(|expires| expires <= call.now);
    let over = sessions.iter().enumerate().filter(|(n, token)| *n < n_too_many || is_over(token));
    let mut changes: Vec<ArraysChange> =
        over.map(|(_, token)| ArraysChange::TokenDeleted { sha256: token.sha256 }).collect();
    changes.push(ArraysChange::TokenCreated(Token {
        sha256: users::token_sha256(&token),
        user: call.user.clone(),
        created: call.now,
        expires: Some(expires),
    }));
    call.change(changes)?;
    let issued_at = call.now;
    Ok(Call::object(&Session { token, name: "", issued_at, expires_at: expires, scope: ["*"] }))
}
