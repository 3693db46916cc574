//! OAuth 2 client credentials (RFC 6749 §4.4) for service accounts, and token revocation
//! (RFC 7009).
//!
//! A token is 32 random bytes; only its SHA-256 is kept, in memory. A restart ends all tokens and
//! the clients fetch new ones. Both endpoints work over plain HTTP as well: whether that is
//! reachable from elsewhere is decided where the server listens.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use doorbook_event::registry::Registry;
use doorbook_event::{Random, Text, Timestamp};
use percent_encoding::percent_decode_str;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;

use super::{random_bytes, shorten};

/// One hour, as Atlas's.
pub const LIFETIME_SECONDS: i64 = 3600;

/// Tokens per account. A further one ends the account's oldest: an account can crowd out itself
/// and nobody else, and all tokens together are bounded by the registry.
const TOKENS_PER_ACCOUNT_MAX: usize = 64;

/// The tokens that are good now.
#[derive(Default)]
pub struct Tokens(Mutex<HashMap<[u8; 32], Token>>);

struct Token {
    client_id: Text,
    expires: Timestamp,
}

impl Tokens {
    /// A new token for an account.
    pub fn issue(&self, random: &dyn Random, now: Timestamp, client_id: Text) -> String {
        let token = URL_SAFE_NO_PAD.encode(random_bytes::<32>(random));
        let mut tokens = self.tokens();
        tokens.retain(|_, token| now < token.expires);
        let own = tokens.iter().filter(|(_, token)| token.client_id == client_id);
        let own: Vec<_> = own.map(|(hash, token)| (token.expires, *hash)).collect();
        if own.len() >= TOKENS_PER_ACCOUNT_MAX
            && let Some((_, oldest)) = own.iter().min()
        {
            tokens.remove(oldest);
        }
        let expires = now.plus_seconds(LIFETIME_SECONDS);
        tokens.insert(hash_of(&token), Token { client_id, expires });
        token
    }

    /// Whose token this is, if it is good and the account still there.
    pub fn account_of(&self, registry: &Registry, now: Timestamp, token: &str) -> Option<Text> {
        let tokens = self.tokens();
        let token = tokens.get(&hash_of(token)).filter(|token| now < token.expires)?;
        registry.service_account(&token.client_id)?;
        Some(token.client_id.clone())
    }

    /// Ends a token of this account; those of others stay.
    fn revoke(&self, client_id: &Text, token: &str) {
        let mut tokens = self.tokens();
        let hash = hash_of(token);
        if tokens.get(&hash).is_some_and(|token| token.client_id == *client_id) {
            tokens.remove(&hash);
        }
    }

    fn tokens(&self) -> MutexGuard<'_, HashMap<[u8; 32], Token>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The token of `Bearer TOKEN`.
pub fn bearer_of(value: &str) -> Option<&str> {
    let (scheme, token) = value.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case("Bearer").then(|| token.trim())
}

/// The two endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// `POST /api/oauth/token`
    Token,
    /// `POST /api/oauth/revoke`
    Revoke,
}

impl Endpoint {
    /// The last part of its path.
    pub const fn name(self) -> &'static str {
        match self {
            Endpoint::Token => "token",
            Endpoint::Revoke => "revoke",
        }
    }
}

/// What an endpoint answered, and for our own record who asked.
pub struct Served {
    /// For the client.
    pub response: Response<Body>,
    /// The account that proved itself, or the name that was claimed.
    pub client: Result<Text, Option<Text>>,
}

/// Serves a request to an endpoint whose body has been read.
pub fn serve(
    endpoint: Endpoint,
    tokens: &Tokens,
    registry: &Registry,
    (random, now): (&dyn Random, Timestamp),
    headers: &HeaderMap,
    body: &[u8],
) -> Served {
    let client_id = match client_of(registry, headers) {
        Ok(client_id) => client_id,
        Err(claimed) => {
            let response = Failure::InvalidClient.respond();
            return Served { response, client: Err(claimed) };
        }
    };
    let form = Form::read(body);
    let answer = match endpoint {
        Endpoint::Token => form.and_then(|form| match form.get("grant_type")? {
            "client_credentials" => {
                let access_token = tokens.issue(random, now, client_id.clone());
                let body =
                    Issued { access_token, expires_in: LIFETIME_SECONDS, token_type: "Bearer" };
                Ok(respond(StatusCode::OK, &body))
            }
            _ => Err(Failure::UnsupportedGrantType),
        }),
        // 200 whatever the token was (RFC 7009 §2.2); the Go client takes all else for a failure.
        Endpoint::Revoke => form.and_then(|form| {
            tokens.revoke(&client_id, form.get("token")?);
            let mut response = Response::new(Body::empty());
            no_store(&mut response);
            Ok(response)
        }),
    };
    let response = answer.unwrap_or_else(Failure::respond);
    Served { response, client: Ok(client_id) }
}

#[derive(Serialize)]
struct Issued {
    access_token: String,
    expires_in: i64,
    token_type: &'static str,
}

