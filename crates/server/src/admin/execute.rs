//! [`Admin::execute`]: the one function that carries commands out, and those that change the
//! registry. Those that read the history are in `history`.

use std::path::Path;
use std::sync::Arc;

use doorbook_event::record::Actor;
use doorbook_event::registry::{
    Cluster, Host, Key, Project, Registry, RegistryChange, Role, ServiceAccount,
};
use doorbook_event::retention::{Limits, RetentionSet};
use doorbook_event::review::State;
use doorbook_event::{Clock, HostName, ProjectId, Random, Scope, Text};

use crate::admin::request::{AppliedView, NewKey, NewServiceAccount};
use crate::admin::{Admin, Failure, Reload, Reply, Request, secrets, views};
use crate::estate::difference::{Differs, difference};
use crate::estate::{Difference, Wanted};
use crate::pipeline::hosts::{find_project, list, resolve_cluster};
use crate::pipeline::session::{self, Begin};

impl Admin {
    /// Carries a command out for `by`. A failure has changed nothing.
    pub fn execute(&self, by: &Actor, request: Request) -> Result<Reply, Failure> {
        let catalog = self.store.catalog();
        let registry = &catalog.registry;
        let project = |text: &String| find_project(registry, text);
        let only = |text: &Option<String>| text.as_ref().map(project).transpose();
        match request {
            Request::ProjectCreate { name, id } => self.create_project(by, &name, id),
            Request::ProjectList => {
                Ok(Reply::Projects(registry.projects().map(views::project).collect()))
            }
            Request::ClusterCreate { name, project: text, hosts } => {
                self.create_cluster(by, project(&text)?, &name, &hosts)
            }
            Request::ClusterList { project } => {
                let only = only(&project)?;
                let wanted = |project: &&Project| only.is_none_or(|only| only == project.id);
                let projects = registry.projects().filter(wanted);
                let clusters = projects.flat_map(|project| registry.clusters(project.id));
                Ok(Reply::Clusters(clusters.map(|c| views::cluster(registry, c)).collect()))
            }
            Request::HostAdd { project, cluster, host, aliases } => {
                let id = resolve_cluster(registry, &project, &cluster)?;
                self.add_host(by, id, &cluster, &host, &aliases)
            }
            Request::HostAlias { project: text, host, alias } => {
                let id = project(&text)?;
                let host = one_host(registry, id, &host)?.name.clone();
                // Host names know no case, and the registry takes them in lower case.
                let alias = Text::from(alias.to_ascii_lowercase());
                let change =
                    RegistryChange::HostAliasAdded { project: id, host: host.clone(), alias };
                self.store.change_registry(by, vec![change])?;
                self.show_host(id, &host)
            }
            Request::KeyCreate { project: text, role, agent } => {
                self.create_key(by, project(&text)?, role, agent)
            }
            Request::KeyList { project } => {
                let only = only(&project)?;
                let keys = registry.keys().filter(|key| only.is_none_or(|id| id == key.project));
                Ok(Reply::Keys(keys.map(|key| views::key(registry, key)).collect()))
            }
            Request::KeyDelete { public_key } => {
                let change = RegistryChange::KeyDeleted { public: public_key.into() };
                self.store.change_registry(by, vec![change])?;
                Ok(Reply::Done)
            }
            Request::ServiceAccountCreate { project: text, role } => {
                self.create_service_account(by, project(&text)?, role)
            }
            Request::ServiceAccountList { project } => {
                let only = only(&project)?;
                let accounts = registry.service_accounts();
                let accounts = accounts.filter(|a| only.is_none_or(|id| id == a.project));
                let accounts = accounts.map(|account| views::service_account(registry, account));
                Ok(Reply::ServiceAccounts(accounts.collect()))
            }
            Request::ServiceAccountDelete { client_id } => {
                let change = RegistryChange::ServiceAccountDeleted { client_id: client_id.into() };
                self.store.change_registry(by, vec![change])?;
                Ok(Reply::Done)
            }
            Request::ImportList { project } => {
                let only = only(&project)?;
                let imports = catalog.imports.values();
                let imports = imports.filter(|(id, _)| only.is_none_or(|only| only == *id));
                let mut imports: Vec<_> =
                    imports.map(|(id, receipt)| views::import(&catalog, *id, receipt)).collect();
                imports.sort_by_key(|import| import.started);
                Ok(Reply::Imports(imports))
            }
            Request::ImportShow { id } => self.show_import(&id),
            Request::ImportRetract { id } => {
                let id = Text::from(id);
                self.store.retract(&id, by)?;
                let catalog = self.store.catalog();
                let Some((project, receipt)) = catalog.imports.get(&id) else {
                    return Err(Failure::failed(format!("import {id} has no receipt")));
                };
                Ok(Reply::Import(Box::new(views::import(&catalog, *project, receipt))))
            }
            Request::ImportCheck { project, cluster, host, add_host } => {
                let begin = Begin { project, cluster, host, found: Vec::new(), add_host };
                session::check(&self.store, &begin)?;
                Ok(Reply::Done)
            }
            Request::QuarantineShow { project, namespace, log, seq } => {
                self.show_quarantined(by, project, namespace, log, seq)
            }
            Request::QuarantineReplay(replays) => self.replay_quarantine(by, &replays),
            Request::Unrouted { project } => self.unrouted(by, only(&project)?),
            Request::Doctor => self.examine(),
            Request::Events(query) => self.events(by, &query),
            Request::Read(request) => self.read(by, &request),
            Request::Coverage => {
                self.record_query(by, None, "coverage")?;
                let now = self.clock.now();
                Ok(Reply::Coverage(views::coverage(&self.store, registry, now)))
            }
            Request::Server => Ok(Reply::Server(self.base_url.clone())),
            Request::RetentionSet { project: text, namespace, keep_days, minimum_days } => {
                let scope = match (only(&text)?, namespace) {
                    (Some(_), Some(_)) => {
                        return Err(Failure::invalid("either a project or a namespace"));
                    }
                    (Some(project), None) => Scope::Project(project),
                    (None, Some(name)) => Scope::Namespace(name.into()),
                    (None, None) => Scope::System,
                };
                self.set_retention(by, scope, keep_days, minimum_days)
            }
            Request::RetentionList => {
                let now = self.clock.now();
                let projects = registry.projects().map(|project| Scope::Project(project.id));
                let namespaces = registry.arrays().namespaces().cloned().map(Scope::Namespace);
                let scopes = [Scope::System].into_iter().chain(projects).chain(namespaces);
                let views = scopes.map(|scope| views::retention(registry, &scope, now));
                Ok(Reply::Retention(views.collect()))
            }
            Request::Verify { depth } => Ok(Reply::Verify(Box::new(self.store.verify(depth)?))),
            Request::Status => {
                let status = self.store.status()?;
                Ok(Reply::Status(Box::new(views::status(registry, status))))
            }
            Request::Backup { to } => self.backup(by, &to),
            Request::Export(request) => self.export(by, &request),
            Request::Apply { wanted, file, sections, dry_run } => {
                let mut view = self.apply(by, &wanted, &file, dry_run)?;
                let is_elsewhere = |services: &Arc<dyn Reload>| !services.is_of(&file);
                if !sections.is_empty() && self.services.as_ref().is_some_and(is_elsewhere) {
                    let titles = sections.join(" and ");
                    view.notes.push(format!("the server does not do as {titles} of this file say: it was started with another one"));
                }
                Ok(Reply::Applied(Box::new(view)))
            }
            Request::SourceList { project } => Ok(Reply::Sources(self.sources_of(only(&project)?))),
            Request::SourceShow { name } => self.show_source(&name),
            Request::SourcePause { name, paused } => self.pause_source(by, &name, paused),
            Request::AlarmList { all } => Ok(Reply::Alarms(self.alarms(all))),
            Request::AlarmAcknowledge { id, cause, note } => {
                self.acknowledge(by, &id, &cause, note.as_deref())
            }
            Request::SourceReplay { name } => self.replay_source(by, &name),
            Request::Administrator { user, is_one } => {
                let change = RegistryChange::AdministratorSet { user: user.into(), is_one };
                self.store.change_registry(by, vec![change])?;
                Ok(Reply::Done)
            }
            Request::Arrays(request) => self.execute_on_arrays(by, request),
            Request::Accounts(request) => self.report_accounts(by, *request),
            Request::Review(request) => self.execute_on_reviews(by, request),
        }
    }

