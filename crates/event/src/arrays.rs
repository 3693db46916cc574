//! Users, organizations, their tokens, and arrays: the part of the registry that is not about
//! projects.
//!
//! A **namespace** is a user or an organization; both take their names from one set. Arrays belong to
//! a namespace, which may do everything with them, and may be shared with others. The history of a
//! namespace's arrays is a scope of its own ([`Scope::Namespace`]), and each array is a
//! [`Target::Array`] by its **id**: names and storage addresses change hands, and the history of an array
//! must not become that of another one.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use minicbor::{Decode, Encode};

use crate::public_id::PublicId;
use crate::registry::RegistryError;
use crate::target::Malformed;
use crate::{Action, Scope, Target, Text, Timestamp};

/// What names something for good: 16 bytes, shown as a UUID.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct Uuid(#[cbor(n(0), with = "minicbor::bytes")] [u8; 16]);

impl Uuid {
    /// A version 4 UUID of these random bytes.
    pub const fn random(mut bytes: [u8; 16]) -> Uuid {
        bytes[6] = bytes[6] & 0x0f | 0x40; // version 4
        bytes[8] = bytes[8] & 0x3f | 0x80; // the variant of RFC 9562
        Uuid(bytes)
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        PublicId::from_bytes(self.0).fmt(f)
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Uuid {
    type Err = Malformed;
    fn from_str(text: &str) -> Result<Uuid, Malformed> {
        text.parse().map(|id: PublicId| Uuid(id.bytes()))
    }
}

/// Someone with a password, and with a namespace of the same name.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct User {
    /// Unique among users and organizations.
    #[n(0)]
    pub name: Text,
    /// Names the user for good.
    #[n(1)]
    pub id: Uuid,
    /// What is kept of the password.
    #[n(2)]
    pub password: PasswordHash,
    /// When it was created, by our clock.
    #[n(3)]
    pub created: Timestamp,
}

/// PBKDF2 with HMAC-SHA-256 of a password.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct PasswordHash {
    /// Random.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub salt: [u8; 16],
    /// How often.
    #[n(1)]
    pub iterations: u32,
    /// The result.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub hash: [u8; 32],
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash")
    }
}

/// A namespace that several users share.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Organization {
    /// Unique among users and organizations.
    #[n(0)]
    pub name: Text,
    /// Names the organization for good.
    #[n(1)]
    pub id: Uuid,
    /// Users who may do in the namespace what they may do in their own.
    #[n(2)]
    pub members: BTreeSet<Text>,
    /// When it was created, by our clock.
    #[n(3)]
    pub created: Timestamp,
}

/// What a program shows instead of a password.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Token {
    /// SHA-256 of the token (256 random bits, so that a slow hash would add nothing).
    #[cbor(n(0), with = "minicbor::bytes")]
    pub sha256: [u8; 32],
    /// Whose it is.
    #[n(1)]
    pub user: Text,
    /// When it was created, by our clock.
    #[n(2)]
    pub created: Timestamp,
    /// When it ends; `None`: when it is deleted. One that ends came of a login.
    #[n(3)]
    pub expires: Option<Timestamp>,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("user", &self.user).finish_non_exhaustive()
    }
}

/// An array of a namespace.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Array {
    /// Names the array for good, and in its history.
    #[n(0)]
    pub id: Uuid,
    /// The namespace it belongs to.
    #[n(1)]
    pub namespace: Text,
    /// Its name, unique in the namespace.
    #[n(2)]
    pub name: Text,
    /// Where it is stored, unique in the namespace: `file:///data/a`, `s3://bucket/a`.
    #[n(3)]
    pub uri: Text,
    /// When it was registered, by our clock.
    #[n(4)]
    pub created: Timestamp,
    /// Who registered it, for people.
    #[n(5)]
    pub created_by: Text,
    /// For people.
    #[n(6)]
    pub description: Text,
    /// For people.
    #[n(7)]
    pub tags: Vec<Text>,
    /// What other namespaces may do with it; everybody, under [`PUBLIC`].
    #[n(8)]
    pub shares: BTreeMap<Text, BTreeSet<Right>>,
}

/// What may be done with an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Right {
    /// Read cells.
    #[n(0)]
    Read,
    /// Write cells, and so report what was done.
    #[n(1)]
    Write,
    /// Change its name, description and tags.
    #[n(2)]
    Edit,
    /// Read its history.
    #[n(3)]
    ReadLogs,
    /// Read what is known of it.
    #[n(4)]
    ReadInfo,
    /// Read its schema.
    #[n(5)]
    ReadSchema,
}