/// The errors of RFC 6749 §5.2. Atlas's own texts are not known; the Go client shows both members
/// (captures/atlas/go-sdk-oauth-bad.txt).
#[derive(Clone, Copy, Debug)]
enum Failure {
    InvalidClient,
    InvalidRequest,
    UnsupportedGrantType,
}

#[derive(Serialize)]
struct FailureBody {
    error: &'static str,
    error_description: &'static str,
}

impl Failure {
    fn respond(self) -> Response<Body> {
        let (status, error, error_description) = match self {
            Failure::InvalidClient => {
                (StatusCode::UNAUTHORIZED, "invalid_client", "Client authentication failed")
            }
            Failure::InvalidRequest => (
                StatusCode::BAD_REQUEST,
                "invalid_request",
                "The body must be a form that gives each parameter once",
            ),
            Failure::UnsupportedGrantType => (
                StatusCode::BAD_REQUEST,
                "unsupported_grant_type",
                "The only grant type is client_credentials",
            ),
        };
        let mut response = respond(status, &FailureBody { error, error_description });
        if status == StatusCode::UNAUTHORIZED {
            let value = HeaderValue::from_static("Basic realm=\"MMS Public API\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, value);
        }
        response
    }
}

/// oauth4webapi (mongodb-mcp-server) insists on a media type of the `application/json` family.
fn respond(status: StatusCode, body: &impl Serialize) -> Response<Body> {
    let body = serde_json::to_vec(body).expect("strings and numbers serialise");
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    no_store(&mut response);
    response
}

/// RFC 6749 §5.1: nobody on the way may keep a token.
fn no_store(response: &mut Response<Body>) {
    let no_store = HeaderValue::from_static("no-store");
    response.headers_mut().insert(header::CACHE_CONTROL, no_store);
}

/// The account that the Basic header proves; otherwise the name it claims.
fn client_of(registry: &Registry, headers: &HeaderMap) -> Result<Text, Option<Text>> {
    let (id, secret) = basic_of(headers).ok_or(None)?;
    // Go escapes both halves as RFC 6749 §2.3.1 wants, the MCP server does not. Ids and secrets of
    // ours hold nothing that the two would write differently, other people's might.
    for (id, secret) in [(id.clone(), secret.clone()), (form_decode(&id), form_decode(&secret))] {
        let account = registry.service_account(&id);
        let expected = account.map_or([0; 32], |account| account.secret_sha256);
        let is_right = bool::from(expected.ct_eq(&hash_of(&secret)));
        if let Some(account) = account.filter(|_| is_right) {
            return Ok(account.client_id.clone());
        }
    }
    Err(Some(shorten(&id)))
}

fn basic_of(headers: &HeaderMap) -> Option<(String, String)> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next()?.to_str().ok()?;
    if values.next().is_some() {
        return None;
    }
    let (scheme, encoded) = value.trim().split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("Basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (id, secret) = decoded.split_once(':')?;
    Some((id.to_owned(), secret.to_owned()))
}

/// The members of a form, each at most once.
struct Form(HashMap<String, String>);

impl Form {
    fn read(body: &[u8]) -> Result<Form, Failure> {
        let text = std::str::from_utf8(body).map_err(|_| Failure::InvalidRequest)?;
        let mut members = HashMap::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if members.insert(form_decode(name), form_decode(value)).is_some() {
                return Err(Failure::InvalidRequest);
            }
        }
        Ok(Form(members))
    }

    fn get(&self, name: &str) -> Result<&str, Failure> {
        let value = self.0.get(name).filter(|value| !value.is_empty());
        value.map(String::as_str).ok_or(Failure::InvalidRequest)
    }
}

fn form_decode(text: &str) -> String {
    percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
}