    /// Makes the registry say what a file says, in one change, and a running server do what it says
    /// beside that.
    fn apply(
        &self,
        by: &Actor,
        wanted: &Wanted,
        file: &Path,
        dry_run: bool,
    ) -> Result<AppliedView, Failure> {
        let registry = &self.store.catalog().registry;
        let as_of = |scope: &Scope| self.store.as_of(scope);
        let (mut view, changes) = compare(registry, wanted, &*self.clock, &*self.random, &as_of);
        view.problems.extend(wanted.in_data_dir(Path::new(&self.store.status()?.data_dir)));
        let services = self.services.as_ref().filter(|services| services.is_of(file));
        let sections = match services {
            Some(services) if view.problems.is_empty() => services.differs()?,
            _ => Vec::new(),
        };
        view.changes.extend(sections.iter().map(|title| Differs::section(title)));
        if dry_run || view.changes.is_empty() || !view.problems.is_empty() {
            return Ok(view);
        }
        if !changes.is_empty() {
            self.store.change_registry(by, changes)?;
        }
        if let Some(services) = services.filter(|_| !sections.is_empty()) {
            // That it can was looked at before; what has come between, an address that somebody took, is said so.
            services.reload().map_err(|failure| {
                failure.while_doing(
                    "the registry says what the file says, and the server does not yet; apply it again",
                )
            })?;
        }
        view.applied = true;
        Ok(view)
    }

