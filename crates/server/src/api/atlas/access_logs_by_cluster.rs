//! `groups/{groupId}/dbAccessHistory/clusters/{clusterName}`: the access history of a cluster.

use doorbook_event::registry::is_cluster_name;
use doorbook_store::filter::Targets;

use super::access_logs::{self, Params};
use super::error::ApiError;
use super::{Answer, Call};

/// Serves it.
pub fn serve(call: &mut Call<'_>) -> Result<Answer, ApiError> {
    let params = Params::parse(call.query, call.now)?;
    let (project, name) = (call.project()?, call.segment("clusterName"));
    check_cluster_name(name)?;
    let Some(cluster) = call.registry().cluster(project, name) else {
        return Err(ApiError::cluster_not_found(name, &project.to_string()));
    };
    let targets = Targets::Group(cluster.name.clone());
    access_logs::answer(call, project, &params, targets)
}

/// Refuses what can be no cluster's name.
pub fn check_cluster_name(name: &str) -> Result<(), ApiError> {
    if is_cluster_name(name) { Ok(()) } else { Err(ApiError::cluster_name_invalid(name)) }
}
