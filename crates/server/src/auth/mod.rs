//! Who is calling, and what they may do.
//!
//! [`Auth::identify`] turns a request's `Authorization` header into a [`Caller`]; [`authorize`] is
//! the one place that decides, for projects and for arrays. Callers from other doors (the admin socket's operating-system user,
//! the sessions of browsers) become a [`Caller`] too and pass the same function.

pub mod digest;
pub mod oauth;
pub mod users;

use axum::http::{HeaderMap, HeaderValue, Method, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use doorbook_event::arrays::{Array, Right};
use doorbook_event::registry::{Registry, Role};
use doorbook_event::{Peer, Principal, ProjectId, Random, Scope, Text, Timestamp};

/// Someone who asks, known or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Who.
    pub principal: Principal,
    /// From where.
    pub peer: Peer,
}

/// What can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Read the access history.
    ReadHistory,
    /// List the projects; the answer holds those that the caller has a role in.
    ListProjects,
    /// See that a project exists.
    ReadProject,
    /// See its clusters.
    ReadClusters,
    /// See its hosts.
    ReadHosts,
    /// Send events to its history.
    Ingest,
    /// Read how the server fares, and of the project how much there is.
    ReadMetrics,
    /// Follow sources of the project on another host.
    FollowAsAgent,
    /// Read what is known of an array.
    ReadArray,
    /// Change an array's name, description and tags.
    EditArray,
    /// Change who may do what with an array; make it no longer known.
    ManageArray,
    /// Make an array known, in a namespace.
    RegisterArray,
    /// Say what came of an alarm; have lines read again.
    Operate,
    /// Hand out and end the keys of a project, and the roles of users in it.
    ManageAccess,
    /// Everything that is no project's: projects and their clusters, users, how long events are kept.
    ManageServer,
    /// See reviews of the history, and what was signed.
    ReadReviews,
    /// Mark rows of a review, close what was followed up, sign.
    Review,
    /// Make, change and end reviews.
    ManageReviews,
}

impl Operation {
    /// Every operation.
    pub const ALL: [Operation; 18] = [
        Operation::ReadHistory,
        Operation::ListProjects,
        Operation::ReadProject,
        Operation::ReadClusters,
        Operation::ReadHosts,
        Operation::Ingest,
        Operation::ReadMetrics,
        Operation::FollowAsAgent,
        Operation::ReadArray,
        Operation::EditArray,
        Operation::ManageArray,
        Operation::RegisterArray,
        Operation::Operate,
        Operation::ManageAccess,
        Operation::ManageServer,
        Operation::ReadReviews,
        Operation::Review,
        Operation::ManageReviews,
    ];
}

/// What is to be done something with.
#[derive(Clone, Copy, Debug)]
pub enum Object<'a> {
    /// Nothing in particular: all projects.
    Everything,
    /// A project, which may not be there.
    Project(ProjectId),
    /// A namespace, which may not be there.
    Namespace(&'a str),
    /// An array.
    Array(&'a Array),
}

impl From<Option<ProjectId>> for Object<'_> {
    fn from(project: Option<ProjectId>) -> Self {
        project.map_or(Object::Everything, Object::Project)
    }
}

impl<'a> From<&'a Scope> for Object<'a> {
    fn from(scope: &'a Scope) -> Self {
        match scope {
            Scope::Project(id) => Object::Project(*id),
            Scope::Namespace(name) => Object::Namespace(name),
            Scope::System => Object::Everything,
        }
    }
}

/// What the caller is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Go on.
    Allowed,
    /// The caller has a role in the project, and it is not enough.
    RoleMissing,
    /// The caller must not learn whether there is such a project.
    Invisible,
}

