//! Users, organizations, their tokens, and arrays: the part of the registry that is not about
//! projects.
//!
//! A **namespace** is a user or an organization; both take their names from one set. Arrays belong to
//! a namespace, which may do everything with them, and may be shared with others. The history of a
//! namespace's arrays is a scope of its own ([`Scope::Namespace`]), and each array is a
//! [`Target::Array`] by its **id**: names and storage addresses change hands, and the history of an array
//! must not become that of another one.

mod change;
mod check;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use minicbor::{Decode, Encode};

pub use self::change::{Act, ArraysChange};
pub use crate::uuid::Uuid;
use crate::{Action, Scope, Target, Text, Timestamp};

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

const NAME_CHARS_MAX: usize = 250;
const URI_BYTES_MAX: usize = 2048;

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
