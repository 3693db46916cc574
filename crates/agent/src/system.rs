//! The system's clock and randomness, made here for both binaries and handed down.

use std::time::Duration;

use doorbook_event::record::ClockState;
use doorbook_event::{Clock, Random, Timestamp};
use rustix::time::{ClockId, clock_gettime};

/// The system's clock.
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is where the program's clock is made")]
    fn now(&self) -> Timestamp {
        Timestamp::from_jiff(jiff::Timestamp::now())
    }
}

/// How far the system's clock can be trusted, as the kernel tells.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "adjtimex(2) has no safe wrapper in the libraries that we have")]
pub fn clock_state() -> ClockState {
    // SAFETY: `timex` consists of numbers only, for which all bits zero is a value; with no mode set
    // the call changes nothing and writes only into what it is handed.
    let (state, timex) = unsafe {
        let mut timex: libc::timex = std::mem::zeroed();
        (libc::adjtimex(&raw mut timex), timex)
    };
    if state < 0 {
        return ClockState::default();
    }
    let is_nanoseconds = timex.status & libc::STA_NANO != 0;
    ClockState {
        synchronised: Some(timex.status & libc::STA_UNSYNC == 0 && state != libc::TIME_ERROR),
        offset_micros: Some(if is_nanoseconds { timex.offset / 1000 } else { timex.offset }),
        error_max_micros: Some(timex.maxerror),
    }
}

/// What other systems tell is not asked.
#[cfg(not(target_os = "linux"))]
pub fn clock_state() -> ClockState {
    ClockState::default()
}

/// Has the process give back what it no longer needs, for a server that runs for months beside others.
///
/// glibc gives each thread a heap of its own, and raises on its own the size from which a piece of memory goes
/// back when it is freed: rows that one thread reads and another one frees, and buffers of megabytes, then
/// leave holes that nobody uses, a fifth of what a server takes that follows fifty logs and merges segments.
/// Costs nothing where that server spends its time; a page of 128 KiB and more costs its zeroes anew.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "mallopt(3) has no safe wrapper in the libraries that we have")]
pub fn give_back_memory() {
    const HEAPS: libc::c_int = 2;
    const FREE_SIZE_BYTES: libc::c_int = 1 << 20;
    for (parameter, value) in
        [(libc::M_ARENA_MAX, HEAPS), (libc::M_TRIM_THRESHOLD, FREE_SIZE_BYTES)]
    {
        // SAFETY: two numbers; glibc takes its own lock. What it refuses stays as it was.
        unsafe { libc::mallopt(parameter, value) };
    }
}

/// Other allocators are left as they are.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn give_back_memory() {}

/// How long the machine has run, sleep included, by a clock that nobody sets.
pub fn uptime() -> Duration {
    #[cfg(target_os = "linux")]
    let clock = ClockId::Boottime;
    #[cfg(not(target_os = "linux"))]
    let clock = ClockId::Monotonic;
    // It does not go below zero.
    Duration::try_from(clock_gettime(clock)).unwrap_or_default()
}

/// The operating system's random generator.
pub struct SystemRandom;

impl Random for SystemRandom {
    #[expect(clippy::disallowed_methods, reason = "this is where its randomness is made")]
    fn fill(&self, bytes: &mut [u8]) {
        // Without randomness there are no keys and no tokens worth the name.
        getrandom::fill(bytes).expect("the operating system gives random bytes");
    }
}
