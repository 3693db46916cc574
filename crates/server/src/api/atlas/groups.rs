//! `groups`, `groups/{groupId}`, `groups/byName/{groupName}`: the projects a caller may see.

use doorbook_event::registry::Project;
use serde::Serialize;

use super::error::ApiError;
use super::query::Paging;
use super::{Answer, Call, Link, seconds};
use crate::auth;

/// A project, with the members of the recorded answer (captures/atlas/atlas-cli-snapshots/
/// ..POST_api_atlas_v2_groups_1) that we know.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Group {
    cluster_count: usize,
    created: String,
    id: String,
    links: Vec<Link>,
    name: String,
    org_id: &'static str,
}

/// An installation is one organisation and has no name for it. Clients require the member.
const ORGANISATION: &str = "000000000000000000000000";

/// Serves `groups`.
pub fn serve_list(call: &mut Call<'_>) -> Result<Answer, ApiError> {
    let paging = Paging::parse(call.query)?;
    let visible = call.registry().projects().filter(|project| is_visible(call, project));
    let groups: Vec<_> = visible.map(|project| group(call, project)).collect();
    Ok(call.list("groups", paging, groups))
}

/// Serves `groups/{groupId}`.
pub fn serve_one(call: &mut Call<'_>) -> Result<Answer, ApiError> {
    let id = call.project()?;
    let project = call.registry().project(id);
    let project = project.ok_or_else(|| ApiError::group_not_found(&id.to_string()))?;
    let group = group(call, project);
    Ok(call.object(&group))
}

/// Serves `groups/byName/{groupName}`, which the OpenTelemetry receiver begins with.
pub fn serve_by_name(call: &mut Call<'_>) -> Result<Answer, ApiError> {
    let name = call.segment("groupName");
    let project = call.registry().project_named(name);
    let project = project.filter(|project| is_visible(call, project));
    let project = project.ok_or_else(|| ApiError::group_name_not_found(name))?;
    let group = group(call, project);
    call.subject = Some(project.id.to_string());
    Ok(call.object(&group))
}

fn is_visible(call: &Call<'_>, project: &Project) -> bool {
    let operation = auth::Operation::ReadProject;
    let decision = auth::authorize(call.registry(), call.caller, operation, Some(project.id));
    decision == auth::Decision::Allowed
}

fn group(call: &Call<'_>, project: &Project) -> Group {
    let own = format!("groups/{}", project.id);
    Group {
        cluster_count: call.registry().clusters(project.id).count(),
        created: seconds(project.created),
        links: vec![
            call.link("self", &own),
            call.link("https://cloud.mongodb.com/clusters", &format!("{own}/clusters")),
            call.link("https://cloud.mongodb.com/processes", &format!("{own}/processes")),
        ],
        id: project.id.to_string(),
        name: project.name.to_string(),
        org_id: ORGANISATION,
    }
}
