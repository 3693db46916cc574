//! Commands about users, organizations, tokens and arrays.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use doorbook_event::arrays::{Array, Arrays, ArraysChange, Organization, Token, User, Uuid};
use doorbook_event::record::Actor;
use doorbook_event::registry::{Project, Registry, RegistryChange, Role};
use doorbook_event::{ProjectId, Text, Timestamp};
use doorbook_source::tiledb::find_below;
use serde::{Deserialize, Serialize};

use crate::admin::{Admin, Failure, Reply};
use crate::arrays::{Places, basename, canonical};
use crate::auth::users;
use crate::pipeline::hosts::list;

/// One of these commands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "about", rename_all = "snake_case", rename_all_fields = "camelCase")]
#[serde(deny_unknown_fields)]
pub enum ArraysRequest {
    /// Create a user, and a namespace of the same name.
    UserCreate {
        /// The name.
        name: String,
        /// The password; `None`: a random one.
        password: Option<Password>,
    },
    /// Give a user another password; what was got with the old one ends: sessions on the page, and tokens of logins.
    UserPassword {
        /// The user.
        name: String,
        /// The password; `None`: a random one.
        password: Option<Password>,
        /// Whether the tokens that were made for programs end, too.
        #[serde(default)]
        end_tokens: bool,
    },
    /// All users.
    UserList,
    /// Give a user a role in a project, instead of any other.
    UserGrant {
        /// The user.
        user: String,
        /// The project, by id or name.
        project: String,
        /// The role.
        role: Role,
    },
    /// Take a user's role in a project away.
    UserRevoke {
        /// The user.
        user: String,
        /// The project, by id or name.
        project: String,
    },
    /// Create a namespace for several users.
    OrganizationCreate {
        /// The name.
        name: String,
        /// Its members.
        members: Vec<String>,
    },
    /// Let a user into an organization.
    OrganizationAdd {
        /// The organization.
        name: String,
        /// The user.
        user: String,
    },
    /// Let a user no longer into an organization.
    OrganizationRemove {
        /// The organization.
        name: String,
        /// The user.
        user: String,
    },
    /// All organizations.
    OrganizationList,
    /// Hand out a token that does not end by itself.
    TokenCreate {
        /// Whose.
        user: String,
    },
    /// End every token of a user, those of logins too.
    TokenDelete {
        /// Whose.
        user: String,
    },
    /// Make an array known, or all that are below a folder.
    ArrayRegister {
        /// In which namespace; `None`: in the only one there is.
        namespace: Option<String>,
        /// Where it is stored.
        uri: String,
        /// What it is called; `None`: as the last part of its place, or the path below the folder.
        name: Option<String>,
        /// All that are below the folder.
        recursive: bool,
    },
    /// The arrays of a namespace, or all.
    ArrayList {
        /// Only of this namespace.
        namespace: Option<String>,
    },
    /// Make an array no longer known.
    ArrayDeregister {
        /// Its namespace; `None`: the only one there is.
        namespace: Option<String>,
        /// The array, by its name, its id, or where it is stored.
        array: String,
    },
}

/// A password on its way; it is not shown by mistake.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Password(pub String);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password")
    }
}

/// A user that was just made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NewUser {
    /// The name.
    pub username: Text,
    /// The password: the only time it is shown.
    pub password: Password,
}

/// A token that was just made: the only time it is shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NewToken {
    /// The token.
    pub token: Password,
}

/// A user.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UserView {
    /// The name.
    pub username: Text,
    /// Tokens that do not end by themselves.
    pub tokens: usize,
    /// When it was created.
    pub created: Timestamp,
    /// What the user may do in which projects.
    #[serde(default)]
    pub roles: Vec<RoleView>,
    /// Whether the user may manage the server.
    #[serde(default, rename = "isAdministrator", skip_serializing_if = "std::ops::Not::not")]
    pub is_administrator: bool,
}

/// What a user may do in a project.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RoleView {
    /// The project.
    pub project_id: ProjectId,
    /// Its name.
    pub project: Text,
    /// What may be done.
    pub role: Role,
}