/// Whether a caller may do something with an object.
pub fn authorize<'a>(
    registry: &Registry,
    caller: &Caller,
    operation: Operation,
    object: impl Into<Object<'a>>,
) -> Decision {
    let object = object.into();
    if is_for_administrators(registry, operation, object)
        && let Principal::User { name, .. } = &caller.principal
        && registry.is_administrator(name)
    {
        return Decision::Allowed;
    }
    match (object, &caller.principal) {
        (Object::Project(project), _) => in_project(registry, caller, operation, project),
        (Object::Everything, Principal::ApiKey(_) | Principal::ServiceAccount(_))
            if operation == Operation::ListProjects =>
        {
            Decision::Allowed
        }
        // Everything else is of a project; a request that names none can be of none.
        (Object::Everything, _) => Decision::Invisible,
        (Object::Namespace(namespace), Principal::User { name, .. }) => {
            in_namespace(registry, name, operation, namespace)
        }
        (Object::Array(array), Principal::User { name, .. }) => {
            with_array(registry, name, operation, array)
        }
        // Keys and service accounts are of projects.
        (Object::Namespace(_) | Object::Array(_), _) => Decision::Invisible,
    }
}

/// What an administrator may do without a role: manage, and not read. One who wants to read takes a role, which is in
/// the history.
fn is_for_administrators(registry: &Registry, operation: Operation, object: Object<'_>) -> bool {
    match (operation, object) {
        (Operation::ManageServer, Object::Everything) => true,
        (Operation::ManageAccess | Operation::ManageReviews, Object::Project(id)) => {
            registry.project(id).is_some()
        }
        (Operation::ManageReviews, Object::Namespace(name)) => registry.arrays().is_namespace(name),
        _ => false,
    }
}

fn in_namespace(
    registry: &Registry,
    user: &str,
    operation: Operation,
    namespace: &str,
) -> Decision {
    let arrays = registry.arrays();
    if arrays.owns(user, namespace) {
        return match operation {
            Operation::ReadHistory
            | Operation::Ingest
            | Operation::RegisterArray
            | Operation::Operate
            | Operation::ReadReviews
            | Operation::Review
            | Operation::ManageReviews => Decision::Allowed,
            _ => Decision::Invisible,
        };
    }
    let rights = || arrays.arrays_of(namespace).map(|array| arrays.rights(user, array));
    // Which of the arrays, is decided for each line.
    if operation == Operation::Ingest && rights().any(|rights| rights.contains(&Right::Write)) {
        return Decision::Allowed;
    }
    match rights().any(|rights| !rights.is_empty()) {
        true => Decision::RoleMissing,
        false => Decision::Invisible,
    }
}

fn with_array(registry: &Registry, user: &str, operation: Operation, array: &Array) -> Decision {
    let arrays = registry.arrays();
    let rights = arrays.rights(user, array);
    let is_enough = match operation {
        Operation::ReadHistory => rights.contains(&Right::ReadLogs),
        Operation::Ingest => rights.contains(&Right::Write),
        Operation::ReadArray => rights.contains(&Right::ReadInfo),
        Operation::EditArray => rights.contains(&Right::Edit),
        Operation::ManageArray => arrays.owns(user, &array.namespace),
        _ => false,
    };
    match is_enough {
        true => Decision::Allowed,
        false if rights.is_empty() => Decision::Invisible,
        false => Decision::RoleMissing,
    }
}