    fn set_retention(
        &self,
        by: &Actor,
        scope: Scope,
        keep_days: Option<u32>,
        minimum_days: Option<u32>,
    ) -> Result<Reply, Failure> {
        let at = self.clock.now();
        let decided = self.store.catalog().registry.retention(&scope).decided();
        let limits =
            Limits { keep_days, minimum_days: minimum_days.unwrap_or(decided.minimum_days) };
        let set = RetentionSet { scope: scope.clone(), limits, at };
        self.store.change_registry(by, vec![RegistryChange::RetentionSet(set)])?;
        let catalog = self.store.catalog();
        Ok(Reply::Retention(vec![views::retention(&catalog.registry, &scope, at)]))
    }

    fn create_project(
        &self,
        by: &Actor,
        name: &str,
        id: Option<ProjectId>,
    ) -> Result<Reply, Failure> {
        let id = id.unwrap_or_else(|| secrets::project_id(&*self.random));
        let project = Project { id, name: name.into(), created: self.clock.now() };
        let view = views::project(&project);
        self.store.change_registry(by, vec![RegistryChange::ProjectCreated(project)])?;
        Ok(Reply::Project(view))
    }

    fn create_cluster(
        &self,
        by: &Actor,
        project: ProjectId,
        name: &str,
        hosts: &[String],
    ) -> Result<Reply, Failure> {
        let cluster = Cluster { project, name: name.into(), created: self.clock.now() };
        let mut changes = vec![RegistryChange::ClusterCreated(cluster.clone())];
        for host in hosts {
            changes.push(RegistryChange::HostAdded(Host {
                project,
                cluster: cluster.name.clone(),
                name: parse_host(host)?,
                aliases: Vec::new(),
            }));
        }
        self.store.change_registry(by, changes)?;
        Ok(Reply::Cluster(views::cluster(&self.store.catalog().registry, &cluster)))
    }

