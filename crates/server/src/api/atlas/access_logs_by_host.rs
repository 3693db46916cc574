//! `groups/{groupId}/dbAccessHistory/processes/{hostname}`: the access history of one host.
//!
//! "Hostname" is a bare name, which means all its ports (the CLI sends that), `host:port` (the Go
//! client's own tests), or the alias that connection strings show (contract §6). Only that host's
//! entries come back, though the description says "of one cluster".

use doorbook_event::{HostName, Text};
use doorbook_store::filter::Targets;

use super::access_logs::{self, Params};
use super::error::ApiError;
use super::{Answer, Call};

/// Serves it.
pub fn serve(call: &mut Call<'_>) -> Result<Answer, ApiError> {
    let params = Params::parse(call.query, call.now)?;
    let (project, name) = (call.project()?, call.segment("hostname"));
    if HostName::parse(name).is_err() {
        return Err(ApiError::invalid_hostname(name));
    }
    let hosts = call.registry().find_hosts(project, name);
    if hosts.is_empty() {
        return Err(ApiError::host_not_found(name, &project.to_string()));
    }
    let members = hosts.iter().map(|host| (host.cluster.clone(), host.name.to_string().into()));
    let targets = Targets::Members(members.collect::<Vec<(Text, Text)>>());
    access_logs::answer(call, project, &params, targets)
}
