//! What must hold before users, organizations, tokens or arrays change.

use super::{Array, Arrays, ArraysChange, NAME_CHARS_MAX, PUBLIC, RESERVED, URI_BYTES_MAX, User};
use super::{is_array_name, is_namespace, is_storage_uri};
use crate::Text;
use crate::registry::RegistryError;
use crate::uuid::Uuid;

/// Arrays of one namespace: all of them are in memory.
const ARRAYS_MAX: usize = 10_000;
const DESCRIPTION_BYTES_MAX: usize = 16 * 1024;
const TAGS_MAX: usize = 64;
const TAG_CHARS_MAX: usize = 128;
const SHARES_MAX: usize = 1000;

impl Arrays {
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
