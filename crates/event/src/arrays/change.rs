//! What changes users, organizations, tokens and arrays, and what that is to the history of an array.

use std::collections::BTreeSet;

use minicbor::{Decode, Encode};

use super::{Array, Organization, PasswordHash, Right, Token, User};
use crate::uuid::Uuid;
use crate::{Action, Scope, Target, Text};

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
        /// The other namespace, or [`super::PUBLIC`].
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