/// SHA-256 of a secret or a token, what is kept of it.
pub fn hash_of(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;
    use doorbook_event::ProjectId;
    use doorbook_event::registry::{Project, RegistryChange, Role, ServiceAccount};
    use doorbook_event::time::CountingRandom;

    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_700_000_000);
    const ID: &str = "mdb_sa_id_0123456789abcdef01234567";
    const OTHER: &str = "mdb_sa_id_ffffffffffffffffffffffff";
    const SECRET: &str = "mdb_sa_sk_secret+%41";

    fn registry() -> Registry {
        let project = ProjectId::new([1; 12]);
        let mut registry = Registry::default();
        registry.apply(&RegistryChange::ProjectCreated(Project {
            id: project,
            name: "p".into(),
            created: NOW,
        }));
        for id in [ID, OTHER] {
            registry.apply(&RegistryChange::ServiceAccountCreated(ServiceAccount {
                client_id: id.into(),
                secret_sha256: hash_of(SECRET),
                project,
                role: Role::Owner,
                created: NOW,
            }));
        }
        registry
    }

    struct Setting {
        registry: Registry,
        tokens: Tokens,
        random: CountingRandom,
    }

    impl Setting {
        fn new() -> Setting {
            let random = CountingRandom::default();
            Setting { registry: registry(), tokens: Tokens::default(), random }
        }

        async fn post(&self, endpoint: Endpoint, basic: &str, body: &str) -> (u16, String) {
            let mut headers = HeaderMap::new();
            let value = format!("Basic {}", STANDARD.encode(basic));
            headers.insert(header::AUTHORIZATION, value.parse().expect("ASCII"));
            let with = (&self.random as &dyn Random, NOW);
            let served =
                serve(endpoint, &self.tokens, &self.registry, with, &headers, body.as_bytes());
            let response = served.response;
            assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
            let status = response.status().as_u16();
            let has_challenge = response.headers().contains_key(header::WWW_AUTHENTICATE);
            assert_eq!(has_challenge, status == 401);
            let body = to_bytes(response.into_body(), 1000).await.expect("in memory");
            (status, String::from_utf8(body.to_vec()).expect("UTF-8"))
        }
    }

    fn token_in(body: &str) -> &str {
        body.split('"').nth(3).expect("the first value")
    }

    const GRANT: &str = "grant_type=client_credentials";

    #[tokio::test]
    async fn a_token_is_good_for_an_hour_and_until_it_is_given_back() {
        let setting = Setting::new();
        let (status, body) = setting.post(Endpoint::Token, &format!("{ID}:{SECRET}"), GRANT).await;
        let token = token_in(&body).to_owned();
        assert_eq!(status, 200);
        let expected = "{\"access_token\":\"TOKEN\",\"expires_in\":3600,\"token_type\":\"Bearer\"}";
        assert_eq!(body, expected.replace("TOKEN", &token));

        let account = |now, token| setting.tokens.account_of(&setting.registry, now, token);
        assert_eq!(account(NOW.plus_seconds(3599), &token), Some(ID.into()));
        assert_eq!(account(NOW.plus_seconds(3600), &token), None);
        assert_eq!(account(NOW, "guess"), None);
        assert_eq!(setting.tokens.account_of(&Registry::default(), NOW, &token), None);

        // Someone else's account cannot end it; 200 all the same (RFC 7009 §2.2).
        let give_back = format!("token={token}&token_type_hint=access_token");
        let revoke = |id| {
            let basic = format!("{id}:{SECRET}");
            let (setting, body) = (&setting, give_back.clone());
            async move { setting.post(Endpoint::Revoke, &basic, &body).await }
        };
        assert_eq!(revoke(OTHER).await, (200, String::new()));
        assert_eq!(account(NOW, &token), Some(ID.into()));
        assert_eq!(revoke(ID).await, (200, String::new()));
        assert_eq!(account(NOW, &token), None);
        assert_eq!(revoke(ID).await, (200, String::new()));
    }

    #[tokio::test]
    async fn go_escapes_the_credentials_and_others_do_not() {
        let setting = Setting::new();
        let escaped = SECRET.replace('%', "%25").replace('+', "%2B");
        for secret in [SECRET, &escaped] {
            let (status, _) = setting.post(Endpoint::Token, &format!("{ID}:{secret}"), GRANT).await;
            assert_eq!(status, 200, "{secret}");
        }
    }

    #[tokio::test]
    async fn errors_are_those_of_rfc_6749() {
        let setting = Setting::new();
        let good = format!("{ID}:{SECRET}");
        for (endpoint, basic, body, status, error) in [
            (Endpoint::Token, "mdb_sa_id_x:nope", GRANT, 401, "invalid_client"),
            (Endpoint::Token, &*format!("{ID}:nope"), GRANT, 401, "invalid_client"),
            (Endpoint::Token, ID, GRANT, 401, "invalid_client"),
            (Endpoint::Revoke, "a:b", "token=x", 401, "invalid_client"),
            (Endpoint::Token, &good, "", 400, "invalid_request"),
            (Endpoint::Token, &good, "grant_type=", 400, "invalid_request"),
            (Endpoint::Token, &good, "grant_type=a&grant_type=a", 400, "invalid_request"),
            (Endpoint::Token, &good, "grant_type=password", 400, "unsupported_grant_type"),
            (Endpoint::Revoke, &good, "token_type_hint=x", 400, "invalid_request"),
        ] {
            let got = setting.post(endpoint, basic, body).await;
            let wanted = format!("{{\"error\":\"{error}\",\"error_description\":\"");
            assert!(got.0 == status && got.1.starts_with(&wanted), "{basic} {body}: {got:?}");
        }
        // The stub's text, which the Go client was seen to show.
        let (_, body) = setting.post(Endpoint::Token, "x:y", GRANT).await;
        let recorded =
            r#"{"error":"invalid_client","error_description":"Client authentication failed"}"#;
        assert_eq!(body, recorded);
    }

    #[test]
    fn an_account_crowds_out_only_itself() {
        let setting = Setting::new();
        let issue = |id: &str, second| {
            setting.tokens.issue(&setting.random, NOW.plus_seconds(second), id.into())
        };
        let others = issue(OTHER, 0);
        let own: Vec<_> = (1..=65).map(|second| issue(ID, second)).collect();
        let later = NOW.plus_seconds(70);
        let is_good =
            |token: &str| setting.tokens.account_of(&setting.registry, later, token).is_some();
        assert!(is_good(&others) && !is_good(&own[0]) && is_good(&own[1]) && is_good(&own[64]));
    }
}
