//! Requests of somebody who is not the owner of the data directory: who may ask for what, and the same execution.
//!
//! Few requests can be asked for so: those that a page has a form for. What reads or writes files of the machine is
//! not among them.

use doorbook_event::record::Actor;
use doorbook_event::registry::Registry;
use doorbook_event::{Principal, ProjectId, Scope, Text};
use doorbook_store::alarm::AlarmKind;

use super::arrays::ArraysRequest;
use super::reviews::ReviewRequest;
use super::{Admin, Failure, Reply, Request};
use crate::auth::{Caller, Decision, Object, Operation, authorize};

/// Why a request was not carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The caller must not learn whether there is such a thing.
    Invisible,
    /// The caller may do other things with it.
    RoleMissing,
    /// It was tried, and nothing was changed.
    Failed(Failure),
}

/// What a request is done with.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Needs {
    /// The server.
    Server,
    /// Who has access to a project.
    Access(ProjectId),
    /// What is watched.
    Operate(Scope),
    /// What is in a history.
    Read(Scope),
    /// What is reviewed.
    Review(Scope),
    /// What is to be reviewed.
    ManageReviews(Scope),
    /// What is this user's own.
    Own(Text),
}

impl Needs {
    fn decide(&self, registry: &Registry, caller: &Caller) -> Decision {
        let (operation, object) = match self {
            // Nobody else, not even who manages the server: with a token one is that user.
            Needs::Own(user) => match &caller.principal {
                Principal::User { name, .. } if name == user => return Decision::Allowed,
                _ => return Decision::Invisible,
            },
            Needs::Server => (Operation::ManageServer, Object::Everything),
            Needs::Access(id) => (Operation::ManageAccess, Object::Project(*id)),
            Needs::Operate(scope) => (Operation::Operate, Object::from(scope)),
            Needs::Read(scope) => (Operation::ReadHistory, Object::from(scope)),
            Needs::Review(scope) => (Operation::Review, Object::from(scope)),
            Needs::ManageReviews(scope) => (Operation::ManageReviews, Object::from(scope)),
        };
        authorize(registry, caller, operation, object)
    }
}

impl Admin {
    /// Carries a request out for somebody, if they may.
    pub fn execute_for(&self, caller: &Caller, request: Request) -> Result<Reply, Refused> {
        let catalog = self.store.catalog();
        let needs = self.needs(&catalog.registry, &request).ok_or(Refused::Invisible)?;
        match needs.decide(&catalog.registry, caller) {
            Decision::Invisible => Err(Refused::Invisible),
            Decision::RoleMissing => Err(Refused::RoleMissing),
            Decision::Allowed => {
                let by = Actor { principal: caller.principal.clone(), peer: caller.peer };
                self.execute(&by, request).map_err(Refused::Failed)
            }
        }
    }

    /// `None` of what is not there, and of what cannot be asked for so.
    fn needs(&self, registry: &Registry, request: &Request) -> Option<Needs> {
        let project = |text: &str| registry.find_project(text).map(|project| project.id);
        Some(match request {
            Request::ProjectCreate { .. }
            | Request::ClusterCreate { .. }
            | Request::HostAdd { .. }
            | Request::HostAlias { .. }
            | Request::RetentionSet { .. }
            | Request::RetentionList
            | Request::Administrator { .. }
            | Request::Arrays(
                ArraysRequest::UserCreate { .. }
                | ArraysRequest::UserPassword { .. }
                | ArraysRequest::UserList
                | ArraysRequest::OrganizationCreate { .. }
                | ArraysRequest::OrganizationAdd { .. }
                | ArraysRequest::OrganizationRemove { .. }
                | ArraysRequest::OrganizationList
                | ArraysRequest::TokenDelete { .. }
                | ArraysRequest::ArrayList { .. }
                | ArraysRequest::ArrayDeregister { namespace: Some(_), .. },
            ) => Needs::Server,
            Request::Arrays(ArraysRequest::TokenCreate { user }) => {
                Needs::Own(user.as_str().into())
            }
            Request::ServiceAccountCreate { project: text, .. }
            | Request::KeyCreate { project: text, .. }
            | Request::KeyList { project: Some(text) }
            | Request::Arrays(
                ArraysRequest::UserGrant { project: text, .. }
                | ArraysRequest::UserRevoke { project: text, .. },
            ) => Needs::Access(project(text)?),
            Request::KeyDelete { public_key } => Needs::Access(registry.key(public_key)?.project),
            Request::ServiceAccountDelete { client_id } => {
                Needs::Access(registry.service_account(client_id)?.project)
            }
            Request::AlarmAcknowledge { id, .. } => self.needs_of_alarm(id)?,
            Request::QuarantineReplay(replays) => {
                Needs::Operate(Scope::Project(project(replays.query.project.as_deref()?)?))
            }
            Request::Unrouted { project: Some(text) } => {
                Needs::Read(Scope::Project(project(text)?))
            }
            Request::Review(
                ReviewRequest::Mark { name, .. }
                | ReviewRequest::Close { name, .. }
                | ReviewRequest::Sign { name, .. },
            ) => Needs::Review(registry.review(name)?.scope.clone()),
            Request::Review(ReviewRequest::Create { project: text, namespace, .. }) => {
                Needs::ManageReviews(match (text, namespace) {
                    (Some(text), None) => Scope::Project(project(text)?),
                    (None, Some(name)) => Scope::Namespace(name.as_str().into()),
                    _ => return None,
                })
            }
            Request::Review(
                ReviewRequest::Change { name, .. } | ReviewRequest::Remove { name },
            ) => Needs::ManageReviews(registry.review(name)?.scope.clone()),
            _ => return None,
        })
    }

    fn needs_of_alarm(&self, id: &str) -> Option<Needs> {
        let alarms = self.store.alarms();
        let condition = &alarms.alarms.get(id)?.condition;
        Some(match (condition.project, &condition.host) {
            (Some(project), _) => Needs::Operate(Scope::Project(project)),
            // A gap of arrays has the name of their namespace where others have a host, and so has a review.
            (None, Some(namespace))
                if matches!(condition.kind, AlarmKind::Gap | AlarmKind::Review) =>
            {
                Needs::Operate(Scope::Namespace(namespace.clone()))
            }
            (None, _) => Needs::Server,
        })
    }
}
