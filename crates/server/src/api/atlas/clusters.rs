//! `groups/{groupId}/clusters[/{clusterName}]`: a project's clusters.

use doorbook_event::HostName;
use doorbook_event::registry::Cluster;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::access_logs_by_cluster::check_cluster_name;
use super::error::ApiError;
use super::query::Paging;
use super::{Answer, Call, Link, seconds};

/// A cluster, with the members of the recorded answers (captures/atlas/atlas-cli-snapshots/
/// ..clusters_accessLogs-428_3) that we know. We do not know what it runs on or how it is
/// replicated, and do not make it up.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answered {
    connection_strings: ConnectionStrings,
    create_date: String,
    group_id: String,
    id: String,
    links: Vec<Link>,
    name: String,
    paused: bool,
    state_name: &'static str,
}

/// Scripts take the hosts from here and ask for each of them.
#[derive(Serialize)]
struct ConnectionStrings {
    #[serde(skip_serializing_if = "Option::is_none")]
    standard: Option<String>,
}

/// Serves `groups/{groupId}/clusters`.
pub fn serve_list(call: &mut Call<'_>) -> Result<Answer, ApiError> {
    let paging = Paging::parse(call.query)?;
    let project = call.project()?;
    let clusters = call.registry().clusters(project);
    let clusters: Vec<_> = clusters.map(|cluster| answered(call, cluster)).collect();
    Ok(call.list(&format!("groups/{project}/clusters"), paging, clusters))
}

/// Serves `groups/{groupId}/clusters/{clusterName}`.
pub fn serve_one(call: &mut Call<'_>) -> Result<Answer, ApiError> {
    let (project, name) = (call.project()?, call.segment("clusterName"));
    check_cluster_name(name)?;
    let cluster = call.registry().cluster(project, name);
    let cluster = cluster.ok_or_else(|| ApiError::cluster_not_found(name, &project.to_string()))?;
    let answered = answered(call, cluster);
    Ok(call.object(&answered))
}

fn answered(call: &Call<'_>, cluster: &Cluster) -> Answered {
    let hosts = call.registry().hosts(cluster.project);
    let hosts = hosts.filter(|host| host.cluster == cluster.name);
    let seeds: Vec<_> = hosts
        .map(|host| match host.aliases.first().map(|alias| HostName::parse(alias)) {
            Some(Ok((alias, true))) => alias.to_string(),
            Some(Ok((alias, false))) => HostName { port: host.name.port, ..alias }.to_string(),
            // An alias that is no host name cannot be registered.
            Some(Err(_)) | None => host.name.to_string(),
        })
        .collect();
    let standard = (!seeds.is_empty()).then(|| format!("mongodb://{}", seeds.join(",")));
    Answered {
        connection_strings: ConnectionStrings { standard },
        create_date: seconds(cluster.created),
        group_id: cluster.project.to_string(),
        id: id_of(cluster),
        links: vec![
            call.link("self", &format!("groups/{}/clusters/{}", cluster.project, cluster.name)),
        ],
        name: cluster.name.to_string(),
        // Doorbook neither pauses clusters nor changes them.
        paused: false,
        state_name: "IDLE",
    }
}

/// A cluster is known by its name; clients want 24 hex digits too. The same name in the same
/// project always has the same.
fn id_of(cluster: &Cluster) -> String {
    let hash = Sha256::new()
        .chain_update(b"doorbook/cluster\n")
        .chain_update(cluster.project.to_string())
        .chain_update(b"\n")
        .chain_update(cluster.name.as_bytes())
        .finalize();
    hex::encode(&hash[..12])
}