fn in_project(
    registry: &Registry,
    caller: &Caller,
    operation: Operation,
    project: ProjectId,
) -> Decision {
    let Some(role) = role_in(registry, &caller.principal, project) else {
        return Decision::Invisible;
    };
    let is_enough = match operation {
        Operation::ReadHistory | Operation::ReadReviews => match role {
            // x-rolesRequirements of 2026, and Monitoring Admin, which was the requirement until
            // 2025 and which scripts written then still hold (contract §4, "Roles").
            Role::Owner
            | Role::MonitoringAdmin
            | Role::DatabaseAccessAdmin
            | Role::ClusterLogViewer => true,
            Role::ReadOnly | Role::Shipper => false,
        },
        // Who watches the machines need not answer for who came.
        Operation::Review => {
            matches!(role, Role::Owner | Role::DatabaseAccessAdmin | Role::ClusterLogViewer)
        }
        Operation::ListProjects
        | Operation::ReadProject
        | Operation::ReadClusters
        | Operation::ReadHosts => role != Role::Shipper,
        // An agent speaks for its sources and for nothing else.
        Operation::Ingest => {
            matches!(role, Role::Owner | Role::Shipper) && agent_of(registry, caller).is_none()
        }
        Operation::ReadMetrics | Operation::Operate => {
            matches!(role, Role::Owner | Role::MonitoringAdmin)
        }
        Operation::ManageAccess | Operation::ManageReviews => role == Role::Owner,
        Operation::FollowAsAgent => agent_of(registry, caller).is_some(),
        // A project has no arrays, and is not the server.
        Operation::ManageServer
        | Operation::ReadArray
        | Operation::EditArray
        | Operation::ManageArray
        | Operation::RegisterArray => return Decision::Invisible,
    };
    if is_enough { Decision::Allowed } else { Decision::RoleMissing }
}

/// The users who may sign reviews of a scope, by name.
pub fn reviewers(registry: &Registry, scope: &Scope) -> Vec<Text> {
    let may_sign = |name: &Text| {
        let principal = Principal::User { name: name.clone(), database: Text::default() };
        let caller = Caller { principal, peer: Peer::Unknown };
        authorize(registry, &caller, Operation::Review, scope) == Decision::Allowed
    };
    let names = registry.arrays().users().map(|user| user.name.clone());
    names.filter(may_sign).collect()
}

/// The project that a caller's own right is of: what a request means that names none.
pub fn home_of(registry: &Registry, principal: &Principal) -> Option<ProjectId> {
    right_of(registry, principal).map(|(project, _)| project)
}

/// The agent whose key a caller has.
pub fn agent_of<'a>(registry: &'a Registry, caller: &Caller) -> Option<&'a Text> {
    match &caller.principal {
        Principal::ApiKey(public) => registry.key(public)?.agent.as_ref(),
        _ => None,
    }
}

fn role_in(registry: &Registry, principal: &Principal, project: ProjectId) -> Option<Role> {
    registry.project(project)?;
    // A key is of one project; a user may have a role in many.
    if let Principal::User { name, .. } = principal {
        return registry.role_of_user(name, project);
    }
    let (its_project, role) = right_of(registry, principal)?;
    (its_project == project).then_some(role)
}

fn right_of(registry: &Registry, principal: &Principal) -> Option<(ProjectId, Role)> {
    match principal {
        Principal::ApiKey(public) => registry.key(public).map(|key| (key.project, key.role)),
        Principal::ServiceAccount(id) => {
            registry.service_account(id).map(|account| (account.project, account.role))
        }
        Principal::Unauthenticated
        | Principal::User { .. }
        | Principal::OsUser { .. }
        | Principal::Doorbook => None,
    }
}

/// What an `Authorization` header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identified {
    /// It is this one.
    As(Principal),
    /// There is no header: the first half of every digest exchange.
    Nobody,
    /// A correct signature with a nonce that is no longer good.
    Stale,
    /// A failed authentication.
    Refused(Refusal),
}

/// A failed authentication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The name that was claimed, where there was one; nobody vouches for it.
    pub claimed: Option<Text>,
    /// Why, for our own record. The caller is not told.
    pub reason: &'static str,
    /// Whether the holder of the key should be asked to sign again.
    pub stale: bool,
}

/// All ways to prove who one is.
pub struct Auth {
    /// API keys.
    pub digest: digest::Authenticator,
    /// Service accounts.
    pub tokens: oauth::Tokens,
    /// Users of arrays.
    pub passwords: users::Passwords,
}

impl Auth {
    /// With nonces under a secret.
    pub fn new(digest_secret: [u8; 32], now: Timestamp) -> Auth {
        Auth {
            digest: digest::Authenticator::new(digest_secret, now),
            tokens: oauth::Tokens::default(),
            passwords: users::Passwords::new(&digest_secret),
        }
    }

