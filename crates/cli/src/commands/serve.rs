//! `doorbook serve`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use doorbook_agent::logging;
use doorbook_event::{Action, Clock, Random};
use doorbook_server::admin::{self, Admin, AdminSocket, Failure, os_user};
use doorbook_server::alarm;
use doorbook_server::app::{App, RateLimit, Secrets, Settings, Stage};
use doorbook_server::arrays::Places;
use doorbook_server::http::{self, TlsFiles};
use doorbook_server::receiver;
use doorbook_server::routing::Beats;
use doorbook_server::sources::{Sources, Tools};
use doorbook_server::storage::{self, Storage};
use doorbook_server::vitals;
use doorbook_store::{ErrorKind, Options, Store};
use tokio::net::TcpListener;

use super::DataDir;
use crate::config::Config;
use crate::interrupt::{self, Interrupt};
use crate::service_manager::ServiceManager;
use crate::services::{self, Services};
use crate::{output, system};

#[derive(clap::Args)]
pub struct Args {
    /// The file of the estate: applied at the start, and what its section `server` says holds where
    /// no word here does
    #[arg(long, value_name = "FILE", env = "DOORBOOK_CONFIG", hide_env_values = true)]
    config: Option<PathBuf>,
    /// Where to listen; port 0 takes a free one [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// The server's certificate and those that lead to its authority, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The certificate's private key, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Serve without TLS on an address that others can reach; for a proxy that does TLS
    #[arg(long)]
    plaintext: bool,
    /// How often each project's access history can be asked for: CAPACITY[/REFILL[/SECONDS]], so
    /// many requests at once, of which REFILL come back every SECONDS; 0 is no limit
    /// [default: 1200/500/60]
    #[arg(long, value_name = "RATE")]
    access_history_rate: Option<RateLimit>,
    /// A folder whose arrays users may register; can be given several times. Without any they can
    /// register what is in an object store only
    #[arg(long, value_name = "DIR")]
    array_root: Vec<PathBuf>,
    #[command(flatten)]
    log: logging::Log,
}

/// Where to listen if nothing says otherwise: where only this machine gets.
const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

pub fn run(data_dir: &DataDir, args: Args) -> anyhow::Result<()> {
    let file = args.config.as_deref().map(Config::read).transpose()?;
    let in_file = file.as_ref().map(Config::server).unwrap_or_default();
    let listen = args.listen.or(in_file.listen).unwrap_or(LISTEN);
    let tls = match (args.tls_cert, args.tls_key) {
        (Some(certificate), Some(key)) => Some(TlsFiles { certificate, key }),
        _ => in_file.tls,
    };
    let plaintext = args.plaintext || in_file.plaintext;
    http::check_listen(listen, tls.is_some(), plaintext).map_err(Failure::invalid)?;
    let rate = args.access_history_rate.or(in_file.access_history_rate);
    let roots = [args.array_root, in_file.array_roots].concat();
    let places = Places::below(&roots, &data_dir.path());
    let array_places = places.map_err(|why| Failure::invalid(format!("--array-root: {why}")))?;
    let settings = Settings {
        access_history_rate: rate.unwrap_or(RateLimit::ACCESS_LOGS),
        array_places,
        ..Settings::default()
    };
    let stop = interrupt::listen()?;
    logging::start(args.log);
    let manager = ServiceManager::of_environment();
    let follows = file.as_ref().map(Config::file);
    let server = Server::start(&data_dir.path(), listen, tls, settings, follows)?;
    if let Some(file) = file
        && let Err(error) = server.follow(&file)
    {
        // Not a server that watches something else than its file says.
        stop.raise("a failed start");
        server.run(&stop, &manager)?;
        return Err(error);
    }
    output::line(&format!("doorbook listening on {}", server.base_url()))?;
    server.run(&stop, &manager)
}

/// How often to try a data directory that another process holds, and the pause between: 2 seconds
/// in all.
const TRIES: u32 = 100;
const PAUSE: Duration = Duration::from_millis(20);

