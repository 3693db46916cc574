//! Ctrl-C and SIGTERM.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use tokio::sync::watch;

/// What the first SIGINT or SIGTERM raises. The second one ends the process at once: whoever presses
/// Ctrl-C twice does not want to wait for a commit, and the WAL stands an abrupt end.
#[derive(Clone)]
pub struct Interrupt {
    flag: Arc<AtomicBool>,
    raised: Arc<watch::Sender<Option<&'static str>>>,
}

impl Interrupt {
    /// For who looks now and then.
    pub fn flag(&self) -> &Arc<AtomicBool> {
        &self.flag
    }

    /// Whether it was raised.
    pub fn is_raised(&self) -> bool {
        self.flag.load(Ordering::SeqCst)
    }

    /// Waits until it is raised; by what.
    pub async fn wait(&self) -> &'static str {
        let mut raised = self.raised.subscribe();
        let seen = raised.wait_for(Option::is_some).await;
        seen.ok().and_then(|cause| *cause).expect("the sender is ours, and it was waited for")
    }

    /// Raises it without a signal. Whether it was raised before.
    pub fn raise(&self, cause: &'static str) -> bool {
        let was_raised = self.flag.swap(true, Ordering::SeqCst);
        self.raised.send_if_modified(|raised| {
            let is_first = raised.is_none();
            raised.get_or_insert(cause);
            is_first
        });
        was_raised
    }
}

/// Listens for signals from now on.
pub fn listen() -> anyhow::Result<Interrupt> {
    use tokio::signal::unix::{SignalKind, signal};
    let interrupt = Interrupt { flag: Arc::default(), raised: Arc::new(watch::channel(None).0) };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot listen for Ctrl-C")?;
    let (mut ctrl_c, mut terminate) = {
        let _inside = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    let raised = interrupt.clone();
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        runtime.block_on(async {
            loop {
                let signal = tokio::select! {
                    _ = ctrl_c.recv() => "SIGINT",
                    _ = terminate.recv() => "SIGTERM",
                };
                if raised.raise(signal) {
                    std::process::exit(130);
                }
            }
        });
    })?;
    Ok(interrupt)
}