    /// Reads the `Authorization` header of a request. `target` is the request target as sent.
    pub fn identify(
        &self,
        registry: &Registry,
        now: Timestamp,
        method: &Method,
        target: &str,
        headers: &HeaderMap,
    ) -> Identified {
        let refused = |claimed: Option<String>, reason, stale| {
            let claimed = claimed.map(|name| shorten(&name));
            Identified::Refused(Refusal { claimed, reason, stale })
        };
        let mut values = headers.get_all(header::AUTHORIZATION).iter();
        let Some(value) = values.next() else { return Identified::Nobody };
        if values.next().is_some() {
            return refused(None, "several Authorization headers", false);
        }
        let Ok(value) = std::str::from_utf8(value.as_bytes()) else {
            return refused(None, "unreadable Authorization header", false);
        };
        if digest::header::is_digest(value) {
            return match self.digest.verify(registry, now, method.as_str(), target, value) {
                digest::Verdict::Accepted(public) => Identified::As(Principal::ApiKey(public)),
                digest::Verdict::Stale => Identified::Stale,
                digest::Verdict::Replayed(public) => {
                    refused(Some(public.to_string()), "replayed digest", true)
                }
                digest::Verdict::Refused(Some(name)) => refused(Some(name), "wrong digest", false),
                digest::Verdict::Refused(None) => refused(None, "malformed digest", false),
            };
        }
        match oauth::bearer_of(value) {
            Some(token) => match self.tokens.account_of(registry, now, token) {
                Some(client_id) => Identified::As(Principal::ServiceAccount(client_id)),
                None => refused(None, "unknown or expired token", false),
            },
            None => refused(None, "unknown authorization scheme", false),
        }
    }

    /// The same for our own API, which takes the token of a user of arrays, too, and HTTP Basic with
    /// both halves of a key: a shipper that sends one event in a request should not pay for two. Only
    /// where nobody on the way can read it.
    pub fn identify_or_basic(
        &self,
        registry: &Registry,
        now: Timestamp,
        method: &Method,
        target: &str,
        (headers, is_private): (&HeaderMap, bool),
    ) -> Identified {
        let mut values = headers.get_all(header::AUTHORIZATION).iter();
        let value = values.next().and_then(|value| value.to_str().ok());
        let is_only = values.next().is_none();
        let token = value.filter(|_| is_only).and_then(oauth::bearer_of);
        let user = token.and_then(|token| users::user_of_token(registry.arrays(), now, token));
        if let Some(name) = user {
            return Identified::As(Principal::User { name, database: Text::default() });
        }
        let Some(credentials) = value.filter(|_| is_only).and_then(basic_of) else {
            return self.identify(registry, now, method, target, headers);
        };
        let refused = |claimed: Option<&str>, reason| {
            let claimed = claimed.map(shorten);
            Identified::Refused(Refusal { claimed, reason, stale: false })
        };
        if !is_private {
            return refused(None, "basic without TLS");
        }
        let Some((public, private)) = credentials.as_ref().and_then(|text| text.split_once(':'))
        else {
            return refused(None, "malformed basic");
        };
        match digest::holder(registry, public, private) {
            Some(public) => Identified::As(Principal::ApiKey(public)),
            None => refused(Some(public), "wrong basic"),
        }
    }

    /// The value of `WWW-Authenticate` for a caller who did not prove anything.
    pub fn challenge(&self, now: Timestamp, stale: bool) -> HeaderValue {
        self.digest.challenge(now, stale)
    }
}

/// What `Basic …` holds, `None` inside if that is no text; `None` outside for other schemes.
pub(crate) fn basic_of(value: &str) -> Option<Option<String>> {
    let (scheme, credentials) = value.trim().split_once(' ')?;
    let is_basic = scheme.eq_ignore_ascii_case("Basic");
    is_basic.then(|| String::from_utf8(STANDARD.decode(credentials.trim()).ok()?).ok())
}