/// An organization.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OrganizationView {
    /// The name.
    pub name: Text,
    /// Its members.
    pub members: BTreeSet<Text>,
    /// When it was created.
    pub created: Timestamp,
}

/// An array.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ArrayView {
    /// Its id.
    pub id: String,
    /// Its namespace.
    pub namespace: Text,
    /// Its name.
    pub name: Text,
    /// Where it is stored.
    pub uri: Text,
    /// When it was registered.
    pub created: Timestamp,
}

/// The shortest password that is taken, as TileDB's clients have it.
const PASSWORD_CHARS_MIN: usize = 8;

impl Admin {
    pub(super) fn execute_on_arrays(
        &self,
        by: &Actor,
        request: ArraysRequest,
    ) -> Result<Reply, Failure> {
        let catalog = self.store.catalog();
        let arrays = catalog.registry.arrays();
        match request {
            ArraysRequest::UserCreate { name, password } => self.create_user(by, &name, password),
            ArraysRequest::UserPassword { name, password, end_tokens } => {
                self.change_password(by, &name, password, end_tokens)
            }
            ArraysRequest::UserList => {
                let view = |user| user_view(&catalog.registry, user);
                Ok(Reply::Users(arrays.users().map(view).collect()))
            }
            ArraysRequest::UserGrant { user, project, role } => {
                let project = project_of(&catalog.registry, &project)?;
                let user = Text::from(user);
                let granted = RegistryChange::RoleGranted { user, project, role };
                self.store.change_registry(by, vec![granted])?;
                Ok(Reply::Done)
            }
            ArraysRequest::UserRevoke { user, project } => {
                let project = project_of(&catalog.registry, &project)?;
                let revoked = RegistryChange::RoleRevoked { user: user.into(), project };
                self.store.change_registry(by, vec![revoked])?;
                Ok(Reply::Done)
            }
            ArraysRequest::OrganizationCreate { name, members } => {
                let organization = Organization {
                    name: name.as_str().into(),
                    id: self.new_id(),
                    members: members.into_iter().map(Text::from).collect(),
                    created: self.clock.now(),
                };
                self.change(by, vec![ArraysChange::OrganizationCreated(organization)])?;
                self.show_organization(&name)
            }
            ArraysRequest::OrganizationAdd { name, user } => {
                let organization = name.as_str().into();
                let change = ArraysChange::MemberAdded { organization, user: user.into() };
                self.change(by, vec![change])?;
                self.show_organization(&name)
            }
            ArraysRequest::OrganizationRemove { name, user } => {
                let organization = name.as_str().into();
                let change = ArraysChange::MemberRemoved { organization, user: user.into() };
                self.change(by, vec![change])?;
                self.show_organization(&name)
            }
            ArraysRequest::OrganizationList => {
                Ok(Reply::Organizations(arrays.organizations().map(organization).collect()))
            }
            ArraysRequest::TokenCreate { user } => {
                let token = users::new_token(&*self.random);
                let created = Token {
                    sha256: users::token_sha256(&token),
                    user: user.into(),
                    created: self.clock.now(),
                    expires: None,
                };
                self.change(by, vec![ArraysChange::TokenCreated(created)])?;
                Ok(Reply::NewToken(NewToken { token: Password(token) }))
            }
            ArraysRequest::TokenDelete { user } => {
                if arrays.user(&user).is_none() {
                    return Err(Failure::missing(format!("no user {user}")));
                }
                let sha256 = arrays.tokens_of(&user).map(|token| token.sha256);
                let ended: Vec<_> =
                    sha256.map(|sha256| ArraysChange::TokenDeleted { sha256 }).collect();
                if !ended.is_empty() {
                    self.change(by, ended)?;
                }
                Ok(Reply::Done)
            }
            ArraysRequest::ArrayRegister { namespace, uri, name, recursive } => {
                let namespace = one_namespace(arrays, namespace)?;
                self.register(by, arrays, &namespace, &uri, (name, recursive))
            }
            ArraysRequest::ArrayList { namespace } => {
                let only = namespace.as_deref();
                if let Some(name) = only.filter(|name| !arrays.is_namespace(name)) {
                    return Err(Failure::missing(format!("no namespace {name}")));
                }
                let of = arrays.arrays();
                let of = of.filter(|array| only.is_none_or(|only| *array.namespace == *only));
                let mut views: Vec<ArrayView> = of.map(array).collect();
                views.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
                Ok(Reply::Arrays(views))
            }
            ArraysRequest::ArrayDeregister { namespace, array } => {
                let namespace = one_namespace(arrays, namespace)?;
                let by_uri = || arrays.find(&namespace, &canonical(&array).ok()?);
                let found = arrays.find(&namespace, &array).or_else(by_uri);
                let id = found.map(|array| array.id).ok_or_else(|| {
                    Failure::missing(format!("namespace {namespace} has no array {array}"))
                })?;
                self.change(by, vec![ArraysChange::ArrayRemoved { id, deleted: false }])?;
                Ok(Reply::Done)
            }
        }
    }