impl Right {
    /// Every right.
    pub const ALL: [Right; 6] = [
        Right::Read,
        Right::Write,
        Right::Edit,
        Right::ReadLogs,
        Right::ReadInfo,
        Right::ReadSchema,
    ];
}

/// Stands for everybody where an array is shared; nobody can be called so.
pub const PUBLIC: &str = "public";

/// Names that no namespace can have, because they mean something else where one is expected.
const RESERVED: [&str; 2] = [PUBLIC, "browser"];

/// Arrays of one namespace: all of them are in memory.
const ARRAYS_MAX: usize = 10_000;

const NAME_CHARS_MAX: usize = 250;
const URI_BYTES_MAX: usize = 2048;
const DESCRIPTION_BYTES_MAX: usize = 16 * 1024;
const TAGS_MAX: usize = 64;
const TAG_CHARS_MAX: usize = 128;
const SHARES_MAX: usize = 1000;

/// Whether the text can name a user or an organization: `^[\w.\-]+$`, 63 at most.
pub fn is_namespace(text: &str) -> bool {
    let allowed = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '-');
    let length = text.chars().count();
    (1..=63).contains(&length)
        && text.chars().all(allowed)
        && !text.chars().all(|c| c == '.')
        && !RESERVED.contains(&text)
}

/// What a user's text says of an array: its name in the namespace, its id, or where it is stored.
fn is_array_name(text: &str) -> bool {
    let is_part = |part: &str| !part.is_empty() && part != "." && part != "..";
    (1..=NAME_CHARS_MAX).contains(&text.chars().count())
        && !text.chars().any(char::is_control)
        && text.split('/').all(is_part)
        // Such a name would hide another array's id or storage address.
        && text.parse::<Uuid>().is_err()
        && !text.contains("://")
}

/// Whether the text can be where an array is stored: a scheme, and a path without `.` and `..`.
pub fn is_storage_uri(text: &str) -> bool {
    let Some((scheme, path)) = text.split_once("://") else { return false };
    !scheme.is_empty()
        && scheme.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        && scheme != "tiledb"
        && text.len() <= URI_BYTES_MAX
        && !text.chars().any(char::is_control)
        && path.len() > 1
        && !path.split('/').any(|part| matches!(part, "." | ".."))
}

/// Whether something is stored at a place or below it. `s3://` has all that is in buckets.
pub fn is_below(uri: &str, place: &str) -> bool {
    uri.strip_prefix(place)
        .is_some_and(|rest| rest.is_empty() || place.ends_with('/') || rest.starts_with('/'))
}

