//! The program's own log, a server's or an agent's: on stderr, one line an occurrence, with fields.
//!
//! What may be in it is decided where it is written: no secrets, no bodies, no names of users, no
//! addresses of clients. `docs/running.md` lists the fields.

use std::sync::Once;

use tracing::Level;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt};

/// How the log is written.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Log {
    /// How the program's own log is written, on stderr
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    log_format: Format,
    /// What of it: this and everything graver
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    log_level: Word,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Format {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Word {
    /// An operator must act
    Error,
    /// And what failed and was mended; nothing is lost
    Warn,
    /// And what the server is at
    Info,
    /// And what only its developers ask for
    Debug,
}

impl Log {
    /// For who reads the screen and not a log: only what went wrong.
    pub const fn quiet() -> Log {
        Log { log_format: Format::Text, log_level: Word::Warn }
    }
}

/// Begins to log.
pub fn start(args: Log) {
    let level = match args.log_level {
        Word::Error => Level::ERROR,
        Word::Warn => Level::WARN,
        Word::Info => Level::INFO,
        Word::Debug => Level::DEBUG,
    };
    // Ours alone: what libraries say at these levels holds what passes through them.
    let ours = Targets::new()
        .with_default(LevelFilter::OFF)
        .with_target("doorbook", level)
        .with_target("doorbook_agent", level)
        .with_target("doorbook_server", level);
    let lines = fmt::layer().with_writer(std::io::stderr).with_ansi(false);
    let layer: Box<dyn Layer<Registry> + Send + Sync> = match args.log_format {
        Format::Text => lines.with_target(false).boxed(),
        Format::Json => lines.json().flatten_event(true).with_current_span(false).boxed(),
    };
    // A process logs once; what runs in it later logs there, too.
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        tracing_subscriber::registry().with(layer.with_filter(ours)).init();
        log_panics();
    });
}

/// A panic's message may hold what it was about, such as half a user name; its place is enough.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let thread = std::thread::current().name().unwrap_or_default().to_owned();
        tracing::error!(place, thread, "a bug: a thread panicked; please report it");
    }));
}
