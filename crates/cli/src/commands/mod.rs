//! The commands, one file each.

mod agent;
mod alarm;
mod apply;
mod array;
mod backup;
mod cluster;
mod completions;
mod config;
mod coverage;
mod doctor;
mod events;
mod export;
mod history;
mod host;
mod import;
mod imports;
mod key;
mod organization;
mod principal;
mod project;
mod quarantine;
mod quickstart;
mod report;
mod restore;
mod retention;
mod review;
mod serve;
mod service_account;
mod source;
mod status;
mod tail;
mod token;
mod user;
mod verify;
mod wanted;

use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand};
use doorbook_server::admin::{self, Connection, Failure, Reply, os_user};

use crate::{exit, system};

/// The data directory where none is named.
const DEFAULT_DATA_DIR: &str = "./doorbook-data";

/// Doorbook: a self-hosted access history for data systems. Who came to which database, from
/// where, when, and were they let in.
#[derive(Parser)]
#[command(name = "doorbook", version, after_help = exit::HELP, arg_required_else_help = true)]
pub struct Cli {
    /// The data directory [default: ./doorbook-data; for quickstart ./doorbook-quickstart]
    #[arg(
        long,
        global = true,
        env = "DOORBOOK_DATA_DIR",
        hide_env_values = true,
        value_name = "DIR"
    )]
    data_dir: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Try Doorbook: a data directory, a sample log, a server, and requests to paste
    Quickstart(quickstart::Args),
    /// Serve the API until Ctrl-C or SIGTERM
    Serve(serve::Args),
    /// Follow logs on a host that the server cannot read, and ship what they say to it
    Agent(doorbook_agent::settings::Args),
    /// Make projects, clusters, hosts, retention and sources what a file says
    Apply(apply::Args),
    /// The file of the estate: check it, begin one, look up what it can hold
    #[command(subcommand)]
    Config(config::Command),
    /// Sources: the logs that a running server follows
    #[command(subcommand)]
    Source(source::Command),
    /// Projects: what Atlas calls groups
    #[command(subcommand)]
    Project(project::Command),
    /// Clusters of a project
    #[command(subcommand)]
    Cluster(cluster::Command),
    /// Hosts of a cluster: its mongods and mongoses
    #[command(subcommand)]
    Host(host::Command),
    /// API keys (HTTP Digest)
    #[command(subcommand)]
    Key(key::Command),
    /// Service accounts (OAuth 2 client credentials)
    #[command(subcommand)]
    ServiceAccount(service_account::Command),
    /// Users of arrays; each has a namespace of the same name
    #[command(subcommand)]
    User(user::Command),
    /// Organizations: namespaces that several users share
    #[command(subcommand)]
    Organization(organization::Command),
    /// Tokens: what TileDB's clients show instead of a password
    #[command(subcommand)]
    Token(token::Command),
    /// Arrays of a namespace
    #[command(subcommand)]
    Array(array::Command),
    /// Import logs, or look at imports and take them back
    Import(import::Args),
    /// Show the history, newest first
    Events(events::Args),
    /// Show the latest events, and with -f those that come
    Tail(tail::Args),
    /// Show when and from where somebody was seen
    Principal(principal::OneArgs),
    /// List who was seen
    Principals(principal::AllArgs),
    /// Write all rows that a filter matches to an archive with a manifest
    Export(export::Args),
    /// Lines that could not be read
    #[command(subcommand)]
    Quarantine(quarantine::Command),
    /// Show when the logs could not see everything
    Coverage(coverage::Args),
    /// Alarms: what is not seen, and what came of it
    #[command(subcommand)]
    Alarm(alarm::Command),
    /// Reviews: what somebody looks through daily or weekly, and signs
    Review(review::Args),
    /// Reports
    #[command(subcommand)]
    Report(report::Command),
    /// How long events are kept
    #[command(subcommand)]
    Retention(retention::Command),
    /// Show how much there is, how old it is, and how long the disk will last
    Status(status::Args),
    /// Check the machine, the data directory and the sources, and say what to do
    Doctor(doctor::Args),
    /// Copy the data directory, as it is at one instant, while it is served
    Backup(backup::Args),
    /// Copy a backup back to a new data directory
    Restore(restore::Args),
    /// Read everything again and name what is damaged
    Verify(verify::Args),
    /// Print what lets a shell complete commands
    Completions(completions::Args),
}

