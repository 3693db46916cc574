//! `doorbook quickstart`: everything once, so that a newcomer sees an answer within a minute.
//!
//! It can be repeated: on the same directory it uses the project and the cluster that are there,
//! takes the sample of the last time back, imports one that is dated now, and makes a new key (the
//! private half of the old one is not known any more, by design). The array stays as it is and gets some
//! more activity.

mod array;

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::Context;
use doorbook_agent::logging;
use doorbook_event::record::{Actor, ImportState};
use doorbook_event::registry::Role;
use doorbook_event::{Action, Class, Classes, ProjectId, Scope};
use doorbook_server::admin::arrays::ArraysRequest;
use doorbook_server::admin::request::{ImportView, NewKey};
use doorbook_server::admin::{Admin, Connection, FailureKind, Reply, Request, os_user};
use doorbook_server::app::Settings;
use doorbook_store::Filter;
use doorbook_store::filter::{OutcomeKind, Targets, Unwanted};

use self::array::Sampled;
use super::serve::Server;
use super::{DataDir, import, out_of_turn};
use crate::output::{self, count};
use crate::service_manager::ServiceManager;
use crate::{interrupt, quickstart};

/// Not the directory of other commands: the sample must not get among real history.
const DEFAULT_DATA_DIR: &str = "./doorbook-quickstart";

const PROJECT: &str = "quickstart";
const CLUSTER: &str = "orders";
const PORT: u16 = 8080;

#[derive(clap::Args)]
pub struct Args {
    /// Where to listen [default: 127.0.0.1:8080, or a free port if that one is taken]
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
}

pub fn run(data_dir: &DataDir, args: Args) -> anyhow::Result<()> {
    let stop = interrupt::listen()?;
    let manager = ServiceManager::of_environment();
    logging::start(logging::Log::quiet());
    let data_dir = data_dir.or(DEFAULT_DATA_DIR);
    let server = start(&data_dir, args.listen)?;
    let prepared = prepare(server.admin());
    match prepared.and_then(|prepared| tell(&server, &data_dir, &prepared)) {
        Ok(()) => server.run(&stop, &manager),
        Err(error) => {
            // Raised already, so that it only closes what was opened.
            stop.raise("a failed preparation");
            server.run(&stop, &manager)?;
            Err(error)
        }
    }
}

fn start(data_dir: &Path, listen: Option<SocketAddr>) -> anyhow::Result<Server> {
    if let Some(listen) = listen {
        doorbook_server::http::check_listen(listen, false, false)
            .map_err(doorbook_server::admin::Failure::invalid)?;
        return Server::start(data_dir, listen, None, Settings::default(), None);
    }
    let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
    // Tried beforehand: an occupied port is no reason to fail, all others are.
    let port = match std::net::TcpListener::bind(local(PORT)) {
        Ok(_) => PORT,
        Err(_) => 0,
    };
    Server::start(data_dir, local(port), None, Settings::default(), None)
}

/// What there is to show.
struct Prepared {
    project: ProjectId,
    key: NewKey,
    import: ImportView,
    array: Sampled,
}

fn prepare(admin: &Admin) -> anyhow::Result<Prepared> {
    let by = os_user::current();
    let project = project(admin, &by)?;
    retract_old_samples(admin, &by)?;
    let import = import_sample(admin, &by)?;
    let request = Request::KeyCreate {
        project: PROJECT.to_owned(),
        role: Role::DatabaseAccessAdmin,
        agent: None,
    };
    let key = match admin.execute(&by, request)? {
        Reply::NewKey(key) => key,
        other => return Err(out_of_turn(&other)),
    };
    let array = array::sample(admin, &by)?;
    let grant = ArraysRequest::UserGrant {
        user: array::USER.to_owned(),
        project: PROJECT.to_owned(),
        role: Role::Owner,
    };
    admin.execute(&by, Request::Arrays(grant))?;
    let administrator = Request::Administrator { user: array::USER.to_owned(), is_one: true };
    tolerate_existing(admin.execute(&by, administrator))?;
    Ok(Prepared { project, key, import, array })
}

/// The project with its cluster; made where there is none.
fn project(admin: &Admin, by: &Actor) -> anyhow::Result<ProjectId> {
    let create = Request::ProjectCreate { name: PROJECT.to_owned(), id: None };
    tolerate_existing(admin.execute(by, create))?;
    let create = Request::ClusterCreate {
        name: CLUSTER.to_owned(),
        project: PROJECT.to_owned(),
        hosts: vec![quickstart::HOST.to_owned()],
    };
    tolerate_existing(admin.execute(by, create))?;
    let catalog = admin.store.catalog();
    let project = catalog.registry.project_named(PROJECT);
    Ok(project.context("the project is gone")?.id)
}

fn tolerate_existing(
    result: Result<Reply, doorbook_server::admin::Failure>,
) -> Result<(), doorbook_server::admin::Failure> {
    match result {
        Err(failure) if failure.kind != FailureKind::Exists => Err(failure),
        _ => Ok(()),
    }
}