/// One change of users, organizations, tokens or arrays.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum ArraysChange {
    /// A user came to be, and a namespace with it.
    #[n(0)]
    UserCreated(#[n(0)] User),
    /// An organization came to be.
    #[n(1)]
    OrganizationCreated(#[n(0)] Organization),
    /// A user became a member of an organization.
    #[n(2)]
    MemberAdded {
        /// The organization.
        #[n(0)]
        organization: Text,
        /// The user.
        #[n(1)]
        user: Text,
    },
    /// A token was handed out.
    #[n(3)]
    TokenCreated(#[n(0)] Token),
    /// A token ends.
    #[n(4)]
    TokenDeleted {
        /// What is kept of it.
        #[cbor(n(0), with = "minicbor::bytes")]
        sha256: [u8; 32],
    },
    /// An array was registered.
    #[n(5)]
    ArrayRegistered(#[n(0)] Array),
    /// What people say of an array changed.
    #[n(6)]
    ArrayUpdated {
        /// The array.
        #[n(0)]
        id: Uuid,
        /// Its name from now on.
        #[n(1)]
        name: Text,
        /// Its description from now on.
        #[n(2)]
        description: Text,
        /// Its tags from now on.
        #[n(3)]
        tags: Vec<Text>,
    },
    /// What others may do with an array changed.
    #[n(7)]
    ArrayShared {
        /// The array.
        #[n(0)]
        id: Uuid,
        /// The other namespace, or [`PUBLIC`].
        #[n(1)]
        with: Text,
        /// What it may do from now on; with none the array is shared with it no longer.
        #[n(2)]
        rights: BTreeSet<Right>,
    },
    /// An array is no longer known. What is stored of it stays.
    #[n(8)]
    ArrayRemoved {
        /// The array.
        #[n(0)]
        id: Uuid,
        /// Whoever asked called it deleting.
        #[n(1)]
        deleted: bool,
    },
    /// A user is no member of an organization any more.
    #[n(13)]
    MemberRemoved {
        /// The organization.
        #[n(0)]
        organization: Text,
        /// The user.
        #[n(1)]
        user: Text,
    },
    /// A user has another password from now on. (9 to 11 are kept for others.)
    #[n(12)]
    PasswordChanged {
        /// The user.
        #[n(0)]
        user: Text,
        /// What is kept of the password.
        #[n(1)]
        password: PasswordHash,
    },
}

impl ArraysChange {
    /// What kind of thing changes, and its name. Never a secret.
    pub fn subject(&self) -> (&'static str, String) {
        match self {
            ArraysChange::UserCreated(user) => ("user", user.name.to_string()),
            ArraysChange::PasswordChanged { user, .. } => ("user", user.to_string()),
            ArraysChange::OrganizationCreated(organization) => {
                ("organization", organization.name.to_string())
            }
            ArraysChange::MemberAdded { organization, .. }
            | ArraysChange::MemberRemoved { organization, .. } => {
                ("organization", organization.to_string())
            }
            ArraysChange::TokenCreated(token) => ("token", token.user.to_string()),
            ArraysChange::TokenDeleted { .. } => ("token", String::new()),
            ArraysChange::ArrayRegistered(array) => ("array", array.id.to_string()),
            ArraysChange::ArrayUpdated { id, .. }
            | ArraysChange::ArrayShared { id, .. }
            | ArraysChange::ArrayRemoved { id, .. } => ("array", id.to_string()),
        }
    }

    /// What happens to it.
    pub const fn verb(&self) -> &'static str {
        match self {
            ArraysChange::UserCreated(_)
            | ArraysChange::OrganizationCreated(_)
            | ArraysChange::TokenCreated(_) => "create",
            ArraysChange::MemberAdded { .. } => "add_member",
            ArraysChange::MemberRemoved { .. } => "remove_member",
            ArraysChange::TokenDeleted { .. } => "delete",
            ArraysChange::ArrayRegistered(_) => "register",
            ArraysChange::ArrayUpdated { .. } => "update",
            ArraysChange::ArrayShared { .. } => "share",
            ArraysChange::ArrayRemoved { deleted: false, .. } => "deregister",
            ArraysChange::ArrayRemoved { deleted: true, .. } => "delete",
            ArraysChange::PasswordChanged { .. } => "change_password",
        }
    }
}

/// What a change is to the history of the array that it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Act {
    /// Whose history.
    pub scope: Scope,
    /// Which array.
    pub target: Target,
    /// What was done to it.
    pub action: Action,
    /// What else there is to say.
    pub attributes: Vec<(&'static str, Text)>,
}

/// All users, organizations, tokens and arrays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Arrays {
    #[n(0)]
    users: BTreeMap<Text, User>,
    #[n(1)]
    organizations: BTreeMap<Text, Organization>,
    #[n(2)]
    tokens: BTreeMap<Sha256, Token>,
    #[n(3)]
    arrays: BTreeMap<Text, BTreeMap<Uuid, Array>>,
}

/// As a key on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(transparent)]
struct Sha256(#[cbor(n(0), with = "minicbor::bytes")] [u8; 32]);

impl Arrays {
    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        *self == Arrays::default()
    }

    /// Every user, by name.
    pub fn users(&self) -> impl Iterator<Item = &User> {
        self.users.values()
    }

    /// A user by name.
    pub fn user(&self, name: &str) -> Option<&User> {
        self.users.get(name)
    }

    /// Every organization, by name.
    pub fn organizations(&self) -> impl Iterator<Item = &Organization> {
        self.organizations.values()
    }

    /// An organization by name.
    pub fn organization(&self, name: &str) -> Option<&Organization> {
        self.organizations.get(name)
    }

    /// Whether there is a user or an organization of that name.
    pub fn is_namespace(&self, name: &str) -> bool {
        self.users.contains_key(name) || self.organizations.contains_key(name)
    }

    /// Every namespace, by name; those of users first.
    pub fn namespaces(&self) -> impl Iterator<Item = &Text> {
        self.users.keys().chain(self.organizations.keys())
    }

    /// Whether everything in a namespace is a user's: it is the user's own, or that of an organization
    /// with the user as a member.
    pub fn owns(&self, user: &str, namespace: &str) -> bool {
        let is_own = user == namespace && self.users.contains_key(user);
        let organization = self.organizations.get(namespace);
        is_own || organization.is_some_and(|organization| organization.members.contains(user))
    }

    /// The token of that hash; it may have ended.
    pub fn token(&self, sha256: &[u8; 32]) -> Option<&Token> {
        self.tokens.get(&Sha256(*sha256))
    }

    /// The tokens of a user.
    pub fn tokens_of<'a>(&'a self, user: &'a str) -> impl Iterator<Item = &'a Token> {
        self.tokens.values().filter(move |token| *token.user == *user)
    }

    /// Every array, by namespace.
    pub fn arrays(&self) -> impl Iterator<Item = &Array> {
        self.arrays.values().flat_map(BTreeMap::values)
    }

    /// The arrays of a namespace.
    pub fn arrays_of(&self, namespace: &str) -> impl Iterator<Item = &Array> {
        self.arrays.get(namespace).into_iter().flat_map(BTreeMap::values)
    }

    /// The array that a user's text means: by name, by id, or by where it is stored.
    pub fn find(&self, namespace: &str, text: &str) -> Option<&Array> {
        let of_namespace = self.arrays.get(namespace)?;
        if let Some(array) = text.parse().ok().and_then(|id: Uuid| of_namespace.get(&id)) {
            return Some(array);
        }
        let is_meant = |array: &&Array| *array.name == *text || *array.uri == *text;
        of_namespace.values().find(is_meant)
    }

    /// What a user may do with an array.
    pub fn rights(&self, user: &str, array: &Array) -> BTreeSet<Right> {
        if self.owns(user, &array.namespace) {
            return Right::ALL.into();
        }
        let mut rights = BTreeSet::new();
        for (with, shared) in &array.shares {
            let is_public = **with == *PUBLIC;
            if is_public || self.owns(user, with) {
                rights.extend(shared);
                // Who works with an array by name sees what was done to it. Everybody does not.
                if shared.contains(&Right::Read) && !is_public {
                    rights.insert(Right::ReadLogs);
                }
            }
        }
        if !rights.is_empty() {
            rights.extend([Right::ReadInfo, Right::ReadSchema]);
        }
        rights
    }

    /// What a change that was not applied yet will be to an array's history.
    pub fn act(&self, change: &ArraysChange) -> Option<Act> {
        let act = |array: &Array, action, attributes| {
            let (namespace, array) = (array.namespace.clone(), array.id.to_string().into());
            let scope = Scope::Namespace(namespace.clone());
            Some(Act { scope, target: Target::Array { namespace, array }, action, attributes })
        };
        match change {
            ArraysChange::ArrayRegistered(array) => {
                let said = vec![("name", array.name.clone()), ("uri", array.uri.clone())];
                act(array, Action::Register, said)
            }
            ArraysChange::ArrayUpdated { id, name, description, tags } => {
                let array = self.array(id)?;
                let mut said = Vec::new();
                if *name != array.name {
                    said.extend([("name_before", array.name.clone()), ("name", name.clone())]);
                }
                if *description != array.description {
                    said.push(("description", description.clone()));
                }
                if *tags != array.tags {
                    said.push(("tags", tags.join(",").into()));
                }
                act(array, Action::Update, said)
            }
            ArraysChange::ArrayShared { id, with, rights } => {
                let rights: Vec<&str> = rights.iter().map(|right| right.word()).collect();
                let said = vec![("with", with.clone()), ("rights", rights.join(",").into())];
                act(self.array(id)?, Action::Share, said)
            }
            ArraysChange::ArrayRemoved { id, deleted } => {
                let array = self.array(id)?;
                let action = if *deleted { Action::Delete } else { Action::Deregister };
                act(array, action, vec![("name", array.name.clone()), ("uri", array.uri.clone())])
            }
            _ => None,
        }
    }

    /// Whether `change` can be applied now.
    pub fn check(&self, change: &ArraysChange) -> Result<(), RegistryError> {
        use RegistryError::{Exists, Missing};
        match change {
            ArraysChange::UserCreated(User { name, .. }) => self.check_new_namespace(name),
            ArraysChange::OrganizationCreated(organization) => {
                self.check_new_namespace(&organization.name)?;
                organization.members.iter().try_for_each(|user| self.check_user(user))
            }
            ArraysChange::MemberAdded { organization, user } => {
                self.check_user(user)?;
                match self.organizations.get(organization) {
                    None => Err(Missing(format!("no organization {organization}"))),
                    Some(known) if known.members.contains(user) => {
                        Err(Exists(format!("{user} is a member of {organization} already")))
                    }
                    Some(_) => Ok(()),
                }
            }
            ArraysChange::MemberRemoved { organization, user } => {
                match self.organizations.get(organization) {
                    None => Err(Missing(format!("no organization {organization}"))),
                    Some(known) if known.members.contains(user) => Ok(()),
                    Some(_) => Err(Missing(format!("{user} is no member of {organization}"))),
                }
            }
            ArraysChange::TokenCreated(token) => {
                self.check_user(&token.user)?;
                match self.token(&token.sha256) {
                    Some(_) => Err(Exists("there is this token already".to_owned())),
                    None => Ok(()),
                }
            }
            ArraysChange::TokenDeleted { sha256 } => match self.token(sha256) {
                Some(_) => Ok(()),
                None => Err(Missing("no such token".to_owned())),
            },
            ArraysChange::ArrayRegistered(array) => self.check_new_array(array),
            ArraysChange::ArrayUpdated { id, name, description, tags } => {
                let array = self.array(id).ok_or_else(|| no_array(id))?;
                if *name != array.name {
                    self.check_array_name(&array.namespace, name)?;
                }
                check_words(description, tags)
            }
            ArraysChange::ArrayShared { id, with, .. } => {
                let array = self.array(id).ok_or_else(|| no_array(id))?;
                if **with != *PUBLIC && !self.is_namespace(with) {
                    return Err(Missing(format!("no namespace {with}")));
                }
                if *with == array.namespace {
                    return invalid(format!("{with} owns the array and may do everything with it"));
                }
                if array.shares.len() >= SHARES_MAX && !array.shares.contains_key(with) {
                    return invalid(format!("an array is shared with {SHARES_MAX} at most"));
                }
                Ok(())
            }
            ArraysChange::ArrayRemoved { id, .. } => {
                self.array(id).map(drop).ok_or_else(|| no_array(id))
            }
            ArraysChange::PasswordChanged { user, .. } => self.check_user(user),
        }
    }

    /// Applies a change that [`Arrays::check`] allowed.
    pub fn apply(&mut self, change: ArraysChange) {
        match change {
            ArraysChange::UserCreated(user) => {
                self.users.insert(user.name.clone(), user);
            }
            ArraysChange::OrganizationCreated(organization) => {
                self.organizations.insert(organization.name.clone(), organization);
            }
            ArraysChange::MemberAdded { organization, user } => {
                let organization = self.organizations.get_mut(&organization);
                organization.expect("check found the organization").members.insert(user);
            }
            ArraysChange::MemberRemoved { organization, user } => {
                let organization = self.organizations.get_mut(&organization);
                organization.expect("check found the organization").members.remove(&user);
            }
            ArraysChange::TokenCreated(token) => {
                self.tokens.insert(Sha256(token.sha256), token);
            }
            ArraysChange::TokenDeleted { sha256 } => {
                self.tokens.remove(&Sha256(sha256));
            }
            ArraysChange::ArrayRegistered(array) => {
                let of_namespace = self.arrays.entry(array.namespace.clone()).or_default();
                of_namespace.insert(array.id, array);
            }
            ArraysChange::ArrayUpdated { id, name, description, tags } => {
                let array = self.array_mut(&id);
                (array.name, array.description, array.tags) = (name, description, tags);
            }
            ArraysChange::ArrayShared { id, with, rights } => {
                let shares = &mut self.array_mut(&id).shares;
                match rights.is_empty() {
                    true => shares.remove(&with),
                    false => shares.insert(with, rights),
                };
            }
            ArraysChange::ArrayRemoved { id, .. } => {
                self.arrays.values_mut().for_each(|of_namespace| drop(of_namespace.remove(&id)));
            }
            ArraysChange::PasswordChanged { user, password } => {
                self.users.get_mut(&user).expect("check found the user").password = password;
            }
        }
    }

    fn array(&self, id: &Uuid) -> Option<&Array> {
        self.arrays.values().find_map(|of_namespace| of_namespace.get(id))
    }

    fn array_mut(&mut self, id: &Uuid) -> &mut Array {
        let array = self.arrays.values_mut().find_map(|of_namespace| of_namespace.get_mut(id));
        array.expect("check found the array")
    }

    fn check_new_namespace(&self, name: &str) -> Result<(), RegistryError> {
        if !is_namespace(name) {
            return invalid(format!(
                "{name:?} is not a name for a user or an organization: 1 to 63 letters, digits and \
                 _.-, not only dots, and not {}",
                RESERVED.join(" or ")
            ));
        }
        match self.is_namespace(name) {
            true => Err(RegistryError::Exists(format!("there is a namespace {name} already"))),
            false => Ok(()),
        }
    }

    fn check_user(&self, name: &str) -> Result<(), RegistryError> {
        match self.user(name) {
            Some(_) => Ok(()),
            None => Err(RegistryError::Missing(format!("no user {name}"))),
        }
    }

    fn check_array_name(&self, namespace: &str, name: &str) -> Result<(), RegistryError> {
        if !is_array_name(name) {
            return invalid(format!(
                "{name:?} is not a name for an array: 1 to {NAME_CHARS_MAX} characters, no control \
                 characters, no part between slashes that is empty, . or .., and neither a UUID \
                 nor an address"
            ));
        }
        match self.arrays_of(namespace).any(|array| *array.name == *name) {
            true => Err(RegistryError::Exists(format!(
                "there is an array {name} in namespace {namespace} already"
            ))),
            false => Ok(()),
        }
    }

    fn check_new_array(&self, array: &Array) -> Result<(), RegistryError> {
        let Array { id, namespace, name, uri, .. } = array;
        if !self.is_namespace(namespace) {
            return Err(RegistryError::Missing(format!("no namespace {namespace}")));
        }
        self.check_array_name(namespace, name)?;
        if !is_storage_uri(uri) {
            return invalid(format!(
                "{:?} is not where an array can be stored: file:///PATH, s3://BUCKET/KEY and the \
                 like, without . and .. between slashes, at most {URI_BYTES_MAX} bytes",
                &**uri
            ));
        }
        if let Some(other) = self.arrays_of(namespace).find(|other| other.uri == *uri) {
            return Err(RegistryError::Exists(format!(
                "{uri} is registered in namespace {namespace} already, as {}",
                other.name
            )));
        }
        if self.array(id).is_some() {
            return Err(RegistryError::Exists(format!("there is an array {id} already")));
        }
        if self.arrays_of(namespace).count() >= ARRAYS_MAX {
            return invalid(format!("namespace {namespace} has {ARRAYS_MAX} arrays: no more fit"));
        }
        check_words(&array.description, &array.tags)
    }
}

impl Right {
    /// The word for it in the history.
    pub const fn word(self) -> &'static str {
        match self {
            Right::Read => "read",
            Right::Write => "write",
            Right::Edit => "edit",
            Right::ReadLogs => "read_logs",
            Right::ReadInfo => "read_info",
            Right::ReadSchema => "read_schema",
        }
    }
}