    fn create_user(
        &self,
        by: &Actor,
        name: &str,
        password: Option<Password>,
    ) -> Result<Reply, Failure> {
        let password = self.new_password(password)?;
        let user = User {
            name: name.into(),
            id: self.new_id(),
            password: users::kept(&*self.random, &password, users::ITERATIONS),
            created: self.clock.now(),
        };
        let username = user.name.clone();
        self.change(by, vec![ArraysChange::UserCreated(user)])?;
        Ok(Reply::NewUser(NewUser { username, password: Password(password) }))
    }

    fn change_password(
        &self,
        by: &Actor,
        name: &str,
        password: Option<Password>,
        end_tokens: bool,
    ) -> Result<Reply, Failure> {
        let password = self.new_password(password)?;
        let kept = users::kept(&*self.random, &password, users::ITERATIONS);
        let username = Text::from(name);
        let change = ArraysChange::PasswordChanged { user: username.clone(), password: kept };
        // A token of a login stands for the password that it was got with; programs have theirs by themselves.
        let catalog = self.store.catalog();
        let tokens = catalog.registry.arrays().tokens_of(name);
        let ended = tokens.filter(|token| end_tokens || token.expires.is_some());
        let ended = ended.map(|token| ArraysChange::TokenDeleted { sha256: token.sha256 });
        self.change(by, std::iter::once(change).chain(ended).collect())?;
        Ok(Reply::NewUser(NewUser { username, password: Password(password) }))
    }

    /// The password that was wished for, or a random one.
    fn new_password(&self, wished: Option<Password>) -> Result<String, Failure> {
        let Some(Password(password)) = wished else { return Ok(users::new_token(&*self.random)) };
        let is_right = password.chars().count() >= PASSWORD_CHARS_MIN
            && password.len() <= users::PASSWORD_BYTES_MAX;
        match is_right {
            true => Ok(password),
            false => Err(Failure::invalid(format!(
                "a password has {PASSWORD_CHARS_MIN} characters at least, and {} bytes at most",
                users::PASSWORD_BYTES_MAX
            ))),
        }
    }

    fn register(
        &self,
        by: &Actor,
        arrays: &Arrays,
        namespace: &str,
        uri: &str,
        (name, recursive): (Option<String>, bool),
    ) -> Result<Reply, Failure> {
        let uri = canonical(uri).map_err(Failure::invalid)?;
        let places = Places::everywhere(Path::new(&self.store.status()?.data_dir));
        let new = |name: &str, uri: Text| Array {
            id: self.new_id(),
            namespace: namespace.into(),
            name: name.into(),
            uri,
            created: self.clock.now(),
            created_by: by.principal.to_string().into(),
            description: Text::default(),
            tags: Vec::new(),
            shares: BTreeMap::new(),
        };
        let found = match (recursive, name) {
            (false, name) => {
                vec![new(name.as_deref().unwrap_or_else(|| basename(&uri)), uri.clone())]
            }
            (true, Some(_)) => {
                return Err(Failure::invalid("one name is not for all arrays below a folder"));
            }
            (true, None) => below(&uri)?
                .into_iter()
                // It can be repeated: what is known already stays as it is.
                .filter(|(_, uri)| arrays.find(namespace, uri).is_none())
                .filter(|(_, uri)| places.check(uri).is_ok())
                .map(|(name, uri)| new(&name, uri))
                .collect(),
        };
        for array in &found {
            places.check(&array.uri).map_err(Failure::invalid)?;
        }
        let views = found.iter().map(array).collect();
        if !found.is_empty() {
            self.change(by, found.into_iter().map(ArraysChange::ArrayRegistered).collect())?;
        }
        Ok(Reply::Arrays(views))
    }