/// `N` random bytes.
pub(crate) fn random_bytes<const N: usize>(random: &dyn Random) -> [u8; N] {
    let mut bytes = [0; N];
    random.fill(&mut bytes);
    bytes
}

/// A name that anyone may claim, cut to what is worth keeping.
pub(crate) fn shorten(name: &str) -> Text {
    name.chars().take(128).collect::<String>().into()
}

#[cfg(test)]
mod tests {
    use doorbook_event::registry::{Key, Project, RegistryChange, ServiceAccount};

    use super::*;

    const OWN: ProjectId = ProjectId::new([1; 12]);
    const OTHER: ProjectId = ProjectId::new([2; 12]);
    const ABSENT: ProjectId = ProjectId::new([3; 12]);

    fn registry(role: Role) -> Registry {
        registry_with(role, None)
    }

    fn registry_with(role: Role, agent: Option<Text>) -> Registry {
        let created = Timestamp::from_seconds(0);
        let mut registry = Registry::default();
        for (id, name) in [(OWN, "own"), (OTHER, "other")] {
            let project = Project { id, name: name.into(), created };
            registry.apply(&RegistryChange::ProjectCreated(project));
        }
        registry.apply(&RegistryChange::KeyCreated(Key {
            public: "key".into(),
            ha1: [0; 16],
            project: OWN,
            role,
            created,
            agent,
        }));
        registry.apply(&RegistryChange::ServiceAccountCreated(ServiceAccount {
            client_id: "account".into(),
            secret_sha256: [0; 32],
            project: OWN,
            role,
            created,
        }));
        registry
    }

    fn caller(principal: Principal) -> Caller {
        Caller { principal, peer: Peer::Unknown }
    }

    /// Goal: a user may do in a project what a key of the same role may, and nothing where nobody
    /// granted it.
    #[test]
    fn a_user_has_the_rights_of_the_role_that_was_granted() {
        use doorbook_event::arrays::{ArraysChange, PasswordHash, User, Uuid};
        for role in Role::ALL {
            let mut registry = registry(role);
            registry.apply(&RegistryChange::Arrays(ArraysChange::UserCreated(User {
                name: "alice".into(),
                id: Uuid::random([1; 16]),
                password: PasswordHash { salt: [0; 16], iterations: 1, hash: [0; 32] },
                created: Timestamp::from_seconds(0),
            })));
            let (user, project) = ("alice".into(), OWN);
            registry.apply(&RegistryChange::RoleGranted { user, project, role });
            let decide = |name: &str, project: ProjectId| {
                let who = match name {
                    "key" => Principal::ApiKey(name.into()),
                    _ => Principal::User { name: name.into(), database: Text::default() },
                };
                let who = caller(who);
                Operation::ALL.map(|operation| authorize(&registry, &who, operation, Some(project)))
            };
            assert_eq!(decide("alice", OWN), decide("key", OWN), "{role}");
            let nothing = Operation::ALL.map(|_| Decision::Invisible);
            for (name, project) in [("alice", OTHER), ("alice", ABSENT), ("bob", OWN)] {
                assert_eq!(decide(name, project), nothing, "{role} {name}");
            }
        }
    }

