//! What the tests of several modules need.

use std::path::Path;
use std::sync::Arc;

use doorbook_event::Timestamp;
use doorbook_event::time::{CountingRandom, ManualClock};
use doorbook_store::disk::SystemDisk;
use doorbook_store::{Options, Store};

use crate::app::{App, Secrets, Settings};

/// An app over an empty store in a directory.
pub fn app_in(dir: &Path, settings: Settings) -> App {
    let clock = Arc::new(ManualClock::new(Timestamp::from_seconds(1_700_000_000)));
    let random: Arc<CountingRandom> = Arc::default();
    let store = Store::open(options_in(dir, &clock, &random)).expect("opens");
    let secrets = Secrets::of(&store).expect("secrets");
    App::new(store, clock, random, settings, &secrets)
}

/// What opens a store in a directory: one thread, and no time but the test's.
pub fn options_in(dir: &Path, clock: &Arc<ManualClock>, random: &Arc<CountingRandom>) -> Options {
    Options {
        data_dir: dir.join("data"),
        clock: clock.clone(),
        random: random.clone(),
        disk: Arc::new(SystemDisk),
        memtable_size_bytes: 48 << 20,
        reserve_size_bytes: 0,
        cache_size_bytes: Options::CACHE_SIZE_BYTES,
        background: false,
        queue_size_bytes: Options::QUEUE_SIZE_BYTES,
        wait_max: Options::WAIT_MAX,
    }
}
