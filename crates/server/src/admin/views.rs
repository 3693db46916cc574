//! From the catalogue to what commands answer.

use doorbook_event::record::ImportReceipt;
use doorbook_event::registry::{Cluster, Host, Key, Project, Registry, ServiceAccount};
use doorbook_event::{ProjectId, Scope, Text, Timestamp};
use doorbook_store::status::Status;
use doorbook_store::{Catalog, Filter, Store};

use crate::admin::request::{
    ClusterView, HostView, ImportView, InputView, KeyView, ProjectView, RetentionView,
    ServiceAccountView, StatusView, UnknownIdView,
};
use crate::admin::rows::CoverageRow;
use crate::coverage;

pub(crate) fn project(project: &Project) -> ProjectView {
    ProjectView { id: project.id, name: project.name.clone(), created: project.created }
}

pub(crate) fn project_name(registry: &Registry, id: ProjectId) -> Text {
    registry.project(id).map(|project| project.name.clone()).unwrap_or_default()
}

pub(crate) fn cluster(registry: &Registry, cluster: &Cluster) -> ClusterView {
    let hosts = registry.hosts(cluster.project).filter(|host| host.cluster == cluster.name);
    ClusterView {
        project_id: cluster.project,
        project: project_name(registry, cluster.project),
        name: cluster.name.clone(),
        hosts: hosts.map(host).collect(),
        created: cluster.created,
    }
}

pub(crate) fn host(host: &Host) -> HostView {
    HostView { name: host.name.to_string(), aliases: host.aliases.clone() }
}

pub(crate) fn key(registry: &Registry, key: &Key) -> KeyView {
    KeyView {
        public_key: key.public.clone(),
        project_id: key.project,
        project: project_name(registry, key.project),
        role: key.role,
        agent: key.agent.clone(),
        created: key.created,
    }
}

pub(crate) fn service_account(registry: &Registry, account: &ServiceAccount) -> ServiceAccountView {
    ServiceAccountView {
        client_id: account.client_id.clone(),
        project_id: account.project,
        project: project_name(registry, account.project),
        role: account.role,
        created: account.created,
    }
}

pub(crate) fn import(catalog: &Catalog, id: ProjectId, receipt: &ImportReceipt) -> ImportView {
    let counts = &receipt.counts;
    ImportView {
        id: receipt.id.clone(),
        state: receipt.state,
        project_id: id,
        project: project_name(&catalog.registry, id),
        cluster: receipt.cluster.clone(),
        host: receipt.host.clone(),
        by: receipt.by.to_string(),
        started: receipt.started,
        ended: receipt.ended,
        files: receipt.files.len(),
        lines: counts.lines,
        events: counts.events,
        successes: counts.successes,
        failures: counts.failures,
        suspect: counts.suspect,
        unconfirmed: counts.unconfirmed,
        duplicates: counts.duplicates,
        quarantined: counts.quarantined,
        gaps: counts.gaps,
        expired: counts.expired,
        unknown_ids: receipt.unknown_ids.iter().map(UnknownIdView::from).collect(),
        from: counts.from,
        to: counts.to,
        inputs: receipt
            .files
            .iter()
            .map(|file| InputView {
                name: file.name.clone(),
                host: file.host.clone(),
                lines: file.lines,
                size_bytes: file.size_bytes,
                modified: file.modified,
                sha256: file.sha256.map(hex::encode),
            })
            .collect(),
    }
}

/// How long the events of one scope are kept.
pub(crate) fn retention(registry: &Registry, scope: &Scope, now: Timestamp) -> RetentionView {
    let retention = registry.retention(scope);
    let limits = retention.limits(now);
    RetentionView {
        scope: scope.to_string(),
        project: match scope {
            Scope::Project(id) => Some(project_name(registry, *id)),
            Scope::System | Scope::Namespace(_) => None,
        },
        limits,
        from: limits.keep_days.map(|_| limits.start(now)),
        pending: retention.pending(now),
    }
}

pub(crate) fn status(registry: &Registry, status: Status) -> StatusView {
    let name = |project: &Project| (Scope::Project(project.id).to_string(), project.name.clone());
    StatusView { status, projects: registry.projects().map(name).collect() }
}

/// What was not seen of all projects and of arrays, of each from the latest.
pub(crate) fn coverage(store: &Store, registry: &Registry, now: Timestamp) -> Vec<CoverageRow> {
    let rows = registry.projects().flat_map(|project| {
        let filter = Filter { to: now, ..Filter::all(Scope::Project(project.id), 0) };
        let answer = coverage::of(store, registry, &filter, now);
        let name = project.name.clone();
        answer.gaps.into_iter().map(move |gap| CoverageRow::new(Some(name.clone()), &gap))
    });
    let mut rows: Vec<CoverageRow> = rows.collect();
    let of_arrays = coverage::of_arrays(store, registry, now);
    rows.extend(of_arrays.iter().map(|gap| CoverageRow::new(None, gap)));
    rows
}
