//! What the command line hands down: the system's clock and randomness, and where the store is.

use std::path::PathBuf;
use std::sync::Arc;

pub use doorbook_agent::system::{
    SystemClock, SystemRandom, clock_state, give_back_memory, uptime,
};
use doorbook_store::Options;
use doorbook_store::disk::SystemDisk;

/// The store's options for a data directory.
pub fn store_options(data_dir: PathBuf) -> Options {
    Options {
        data_dir,
        clock: Arc::new(SystemClock),
        random: Arc::new(SystemRandom),
        disk: Arc::new(SystemDisk),
        // 6 MiB of rows are some ten thousand events with their lines: twice as much, which is when
        // commits wait, leaves a server that follows fifty logs below 100 MB (docs/design/sources.md).
        memtable_size_bytes: 6 << 20,
        // 64 MiB: room for a memtable's segment and days of Doorbook's own history.
        reserve_size_bytes: 64 << 20,
        cache_size_bytes: Options::CACHE_SIZE_BYTES,
        background: true,
        queue_size_bytes: Options::QUEUE_SIZE_BYTES,
        wait_max: Options::WAIT_MAX,
    }
}
