//! `groups/{groupId}/processes`: the mongods and mongos of a project.

use doorbook_event::HostName;
use doorbook_event::registry::Host;
use serde::Serialize;

use super::error::ApiError;
use super::query::Paging;
use super::{Answer, Call, Link, seconds};

/// A process, with the members of the recorded answer (captures/atlas/atlas-cli-snapshots/
/// ..processes_1) that we know: not its version, its role in a replica set, or when it last
/// answered anybody.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Process {
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<String>,
    group_id: String,
    hostname: String,
    id: String,
    /// Atlas links to the process itself, an operation that we do not serve.
    links: Vec<Link>,
    port: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_alias: Option<String>,
}

/// Serves it.
pub fn serve_list(call: &mut Call<'_>) -> Result<Answer, ApiError> {
    let paging = Paging::parse(call.query)?;
    let project = call.project()?;
    let hosts: Vec<_> = call.registry().hosts(project).map(|host| process(call, host)).collect();
    Ok(call.list(&format!("groups/{project}/processes"), paging, hosts))
}

fn process(call: &Call<'_>, host: &Host) -> Process {
    let cluster = call.registry().cluster(host.project, &host.cluster);
    let alias = host.aliases.first();
    Process {
        created: cluster.map(|cluster| seconds(cluster.created)),
        group_id: host.project.to_string(),
        hostname: host.name.name.to_string(),
        id: host.name.to_string(),
        links: Vec::new(),
        port: host.name.port,
        // Without port, as recorded.
        user_alias: alias.map(|alias| {
            HostName::parse(alias).map_or(alias.to_string(), |(alias, _)| alias.name.to_string())
        }),
    }
}