    /// Every role x operation x project. A row: the role; then, for its own project, what each
    /// operation of `Operation::ALL` is told (A allowed, R role missing, I invisible).
    #[test]
    fn the_whole_table() {
        use Role::*;
        for (role, own) in [
            (Owner, "AAAAAAARIIIIAAIAAA"),
            (ReadOnly, "RAAAARRRIIIIRRIRRR"),
            (MonitoringAdmin, "AAAAARARIIIIARIARR"),
            (DatabaseAccessAdmin, "AAAAARRRIIIIRRIAAR"),
            (ClusterLogViewer, "AAAAARRRIIIIRRIAAR"),
            (Shipper, "RRRRRARRIIIIRRIRRR"),
        ] {
            let registry = registry(role);
            for principal in
                [Principal::ApiKey("key".into()), Principal::ServiceAccount("account".into())]
            {
                let row = |project: Option<ProjectId>| -> String {
                    let decide = |operation| {
                        authorize(&registry, &caller(principal.clone()), operation, project)
                    };
                    Operation::ALL.map(decide).map(letter).iter().collect()
                };
                assert_eq!(row(Some(OWN)), own, "{role} {principal}, own project");
                assert_eq!(
                    row(Some(OTHER)),
                    "IIIIIIIIIIIIIIIIII",
                    "{role} {principal}, another's project"
                );
                assert_eq!(
                    row(Some(ABSENT)),
                    "IIIIIIIIIIIIIIIIII",
                    "{role} {principal}, no such project"
                );
                assert_eq!(row(None), "IAIIIIIIIIIIIIIIII", "{role} {principal}, no project named");
            }
        }
        assert_eq!(Role::ALL.len(), 6, "a new role needs a row above");
    }