fn check_words(description: &str, tags: &[Text]) -> Result<(), RegistryError> {
    if description.len() > DESCRIPTION_BYTES_MAX {
        return invalid(format!("a description has at most {DESCRIPTION_BYTES_MAX} bytes"));
    }
    let is_tag = |tag: &Text| (1..=TAG_CHARS_MAX).contains(&tag.chars().count());
    match tags.len() <= TAGS_MAX && tags.iter().all(is_tag) {
        true => Ok(()),
        false => invalid(format!("at most {TAGS_MAX} tags of 1 to {TAG_CHARS_MAX} characters")),
    }
}

fn no_array(id: &Uuid) -> RegistryError {
    RegistryError::Missing(format!("no array {id}"))
}

fn invalid(why: String) -> Result<(), RegistryError> {
    Err(RegistryError::Invalid(why))
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Timestamp = Timestamp::from_seconds(0);

    fn uuid(n: u8) -> Uuid {
        Uuid::random([n; 16])
    }

    fn user(name: &str) -> ArraysChange {
        let password = PasswordHash { salt: [0; 16], iterations: 1, hash: [0; 32] };
        ArraysChange::UserCreated(User { name: name.into(), id: uuid(0), password, created: AT })
    }

    fn array(n: u8, namespace: &str, name: &str, uri: &str) -> ArraysChange {
        ArraysChange::ArrayRegistered(Array {
            id: uuid(n),
            namespace: namespace.into(),
            name: name.into(),
            uri: uri.into(),
            created: AT,
            created_by: namespace.into(),
            description: Text::default(),
            tags: Vec::new(),
            shares: BTreeMap::new(),
        })
    }

    fn share(n: u8, with: &str, rights: &[Right]) -> ArraysChange {
        let rights = rights.iter().copied().collect();
        ArraysChange::ArrayShared { id: uuid(n), with: with.into(), rights }
    }

    /// alice with `a` and `b`, bob, and the lab of bob's.
    fn sample() -> Arrays {
        let mut arrays = Arrays::default();
        let lab = Organization {
            name: "lab".into(),
            id: uuid(9),
            members: BTreeSet::from(["bob".into()]),
            created: AT,
        };
        for change in [
            user("alice"),
            user("bob"),
            user("carol"),
            ArraysChange::OrganizationCreated(lab),
            array(1, "alice", "a", "s3://bucket/a"),
            array(2, "alice", "dir/b", "file:///data/b"),
        ] {
            arrays.check(&change).expect("allowed");
            arrays.apply(change);
        }
        arrays
    }

    fn applied(arrays: &Arrays, changes: &[ArraysChange]) -> Arrays {
        let mut arrays = arrays.clone();
        for change in changes {
            arrays.check(change).expect("allowed");
            arrays.apply(change.clone());
        }
        arrays
    }

    /// Goal: an array is found by each of its names, and only in its namespace.
    #[test]
    fn an_array_goes_by_name_id_and_address() {
        let arrays = sample();
        let id = uuid(1).to_string();
        for text in ["a", &id, &id.to_uppercase(), "s3://bucket/a"] {
            assert_eq!(arrays.find("alice", text).map(|array| array.id), Some(uuid(1)), "{text}");
            assert_eq!(arrays.find("bob", text), None, "{text}");
        }
        for text in ["A", "b", "s3://bucket/a/", "s3://bucket/A", ""] {
            assert_eq!(arrays.find("alice", text), None, "{text}");
        }
    }

    /// Goal: names that would lead somewhere else, and those that are taken, are refused.
    #[test]
    fn bad_and_taken_names_are_refused() {
        let arrays = sample();
        let check = |change: &ArraysChange| arrays.check(change);
        for name in ["", "a b", "a/b", "public", "browser", "..", "a\0", &"x".repeat(64)] {
            let refused = check(&user(name));
            assert!(matches!(refused, Err(RegistryError::Invalid(_))), "{name:?}");
        }
        for name in ["Alice", "é", "a.b-c_1", &"x".repeat(63)] {
            assert_eq!(check(&user(name)), Ok(()), "{name}");
        }
        for name in ["alice", "lab"] {
            assert!(matches!(check(&user(name)), Err(RegistryError::Exists(_))), "{name}");
        }
        let id = uuid(1).to_string();
        for name in ["", ".", "..", "x/../y", "/x", "x/", "x\0", "x\n", &id, "s3://b/x"] {
            let refused = check(&array(3, "alice", name, "s3://bucket/c"));
            assert!(matches!(refused, Err(RegistryError::Invalid(_))), "{name:?}");
        }
        for uri in [
            "",
            "x",
            "/x",
            "file://",
            "file:///",
            "file:///a/../b",
            "s3://b/\0",
            "S3://b/a",
            "tiledb://a/b",
        ] {
            let refused = check(&array(3, "alice", "c", uri));
            assert!(matches!(refused, Err(RegistryError::Invalid(_))), "{uri:?}");
        }
        for (namespace, name, uri) in
            [("alice", "a", "s3://bucket/c"), ("alice", "c", "s3://bucket/a")]
        {
            let refused = check(&array(3, namespace, name, uri));
            assert!(matches!(refused, Err(RegistryError::Exists(_))), "{name} {uri}");
        }
        let refused = check(&array(3, "nobody", "a", "s3://bucket/a"));
        assert!(matches!(refused, Err(RegistryError::Missing(_))));
        assert_eq!(check(&array(3, "lab", "a", "s3://bucket/a")), Ok(()));
    }

    /// Goal: who is not named may nothing; a share gives what it says, and reading brings the log,
    /// but not to everybody. Method: the whole table of some users and shares.
    #[test]
    fn a_share_gives_what_it_says() {
        let arrays = sample();
        let rights = |arrays: &Arrays, user: &str| {
            let array = arrays.find("alice", "a").expect("there");
            arrays.rights(user, array).into_iter().map(Right::word).collect::<Vec<_>>().join(" ")
        };
        let all = "read write edit read_logs read_info read_schema";
        assert_eq!(rights(&arrays, "alice"), all);
        assert_eq!(rights(&arrays, "bob"), "");
        let shared = applied(&arrays, &[share(1, "bob", &[Right::Read])]);
        assert_eq!(rights(&shared, "bob"), "read read_logs read_info read_schema");
        assert_eq!(rights(&shared, "carol"), "");
        let shared = applied(&arrays, &[share(1, "lab", &[Right::Write])]);
        assert_eq!(rights(&shared, "bob"), "write read_info read_schema");
        let shared = applied(&arrays, &[share(1, PUBLIC, &[Right::Read])]);
        assert_eq!(rights(&shared, "carol"), "read read_info read_schema");
        let shared = applied(&arrays, &[share(1, "bob", &[Right::Read]), share(1, "bob", &[])]);
        assert_eq!(rights(&shared, "bob"), "");
        assert!(matches!(arrays.check(&share(1, "nobody", &[])), Err(RegistryError::Missing(_))));
        assert!(matches!(arrays.check(&share(1, "alice", &[])), Err(RegistryError::Invalid(_))));
        assert!(matches!(arrays.check(&share(7, "bob", &[])), Err(RegistryError::Missing(_))));
    }

    /// Goal: what is done to an array is part of its history under its id, whatever it is called.
    #[test]
    fn changes_of_an_array_are_acts() {
        let arrays = sample();
        let act = |change: &ArraysChange| {
            let act = arrays.act(change)?;
            assert_eq!(act.scope, Scope::Namespace("alice".into()));
            assert_eq!(&**act.target.names().1, uuid(1).to_string());
            Some((act.action, act.attributes.len()))
        };
        assert_eq!(act(&share(1, "bob", &[Right::Read])), Some((Action::Share, 2)));
        let removed = |deleted| ArraysChange::ArrayRemoved { id: uuid(1), deleted };
        assert_eq!(act(&removed(true)), Some((Action::Delete, 2)));
        assert_eq!(act(&removed(false)), Some((Action::Deregister, 2)));
        let renamed = ArraysChange::ArrayUpdated {
            id: uuid(1),
            name: "new".into(),
            description: Text::default(),
            tags: Vec::new(),
        };
        assert_eq!(act(&renamed), Some((Action::Update, 2)));
        assert_eq!(act(&user("dave")), None);
        let renamed = applied(&arrays, &[renamed]);
        assert_eq!(renamed.find("alice", "new").map(|array| array.id), Some(uuid(1)));
        assert_eq!(renamed.find("alice", "a"), None);
        assert_eq!(applied(&renamed, &[removed(false)]).find("alice", "new"), None);
    }

    #[test]
    fn what_lies_below_a_place() {
        let check = |uri: &str, place: &str, expected: bool| {
            assert_eq!(is_below(uri, place), expected, "{uri} below {place}");
        };
        check("s3://lake/a/b", "s3://lake/a", true);
        check("s3://lake/a", "s3://lake/a", true);
        check("s3://lake/ab", "s3://lake/a", false);
        check("s3://lake", "s3://lake/a", false);
        check("s3://lake/a", "s3://", true);
        check("file:///srv/a", "s3://", false);
    }

    #[test]
    fn survives_its_disk_form() {
        let arrays = sample();
        let token = Token { sha256: [3; 32], user: "bob".into(), created: AT, expires: Some(AT) };
        let changes = [ArraysChange::TokenCreated(token), share(1, "bob", &[Right::Read])];
        let arrays = applied(&arrays, &changes);
        let bytes = minicbor::to_vec(&arrays).expect("encodes");
        assert_eq!(minicbor::decode::<Arrays>(&bytes).expect("decodes"), arrays);
        for change in changes {
            let bytes = minicbor::to_vec(&change).expect("encodes");
            assert_eq!(minicbor::decode::<ArraysChange>(&bytes).expect("decodes"), change);
        }
    }
}