    fn show_organization(&self, name: &str) -> Result<Reply, Failure> {
        let catalog = self.store.catalog();
        let found = catalog.registry.arrays().organization(name);
        let found = found.ok_or_else(|| Failure::failed("the organization is gone"))?;
        Ok(Reply::Organizations(vec![organization(found)]))
    }

    fn change(&self, by: &Actor, changes: Vec<ArraysChange>) -> Result<(), Failure> {
        let changes = changes.into_iter().map(RegistryChange::Arrays).collect();
        Ok(self.store.change_registry(by, changes)?)
    }

    fn new_id(&self) -> Uuid {
        let mut bytes = [0; 16];
        self.random.fill(&mut bytes);
        Uuid::random(bytes)
    }
}

/// Every array below a folder, by its path from there.
fn below(uri: &str) -> Result<Vec<(String, Text)>, Failure> {
    let folder = uri.strip_prefix("file://").ok_or_else(|| {
        Failure::invalid(format!(
            "{uri} is not on this machine's disk, where folders can be walked"
        ))
    })?;
    let folder = Path::new(folder);
    let found = find_below(folder).map_err(|error| {
        Failure::failed(format!("{} cannot be walked: {error}", folder.display()))
    })?;
    let named = |path: &Path| {
        let text = path.to_str().and_then(|text| canonical(text).ok()).ok_or_else(|| {
            Failure::invalid(format!("{} cannot be the place of an array", path.display()))
        })?;
        let name = match path.strip_prefix(folder).ok().and_then(Path::to_str) {
            None | Some("") => basename(&text).to_owned(),
            Some(name) => name.to_owned(),
        };
        Ok((name, text))
    };
    found.iter().map(|path| named(path)).collect()
}

fn one_namespace(arrays: &Arrays, named: Option<String>) -> Result<Text, Failure> {
    match named {
        Some(name) if arrays.is_namespace(&name) => Ok(name.into()),
        Some(name) => Err(Failure::missing(format!(
            "no namespace {name}: doorbook user create or doorbook organization create makes one"
        ))),
        None => {
            let names: Vec<String> = arrays.namespaces().map(ToString::to_string).collect();
            match &names[..] {
                [only] => Ok(only.as_str().into()),
                [] => Err(Failure::missing("there is no namespace yet: doorbook user create")),
                several => {
                    Err(Failure::invalid(format!("give --namespace; there is {}", list(several))))
                }
            }
        }
    }
}

fn project_of(registry: &Registry, text: &str) -> Result<ProjectId, Failure> {
    let found = registry.find_project(text).map(|project| project.id);
    found.ok_or_else(|| Failure::missing(format!("no project {text}")))
}

fn user_view(registry: &Registry, user: &User) -> UserView {
    let tokens = registry.arrays().tokens_of(&user.name);
    let role = |(project, role): (&Project, Role)| RoleView {
        project_id: project.id,
        project: project.name.clone(),
        role,
    };
    UserView {
        username: user.name.clone(),
        tokens: tokens.filter(|token| token.expires.is_none()).count(),
        created: user.created,
        roles: registry.roles_of_user(&user.name).map(role).collect(),
        is_administrator: registry.is_administrator(&user.name),
    }
}

fn organization(organization: &Organization) -> OrganizationView {
    let Organization { name, members, created, .. } = organization;
    OrganizationView { name: name.clone(), members: members.clone(), created: *created }
}

fn array(array: &Array) -> ArrayView {
    let Array { id, namespace, name, uri, created, .. } = array;
    ArrayView {
        id: id.to_string(),
        namespace: namespace.clone(),
        name: name.clone(),
        uri: uri.clone(),
        created: *created,
    }
}