    /// Goal: an administrator manages everything and reads nothing without a role, for as long as it is one.
    #[test]
    fn an_administrator_manages_and_does_not_read() {
        use doorbook_event::arrays::{ArraysChange, PasswordHash, User, Uuid};
        let mut registry = registry(Role::Owner);
        registry.apply(&RegistryChange::Arrays(ArraysChange::UserCreated(User {
            name: "alice".into(),
            id: Uuid::random([1; 16]),
            password: PasswordHash { salt: [0; 16], iterations: 1, hash: [0; 32] },
            created: Timestamp::from_seconds(0),
        })));
        let user =
            |name: &str| caller(Principal::User { name: name.into(), database: Text::default() });
        let row = |registry: &Registry, who: &Caller, object: Object<'_>| -> String {
            let decide = |operation| authorize(registry, who, operation, object);
            Operation::ALL.map(decide).map(letter).iter().collect()
        };
        let nothing = "IIIIIIIIIIIIIIIIII";
        assert_eq!(row(&registry, &user("alice"), Object::Everything), nothing);
        let set = |is_one| RegistryChange::AdministratorSet { user: "alice".into(), is_one };
        registry.apply(&set(true));
        assert_eq!(row(&registry, &user("alice"), Object::Everything), "IIIIIIIIIIIIIIAIII");
        assert_eq!(row(&registry, &user("alice"), Object::Project(OWN)), "IIIIIIIIIIIIIAIIIA");
        assert_eq!(row(&registry, &user("alice"), Object::Project(ABSENT)), nothing);
        assert_eq!(row(&registry, &user("alice"), Object::Namespace("key")), nothing);
        let key = caller(Principal::ApiKey("alice".into()));
        assert_eq!(row(&registry, &key, Object::Everything), "IAIIIIIIIIIIIIIIII");
        registry.apply(&set(false));
        assert_eq!(row(&registry, &user("alice"), Object::Everything), nothing);
    }

    /// The key of an agent can do what an agent does, in its project, and nothing else.
    #[test]
    fn an_agent_follows_and_does_nothing_else() {
        let registry = registry_with(Role::Shipper, Some("edge-1".into()));
        let caller = caller(Principal::ApiKey("key".into()));
        let row = |project: Option<ProjectId>| -> String {
            let decide = |operation| authorize(&registry, &caller, operation, project);
            Operation::ALL.map(decide).map(letter).iter().collect()
        };
        assert_eq!(row(Some(OWN)), "RRRRRRRAIIIIRRIRRR");
        assert_eq!(row(Some(OTHER)), "IIIIIIIIIIIIIIIIII");
        assert_eq!(row(None), "IAIIIIIIIIIIIIIIII");
        assert_eq!(agent_of(&registry, &caller).map(|name| &**name), Some("edge-1"));
    }

    #[test]
    fn whoever_is_not_in_the_registry_sees_nothing() {
        let registry = registry(Role::Owner);
        for principal in [
            Principal::Unauthenticated,
            Principal::ApiKey("other".into()),
            Principal::ApiKey("account".into()),
            Principal::ServiceAccount("key".into()),
            Principal::User { name: "key".into(), database: "admin".into() },
            Principal::OsUser { uid: 0, name: None },
        ] {
            for operation in Operation::ALL {
                let decision =
                    authorize(&registry, &caller(principal.clone()), operation, Some(OWN));
                assert_eq!(decision, Decision::Invisible, "{principal} {operation:?}");
            }
        }
    }

    /// Goal: what a user may do in a namespace and with an array. Method: as above, by the rights that an
    /// array was shared with.
    #[test]
    fn the_table_of_arrays() {
        use doorbook_event::Timestamp;
        use doorbook_event::arrays::{ArraysChange, PasswordHash, User, Uuid};
        let at = Timestamp::from_seconds(0);
        let id = Uuid::random([1; 16]);
        let mut arrays = registry(Role::Owner);
        let mut change = |change| arrays.apply(&RegistryChange::Arrays(change));
        for name in ["alice", "bob", "key"] {
            let password = PasswordHash { salt: [0; 16], iterations: 1, hash: [0; 32] };
            change(ArraysChange::UserCreated(User {
                name: name.into(),
                id,
                password,
                created: at,
            }));
        }
        change(ArraysChange::ArrayRegistered(Array {
            id,
            namespace: "alice".into(),
            name: "a".into(),
            uri: "s3://b/a".into(),
            created: at,
            created_by: "alice".into(),
            description: Text::default(),
            tags: Vec::new(),
            shares: Default::default(),
        }));
        let row = |registry: &Registry, principal: Principal, with_array: bool| -> String {
            let array = registry.arrays().find("alice", "a").expect("there");
            let object = if with_array { Object::Array(array) } else { Object::Namespace("alice") };
            let caller = caller(principal);
            let decide = |operation| authorize(registry, &caller, operation, object);
            Operation::ALL.map(decide).map(letter).iter().collect()
        };
        let user = |name: &str| Principal::User { name: name.into(), database: Text::default() };
        assert_eq!(row(&arrays, user("alice"), true), "ARRRRARRAAARRRRRRR");
        assert_eq!(row(&arrays, user("alice"), false), "AIIIIAIIIIIAAIIAAA");
        for principal in [user("bob"), user("nobody"), Principal::ApiKey("key".into())] {
            assert_eq!(row(&arrays, principal.clone(), true), "IIIIIIIIIIIIIIIIII", "{principal}");
            assert_eq!(row(&arrays, principal.clone(), false), "IIIIIIIIIIIIIIIIII", "{principal}");
        }
        for (right, with_it, in_namespace) in [
            (Right::Read, "ARRRRRRRARRRRRRRRR", "RRRRRRRRRRRRRRRRRR"),
            (Right::Write, "RRRRRARRARRRRRRRRR", "RRRRRARRRRRRRRRRRR"),
            (Right::Edit, "RRRRRRRRAARRRRRRRR", "RRRRRRRRRRRRRRRRRR"),
            (Right::ReadLogs, "ARRRRRRRARRRRRRRRR", "RRRRRRRRRRRRRRRRRR"),
            (Right::ReadInfo, "RRRRRRRRARRRRRRRRR", "RRRRRRRRRRRRRRRRRR"),
        ] {
            let mut shared = arrays.clone();
            let (with, rights) = ("bob".into(), [right].into());
            let share = ArraysChange::ArrayShared { id, with, rights };
            shared.apply(&RegistryChange::Arrays(share));
            assert_eq!(row(&shared, user("bob"), true), with_it, "{right:?}");
            assert_eq!(row(&shared, user("bob"), false), in_namespace, "{right:?}");
            assert_eq!(row(&shared, user("key"), true), "IIIIIIIIIIIIIIIIII", "{right:?}");
        }
    }

    fn letter(decision: Decision) -> char {
        match decision {
            Decision::Allowed => 'A',
            Decision::RoleMissing => 'R',
            Decision::Invisible => 'I',
        }
    }
}