/// A server that listens.
pub struct Server {
    runtime: tokio::runtime::Runtime,
    listener: TcpListener,
    tls: Option<Arc<rustls::ServerConfig>>,
    admin: Admin,
    sources: Sources,
    storage: Storage,
    /// Tells that sources are alive whose lines are sent to us.
    beats: Beats,
    socket: AdminSocket,
    app: App,
    base_url: String,
    services: Arc<Services>,
}

impl Server {
    /// Opens the data directory and listens. Nothing is served before [`Server::run`], but from
    /// here on the address is taken and other commands find the admin socket. `file` is the estate's.
    pub fn start(
        data_dir: &Path,
        listen: SocketAddr,
        tls: Option<TlsFiles>,
        settings: Settings,
        file: Option<PathBuf>,
    ) -> anyhow::Result<Server> {
        system::give_back_memory();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let tls = match tls {
            Some(files) => Some(files.load().map_err(|error| Failure::invalid(error.to_string()))?),
            None => None,
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .context("cannot start the server's threads")?;
        let listener = runtime
            .block_on(TcpListener::bind(listen))
            .with_context(|| format!("cannot listen on {listen}"))?;
        let base_url = format!("{scheme}://{}", listener.local_addr()?);
        let options = system::store_options(data_dir.to_owned());
        let (clock, random) = (options.clock.clone(), options.random.clone());
        let store = open(options)?;
        let app = app(&store, &clock, &random, settings)?;
        let clock_state = system::clock_state;
        let steady: Arc<dyn Fn() -> Duration + Send + Sync> = Arc::new(system::uptime);
        let agents = app.agents().clone();
        let buckets = app.buckets().clone();
        let tools = Tools {
            store: store.clone(),
            clock: clock.clone(),
            clock_state,
            steady: steady.clone(),
            agents,
            buckets: Some((buckets.clone(), runtime.handle().clone())),
        };
        let sources =
            Sources::start(tools).context("cannot start the thread that follows sources")?;
        app.metrics().set_sources(sources.board());
        let storage = storage::Tools {
            store: store.clone(),
            clock: clock.clone(),
            random: random.clone(),
            clock_state,
            steady,
            board: sources.board(),
            data_dir: data_dir.to_owned(),
            buckets: buckets.clone(),
            runtime: runtime.handle().clone(),
        };
        let storage = Storage::start(storage).context("cannot start the thread of storage")?;
        let heard = receiver::Board::default();
        app.metrics().set_receivers(heard.clone());
        app.lines().set_board(sources.board());
        let beats = Beats::start(app.lines().clone(), system::clock_state);
        let beats = beats.context("cannot start the thread of received sources")?;
        let board = sources.board();
        let tools = services::Tools {
            alarm: alarm::Tools {
                store: store.clone(),
                clock: clock.clone(),
                random: random.clone(),
                clock_state,
                board: board.clone(),
                app: app.clone(),
                pause: alarm::Tools::PAUSE,
            },
            receivers: heard.clone(),
            buckets,
            runtime: runtime.handle().clone(),
        };
        let services = Arc::new(Services::new(file, tools));
        let admin = Admin {
            store,
            clock,
            random,
            base_url: Some(base_url.clone()),
            sources: Some(board),
            receivers: Some(heard),
            services: Some(services.clone()),
        };
        // Pages do not apply files, and what runs beside holds the app itself.
        app.set_admin(Admin { services: None, ..admin.clone() });
        let socket = AdminSocket::start(admin.clone(), data_dir)?;
        admin.record(&os_user::current(), Action::ServerStart, &base_url)?;
        Ok(Server {
            runtime,
            listener,
            tls,
            admin,
            sources,
            storage,
            beats,
            socket,
            app,
            base_url,
            services,
        })
    }

    /// Brings about what the file of the estate says.
    fn follow(&self, file: &Config) -> anyhow::Result<()> {
        file.apply_at_start(&self.admin)?;
        Ok(self.services.start(Some(file))?)
    }

    /// Where it listens.
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// Where it listens, if the system says so.
    pub fn address(&self) -> Option<SocketAddr> {
        self.listener.local_addr().ok()
    }

    /// A link that signs a user in, once and for a while.
    pub fn link_for(&self, user: &str) -> String {
        let path = self.app.web().link_for(&*self.admin.random, self.admin.clock.now(), user);
        format!("{}{path}", self.base_url)
    }

    /// For what is to be done in this process.
    pub fn admin(&self) -> &Admin {
        &self.admin
    }

    /// Serves until `stop` is raised. Then, in this order, which `docs/running.md` promises:
    /// 1. `/ready` says no; requests are still answered. 2. Counters are no longer read, nobody is
    ///    alarmed any more, receivers let nobody in and store what was sent, and sources store what they
    ///    read and stop. 3. No new commands; those that run are waited for, imports end
    ///    as interrupted. 4. No new connections; the answers under way are finished. 5. The record of
    ///    who asked. 6. What is in memory becomes segments. 7. The data directory is let go.
    pub fn run(self, stop: &Interrupt, manager: &ServiceManager) -> anyhow::Result<()> {
        let Server {
            runtime,
            listener,
            tls,
            admin,
            sources,
            storage,
            beats,
            socket,
            app,
            base_url,
            services,
        } = self;
        // Alarms are kept also where no file says who is told.
        if !stop.is_raised() && !services.have_begun() {
            services.start(None)?;
        }
        let pause = manager.pause().unwrap_or(vitals::PAUSE).min(vitals::PAUSE);
        let beat = {
            let manager = manager.clone();
            // A service manager that hears nothing restarts us, which is what a poisoned writer needs.
            move |is_poisoned: bool| {
                if !is_poisoned {
                    manager.beat();
                }
            }
        };
        runtime.spawn(vitals::watch(admin.store.clone(), pause, beat));
        let raised = {
            let (stop, manager, app) = (stop.clone(), manager.clone(), app.clone());
            async move {
                let cause = stop.wait().await;
                tracing::info!(cause, "stopping");
                manager.stopping();
                app.reach(Stage::Stopping);
                let stopped = tokio::task::spawn_blocking(move || {
                    services.stop();
                    sources.stop();
                    storage.stop();
                    drop(beats);
                    socket.stop();
                });
                drop(stopped.await);
            }
        };
        // Raised already, it only closes what was opened.
        if !stop.is_raised() {
            app.reach(Stage::Serving);
            manager.ready();
            tracing::info!(version = env!("CARGO_PKG_VERSION"), url = base_url, "serving");
        }
        let served = runtime.block_on(http::serve(app, listener, tls, raised));
        runtime.shutdown_timeout(Duration::from_secs(1));
        let recorded = admin.record(&os_user::current(), Action::ServerStop, &base_url);
        // The next start then has nothing to replay, and other programs find every row.
        let flushed = admin.store.flush().and_then(|()| sync_table(&admin.store));
        admin.store.close()?;
        recorded?;
        flushed?;
        tracing::info!("stopped");
        served.context("the listener failed")
    }
}

/// Brings the tables for other programs up to date, if that does not take long: what is left is done
/// after the next start.
fn sync_table(store: &Store) -> Result<(), doorbook_store::Error> {
    // Two tables with a commit and a checkpoint each, and as much again for what maintenance did
    // meanwhile.
    const STEPS_MAX: usize = 8;
    for _ in 0..STEPS_MAX {
        if !store.sync_table()? {
            break;
        }
    }
    Ok(())
}

/// The one directory that cannot be shared: a second server finds it held, whether by a server or
/// by a command that is about to end.
fn open(options: Options) -> Result<Store, Failure> {
    let data_dir = options.data_dir.display().to_string();
    let mut n_tries = 0;
    loop {
        n_tries += 1;
        match Store::open(options.clone()) {
            Err(error) if error.kind == ErrorKind::Locked => {
                if n_tries > TRIES {
                    return Err(Failure::failed(format!(
                        "another process holds the data directory {data_dir}; one server serves \
                         it, and the other commands work beside that one"
                    )));
                }
                std::thread::sleep(PAUSE);
            }
            opened => return opened.map_err(admin::Failure::from),
        }
    }
}

fn app(
    store: &Store,
    clock: &Arc<dyn Clock>,
    random: &Arc<dyn Random>,
    settings: Settings,
) -> Result<App, doorbook_store::Error> {
    let secrets = Secrets::of(store)?;
    Ok(App::new(store.clone(), clock.clone(), random.clone(), settings, &secrets))
}