fn retract_old_samples(admin: &Admin, by: &Actor) -> anyhow::Result<()> {
    let list = Request::ImportList { project: Some(PROJECT.to_owned()) };
    let imports = match admin.execute(by, list)? {
        Reply::Imports(imports) => imports,
        other => return Err(out_of_turn(&other)),
    };
    for import in imports {
        let is_sample = import.inputs.iter().all(|input| input.name.ends_with(SAMPLE_FILE));
        if is_sample && import.state != ImportState::Retracted {
            admin.execute(by, Request::ImportRetract { id: import.id.to_string() })?;
        }
    }
    Ok(())
}

const SAMPLE_FILE: &str = "quickstart-sample.log";

fn import_sample(admin: &Admin, by: &Actor) -> anyhow::Result<ImportView> {
    // The pipeline reads files; the data directory is the store's alone.
    let name = format!("doorbook-{}-{SAMPLE_FILE}", std::process::id());
    let file = std::env::temp_dir().join(name);
    let sample = quickstart::sample(admin.clock.now());
    std::fs::File::create_new(&file)
        .and_then(|mut to| to.write_all(sample.as_bytes()))
        .with_context(|| format!("cannot write {}", file.display()))?;
    let mut connection = Connection::Here(Box::new(admin.clone()), by.clone());
    let imported = import::import_file(&mut connection, PROJECT, CLUSTER, &file);
    std::fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))?;
    imported
}

fn tell(server: &Server, data_dir: &Path, prepared: &Prepared) -> anyhow::Result<()> {
    let Prepared { project, key, import, array } = prepared;
    let admin = server.admin();
    let all = total(admin, *project, None)?;
    let failed = total(admin, *project, Some(false))?;
    output::line(&format!(
        "Doorbook listening on {} with the data directory {}",
        server.base_url(),
        data_dir.display()
    ))?;
    output::line(&format!(
        "Imported a sample log of the last hours: {} of project {PROJECT}, cluster {CLUSTER}, host \
         {}.",
        count(import.events, "event", "events"),
        quickstart::HOST,
    ))?;
    output::heading("Paste into another terminal:")?;
    let base = format!("{}/api/atlas/v2/groups/{project}/dbAccessHistory", server.base_url());
    let user = format!("{}:{}", key.public_key, key.private_key);
    let show = |what: String, tail: &str| -> anyhow::Result<()> {
        output::heading(&format!("# {what}"))?;
        output::line(&format!(
            "curl --silent --digest --user {user} --header 'Accept: \
             application/vnd.atlas.2023-01-01+json' '{base}/{tail}'"
        ))
    };
    show(
        format!("Who came to the cluster: {}, newest first.", count(all, "attempt", "attempts")),
        &format!("clusters/{CLUSTER}?pretty=true"),
    )?;
    let host = quickstart::HOST.split(':').next().unwrap_or(quickstart::HOST);
    show(
        format!("Who came to one host: the same {all}, since the sample has one host; 5 of them."),
        &format!("processes/{host}?pretty=true&nLogs=5"),
    )?;
    show(
        format!(
            "Who was refused: {}, most of them in one minute from 203.0.113.77.",
            count(failed, "attempt", "attempts")
        ),
        &format!("clusters/{CLUSTER}?pretty=true&authResult=false"),
    )?;
    output::heading(&format!(
        "# Who did what with an array, as TileDB's clients ask: {}, newest first.",
        count(array.activities, "activity", "activities")
    ))?;
    output::line(&format!(
        "curl --silent --header 'X-TILEDB-REST-API-KEY: {}' '{}/v1/arrays/{}/{}/activity'",
        array.token,
        server.base_url(),
        array::USER,
        array::ARRAY,
    ))?;
    output::heading("Or, beside this server:")?;
    let data_dir = data_dir.display();
    for (words, what) in [
        ("events --limit 20", "the history, with what the API has no field for"),
        ("coverage", "when the log was quiet, and by whom"),
        ("events --system", "who asked Doorbook"),
    ] {
        output::line(&format!("doorbook --data-dir '{data_dir}' {words:<18} # {what}"))?;
    }
    // Whoever could read it on its way would be the owner.
    if server.address().is_some_and(|address| address.ip().is_loopback()) {
        output::heading("Or look at it in a browser. This link signs you in, once:")?;
        output::line(&server.link_for(array::USER))?;
    }
    output::heading("Ctrl-C stops the server; the directory stays.")
}

/// How many rows the API will show.
fn total(admin: &Admin, project: ProjectId, success: Option<bool>) -> anyhow::Result<u64> {
    let filter = Filter {
        targets: Targets::Group(CLUSTER.into()),
        actions: vec![Action::Authenticate],
        outcomes: success.map(OutcomeKind::of_success).into_iter().collect(),
        unwanted: Unwanted::classes(Classes::NONE.with(Class::Suspect)),
        ..Filter::all(Scope::Project(project), 0)
    };
    Ok(admin.store.select(&filter)?.total)
}
