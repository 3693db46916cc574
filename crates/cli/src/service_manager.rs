//! What systemd wants to know of a service (sd_notify(3)): one datagram a fact.
//!
//! Without `NOTIFY_SOCKET` nobody wants to know, and everything here does nothing.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// Where to tell it.
#[derive(Clone, Debug)]
pub struct ServiceManager {
    address: Option<SocketAddr>,
    /// Within which time it wants to hear from us.
    watchdog: Option<Duration>,
}

impl ServiceManager {
    /// From the environment.
    pub fn of_environment() -> ServiceManager {
        ServiceManager::new(std::env::var_os("NOTIFY_SOCKET"), std::env::var_os("WATCHDOG_USEC"))
    }

    fn new(socket: Option<OsString>, watchdog_usec: Option<OsString>) -> ServiceManager {
        let address = socket.and_then(|socket| match socket.as_bytes() {
            [b'@', name @ ..] => abstract_address(name),
            path @ [b'/', ..] => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(path)).ok(),
            _ => None,
        });
        let micros = watchdog_usec.and_then(|micros| micros.to_str()?.parse().ok());
        ServiceManager { address, watchdog: micros.map(Duration::from_micros) }
    }

    /// How often it wants a [`ServiceManager::beat`] at least, with room for two that are late.
    pub fn pause(&self) -> Option<Duration> {
        self.watchdog.filter(|_| self.address.is_some()).map(|within| within / 3)
    }

    /// It serves.
    pub fn ready(&self) {
        self.tell("READY=1");
    }

    /// It ends.
    pub fn stopping(&self) {
        self.tell("STOPPING=1");
    }

    /// It lives, and a restart would not help.
    pub fn beat(&self) {
        self.tell("WATCHDOG=1");
    }

    fn tell(&self, fact: &str) {
        let Some(address) = &self.address else { return };
        let told = UnixDatagram::unbound()
            .and_then(|socket| socket.send_to_addr(fact.as_bytes(), address).map(drop));
        if let Err(error) = told {
            tracing::warn!(%error, fact, "the service manager cannot be told");
        }
    }
}

#[cfg(target_os = "linux")]
fn abstract_address(name: &[u8]) -> Option<SocketAddr> {
    use std::os::linux::net::SocketAddrExt;
    SocketAddr::from_abstract_name(name).ok()
}

/// There is no systemd elsewhere.
#[cfg(not(target_os = "linux"))]
fn abstract_address(_: &[u8]) -> Option<SocketAddr> {
    None
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    /// Goal: each fact arrives as systemd reads it. Method: a socket of each kind in its place.
    #[test]
    fn facts_are_datagrams() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("notify");
        let name = format!("doorbook-test-{}", std::process::id());
        let abstract_address = abstract_address(name.as_bytes()).expect("a name");
        for (socket, word) in [
            (UnixDatagram::bind(&path), path.clone().into_os_string()),
            (UnixDatagram::bind_addr(&abstract_address), format!("@{name}").into()),
        ] {
            let socket = socket.expect("binds");
            let manager = ServiceManager::new(Some(word), Some("30000000".into()));
            assert_eq!(manager.pause(), Some(Duration::from_secs(10)));
            manager.ready();
            manager.beat();
            manager.stopping();
            for expected in ["READY=1", "WATCHDOG=1", "STOPPING=1"] {
                let mut bytes = [0; 64];
                let length = socket.recv(&mut bytes).expect("comes");
                assert_eq!(&bytes[..length], expected.as_bytes());
            }
        }
    }

    #[test]
    fn nobody_is_told_where_nobody_asks() {
        for socket in [None, Some(""), Some("relative"), Some("/nowhere/at/all")] {
            let manager = ServiceManager::new(socket.map(Into::into), None);
            assert_eq!(manager.pause(), None);
            manager.ready();
        }
    }
}
