//! [`run()`]: an agent, from its start to SIGTERM.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use doorbook_event::Random;
use doorbook_event::shipment::{self, Orders};

use crate::https::Https;
use crate::reader::{self, Reader};
use crate::settings::{Args, Settings};
use crate::shared::{Shared, Task};
use crate::shipper::{self, Pause, Server, Shipper};
use crate::spool::folder::SystemFolder;
use crate::spool::{Opened, Spool};
use crate::{logging, system};

/// Between two looks at files that had nothing new.
const INTERVAL: Duration = Duration::from_millis(500);

/// How long what is spooled is shipped still when the agent ends; the rest waits for the next start.
const PARTING: Duration = Duration::from_secs(5);

/// Why an agent cannot start: the words or the file are wrong.
#[derive(Debug)]
pub struct Misuse(pub String);

impl std::fmt::Display for Misuse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Misuse {}

/// Follows and ships until SIGTERM or SIGINT.
pub fn run(args: Args) -> anyhow::Result<()> {
    let log = args.log;
    let settings = args.settings().map_err(Misuse)?;
    let Settings { server, key_file, ca_file, spool_dir, spool_bytes, allowed } = settings;
    let server = Https::new(&server, ca_file.as_ref(), key_file).map_err(Misuse)?;
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
        // The second one ends the process at once, which the spool stands.
        signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&stop))?;
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    logging::start(log);
    let shown = spool_dir.display();
    let folder = SystemFolder::open(&spool_dir).with_context(|| format!("the spool {shown}"))?;
    let Opened { spool, cut_bytes } = Spool::open(Box::new(folder), spool_bytes)
        .with_context(|| format!("the spool {shown} cannot be read"))?;
    if cut_bytes > 0 {
        tracing::warn!(cut_bytes, "the end of the spool was not whole; its lines are read again");
    }
    let shared = Arc::new(Shared::new(spool));
    recall(&shared);
    let clock = Arc::new(system::SystemClock);
    let reader = reader::Tools { clock: clock.clone(), clock_state: system::clock_state, allowed };
    let random: Arc<dyn Random> = Arc::new(system::SystemRandom);
    let tools = shipper::Tools { clock, steady: Arc::new(system::uptime), random };
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "following");
    let shipping = {
        let shipper = Shipper::new(server, tools, Arc::clone(&shared));
        let shared = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("shipper".to_owned())
            .spawn(move || ship(shipper, &shared))?
    };
    follow(Reader::new(reader, Arc::clone(&shared)), &shared, &stop);
    shared.stop();
    // What it was about to say it says nowhere else.
    let is_shipped = shipping.join();
    tracing::info!("stopped");
    is_shipped.map_err(|_| anyhow::anyhow!("shipping ended in a bug"))
}

/// Reads until it is to stop, or shipping has ended.
fn follow(mut reader: Reader, shared: &Shared, stop: &AtomicBool) {
    while !stop.load(Ordering::SeqCst) && !shared.is_stopping() {
        if !reader.round() {
            std::thread::sleep(INTERVAL);
        }
    }
}

/// Ships until it is to stop, and then for a little while what is there.
fn ship<S: Server>(mut shipper: Shipper<S>, shared: &Shared) {
    // A shipper that ended in a bug must not leave a reader behind that fills the disk.
    let _end = StopAtEnd(shared);
    while !shared.is_stopping() {
        match shipper.step() {
            Pause::None => {}
            Pause::Idle(at_most) => shared.wait_for_news(at_most),
            Pause::Failed(pause) => shared.wait(pause),
        }
    }
    let until = system::uptime() + PARTING;
    while !shipper.has_failed() && !shared.state().spool.is_empty() && system::uptime() < until {
        shipper.step();
    }
}

struct StopAtEnd<'a>(&'a Shared);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// Follows what was to be followed at the last time, until the server says what is.
fn recall(shared: &Shared) {
    let mut state = shared.state();
    let Some(bytes) = state.spool.recall_orders() else { return };
    let Ok(orders) = shipment::read::<Orders>(&bytes) else { return };
    for order in &orders.sources {
        let task = Task::new(order);
        if state.spool.place(&order.name).is_none() {
            state.spool.meet(&order.name, &task.at_server);
        }
        state.tasks.insert(order.name.clone(), task);
    }
}