    fn add_host(
        &self,
        by: &Actor,
        project: ProjectId,
        cluster: &str,
        host: &str,
        aliases: &[String],
    ) -> Result<Reply, Failure> {
        let name = parse_host(host)?;
        // As separate changes, so that an alias is checked against the host's own name too.
        let host = Host { project, cluster: cluster.into(), name: name.clone(), aliases: vec![] };
        let mut changes = vec![RegistryChange::HostAdded(host)];
        for alias in aliases {
            let alias = Text::from(alias.to_ascii_lowercase());
            let host = name.clone();
            changes.push(RegistryChange::HostAliasAdded { project, host, alias });
        }
        self.store.change_registry(by, changes)?;
        self.show_host(project, &name)
    }

    fn show_host(&self, project: ProjectId, host: &HostName) -> Result<Reply, Failure> {
        let catalog = self.store.catalog();
        let host = catalog.registry.host(project, host);
        host.map(|host| Reply::Host(views::host(host)))
            .ok_or_else(|| Failure::failed("the host is gone"))
    }

    fn create_key(
        &self,
        by: &Actor,
        project: ProjectId,
        role: Role,
        agent: Option<Text>,
    ) -> Result<Reply, Failure> {
        let mut public = secrets::public_key(&*self.random);
        // Eight letters are few enough that a collision is thinkable.
        while self.store.catalog().registry.key(&public).is_some() {
            public = secrets::public_key(&*self.random);
        }
        let private = secrets::private_key(&*self.random);
        let key = Key {
            public: public.into(),
            ha1: [0; 16],
            project,
            role,
            created: self.clock.now(),
            agent,
        };
        let key = Key { ha1: secrets::ha1(&key.public, &private), ..key };
        let public_key = key.public.clone();
        self.store.change_registry(by, vec![RegistryChange::KeyCreated(key)])?;
        Ok(Reply::NewKey(NewKey { public_key, private_key: private }))
    }

    fn create_service_account(
        &self,
        by: &Actor,
        project: ProjectId,
        role: Role,
    ) -> Result<Reply, Failure> {
        let client_id = Text::from(secrets::client_id(&*self.random));
        let client_secret = secrets::client_secret(&*self.random);
        let account = ServiceAccount {
            client_id: client_id.clone(),
            secret_sha256: secrets::secret_sha256(&client_secret),
            project,
            role,
            created: self.clock.now(),
        };
        self.store.change_registry(by, vec![RegistryChange::ServiceAccountCreated(account)])?;
        Ok(Reply::NewServiceAccount(NewServiceAccount { client_id, client_secret }))
    }
}

/// What a file would change in a data directory that is not there yet.
pub fn compare_with_nothing(
    wanted: &Wanted,
    clock: &dyn Clock,
    random: &dyn Random,
) -> AppliedView {
    compare(&Registry::default(), wanted, clock, random, &|_| Vec::new()).0
}

/// What a file would change: in words, and for the registry.
fn compare(
    registry: &Registry,
    wanted: &Wanted,
    clock: &dyn Clock,
    random: &dyn Random,
    as_of: &dyn Fn(&Scope) -> State,
) -> (AppliedView, Vec<RegistryChange>) {
    let mut new_id = || secrets::project_id(random);
    match difference(registry, wanted, clock.now(), &mut new_id, as_of) {
        Ok(Difference { told: changes, changes: for_registry, notes }) => {
            (AppliedView { changes, notes, ..AppliedView::default() }, for_registry)
        }
        Err(problems) => (AppliedView { problems, ..AppliedView::default() }, Vec::new()),
    }
}

fn parse_host(text: &str) -> Result<HostName, Failure> {
    HostName::parse(text)
        .map(|(host, _)| host)
        .map_err(|malformed| Failure::invalid(format!("{text:?} is not a host: {malformed}")))
}

/// The one host that a text means.
fn one_host<'a>(
    registry: &'a Registry,
    project: ProjectId,
    text: &str,
) -> Result<&'a Host, Failure> {
    match &registry.find_hosts(project, text)[..] {
        [host] => Ok(host),
        [] => Err(Failure::missing(format!("the project has no host {text}"))),
        several => {
            let names: Vec<String> = several.iter().map(|host| host.name.to_string()).collect();
            Err(Failure::invalid(format!("{text} can mean {}; give its port", list(&names))))
        }
    }
}