/// Carries a command out.
pub fn run(cli: Cli) -> anyhow::Result<()> {
    let data_dir = DataDir(cli.data_dir);
    match cli.command {
        Command::Quickstart(args) => quickstart::run(&data_dir, args),
        Command::Serve(args) => serve::run(&data_dir, args),
        Command::Agent(args) => agent::run(args),
        Command::Apply(args) => apply::run(&data_dir, args),
        Command::Config(command) => config::run(command),
        Command::Source(command) => source::run(&data_dir, command),
        Command::Project(command) => project::run(&data_dir, command),
        Command::Cluster(command) => cluster::run(&data_dir, command),
        Command::Host(command) => host::run(&data_dir, command),
        Command::Key(command) => key::run(&data_dir, command),
        Command::ServiceAccount(command) => service_account::run(&data_dir, command),
        Command::User(command) => user::run(&data_dir, command),
        Command::Organization(command) => organization::run(&data_dir, command),
        Command::Token(command) => token::run(&data_dir, command),
        Command::Array(command) => array::run(&data_dir, command),
        Command::Import(args) => import::run(&data_dir, args),
        Command::Events(args) => events::run(&data_dir, args),
        Command::Tail(args) => tail::run(&data_dir, args),
        Command::Principal(args) => principal::one(&data_dir, args),
        Command::Principals(args) => principal::all(&data_dir, args),
        Command::Completions(args) => completions::run(&args),
        Command::Export(args) => export::run(&data_dir, args),
        Command::Quarantine(command) => quarantine::run(&data_dir, command),
        Command::Coverage(args) => coverage::run(&data_dir, args),
        Command::Alarm(command) => alarm::run(&data_dir, command),
        Command::Review(args) => review::run(&data_dir, args),
        Command::Report(command) => report::run(&data_dir, command),
        Command::Retention(command) => retention::run(&data_dir, command),
        Command::Status(args) => status::run(&data_dir, args),
        Command::Doctor(args) => doctor::run(&data_dir, args),
        Command::Backup(args) => backup::run(&data_dir, args),
        Command::Restore(args) => restore::run(&data_dir, args),
        Command::Verify(args) => verify::run(&data_dir, args),
    }
}

/// The data directory that the user named, if any.
pub struct DataDir(Option<PathBuf>);

impl DataDir {
    /// The directory, or `default`.
    fn or(&self, default: &str) -> PathBuf {
        self.0.clone().unwrap_or_else(|| PathBuf::from(default))
    }

    /// The directory that commands use.
    fn path(&self) -> PathBuf {
        self.or(DEFAULT_DATA_DIR)
    }

    /// Opens a directory that is there already: a typing error in its name must not leave an empty
    /// history behind that answers "nobody came".
    fn open(&self) -> Result<Connection, Failure> {
        let path = self.path();
        if !exists(&path) {
            return Err(Failure::missing(format!(
                "there is no data directory {}; name yours with --data-dir or DOORBOOK_DATA_DIR, \
                 or begin one with `doorbook apply` or `doorbook project create`",
                path.display()
            )));
        }
        self.open_or_create()
    }

    /// Opens the directory, making it where there is none.
    fn open_or_create(&self) -> Result<Connection, Failure> {
        admin::open(system::store_options(self.path()), os_user::current())
    }

    /// Carries out one request on a directory that is there.
    fn execute(&self, request: admin::Request) -> Result<Reply, Failure> {
        let mut connection = self.open()?;
        let reply = connection.execute(request);
        connection.close()?;
        reply
    }
}

fn exists(path: &Path) -> bool {
    path.is_dir() && path.read_dir().map_or(true, |mut entries| entries.next().is_some())
}

/// The server answered a question that was not asked: our own mistake.
fn out_of_turn(reply: &Reply) -> anyhow::Error {
    anyhow::anyhow!("the answer does not belong to the question: {reply:?}")
}
