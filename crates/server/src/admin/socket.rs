//! [`AdminSocket`]: the running server's end of the admin socket.
//!
//! One blocking thread per connection, `CONNECTIONS_MAX` at most: commands come from people and
//! their scripts on this machine, and an import holds its thread for hours.

use std::collections::HashMap;
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use doorbook_event::Peer;
use doorbook_event::record::Actor;
use doorbook_source::Batch;

use crate::admin::wire::{self, FrameType};
use crate::admin::{Admin, Failure, os_user};
use crate::pipeline::session::ImportSession;

/// The socket's name in the data directory.
pub const FILE_NAME: &str = "admin.sock";

/// Connections at one time. One more is told to come back.
const CONNECTIONS_MAX: usize = 16;

/// The admin socket of a running server.
pub struct AdminSocket {
    path: PathBuf,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

struct Shared {
    admin: Admin,
    own_uid: u32,
    stopping: AtomicBool,
    /// Live connections, to wake their threads when the server stops.
    live: Mutex<HashMap<u64, (UnixStream, JoinHandle<()>)>>,
}

impl AdminSocket {
    /// Opens the socket in the data directory and serves it until [`AdminSocket::stop`]. The caller
    /// holds the directory's lock, so that a socket file that is there already is a dead server's.
    pub fn start(admin: Admin, data_dir: &Path) -> Result<AdminSocket, Failure> {
        let path = data_dir.join(FILE_NAME);
        let cannot = |error: std::io::Error| {
            Failure::failed(format!("cannot open the admin socket {}: {error}", path.display()))
        };
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(cannot(error));
            }
            _ => {}
        }
        let listener =
            with_short_path(data_dir, |path| UnixListener::bind(path)).map_err(cannot)?;
        // Between bind and this, the directory's own mode 0700 keeps others out.
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).map_err(cannot)?;
        let shared = Arc::new(Shared {
            admin,
            own_uid: os_user::current_uid(),
            stopping: AtomicBool::new(false),
            live: Mutex::default(),
        });
        let accepting = std::thread::Builder::new().name("admin-accept".to_owned()).spawn({
            let shared = shared.clone();
            move || accept(&listener, &shared)
        });
        Ok(AdminSocket { accepting: Some(accepting.map_err(cannot)?), path, shared })
    }

    /// Lets no one in any more, lets running commands finish, ends running imports as interrupted.
    pub fn stop(mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        // The accepting thread blocks in the kernel; a connection wakes it.
        if let Some(dir) = self.path.parent() {
            drop(with_short_path(dir, |path| UnixStream::connect(path)));
        }
        if let Some(accepting) = self.accepting.take() {
            drop(accepting.join());
        }
        let live = std::mem::take(&mut *self.shared.live());
        for (stream, _) in live.values() {
            // Their next read sees the end; an answer under way can still be written.
            drop(stream.shutdown(Shutdown::Read));
        }
        for (_, thread) in live.into_values() {
            drop(thread.join());
        }
        drop(std::fs::remove_file(&self.path));
    }
}

impl Shared {
    fn live(&self) -> MutexGuard<'_, HashMap<u64, (UnixStream, JoinHandle<()>)>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A Unix socket's path is at most 107 bytes long, a data directory's is not: through a descriptor
/// of the directory every path is short.
pub(super) fn with_short_path<T>(
    data_dir: &Path,
    f: impl FnOnce(&Path) -> std::io::Result<T>,
) -> std::io::Result<T> {
    use std::os::fd::AsRawFd;
    let dir = std::fs::File::open(data_dir)?;
    let short = format!("/proc/self/fd/{}", dir.as_raw_fd());
    match Path::new(&short).exists() {
        true => f(&Path::new(&short).join(FILE_NAME)),
        false => f(&data_dir.join(FILE_NAME)),
    }
}

fn accept(listener: &UnixListener, shared: &Arc<Shared>) {
    for (id, stream) in (0..).zip(listener.incoming()) {
        if shared.stopping.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else {
            // Out of descriptors, most likely: others have to close some first.
            std::thread::sleep(std::time::Duration::from_millis(100));
            continue;
        };
        let mut live = shared.live();
        live.retain(|_, (_, thread)| !thread.is_finished());
        if live.len() >= CONNECTIONS_MAX {
            let busy = Failure::failed(format!(
                "the server is busy with {CONNECTIONS_MAX} other commands; try again later"
            ));
            let mut stream = stream;
            drop(wire::write_json(&mut stream, FrameType::Failure, &busy));
            continue;
        }
        let Ok(handle) = stream.try_clone() else { continue };
        let thread = std::thread::Builder::new().name("admin".to_owned()).spawn({
            let shared = shared.clone();
            move || Talk { stream, shared }.run()
        });
        if let Ok(thread) = thread {
            live.insert(id, (handle, thread));
        }
    }
}

/// One connection.
struct Talk {
    stream: UnixStream,
    shared: Arc<Shared>,
}

impl Talk {
    fn run(mut self) {
        let by = match self.admit() {
            Ok(by) => by,
            Err(failure) => {
                drop(wire::write_json(&mut self.stream, FrameType::Failure, &failure));
                return;
            }
        };
        if wire::write_json(&mut self.stream, FrameType::Hello, &wire::PROTOCOL).is_err() {
            return;
        }
        // An error of the connection ends it; the client sees that itself. Dropping a running
        // import ends it as interrupted.
        drop(self.serve(&by));
        drop(self.stream.shutdown(Shutdown::Both));
    }

    /// The mode of the socket already keeps others out; this is the second lock, and it is how the
    /// history learns who it was.
    fn admit(&self) -> Result<Actor, Failure> {
        let credentials = rustix::net::sockopt::socket_peercred(&self.stream).map_err(|error| {
            Failure::failed(format!("the kernel does not say who asks: {error}"))
        })?;
        let uid = credentials.uid.as_raw();
        if !may_enter(uid, self.shared.own_uid) {
            return Err(Failure::failed(format!(
                "the admin socket is for root and user id {}, not for {uid}",
                self.shared.own_uid
            )));
        }
        Ok(Actor { principal: os_user::principal(uid), peer: Peer::UnixSocket })
    }

    fn serve(&mut self, by: &Actor) -> std::io::Result<()> {
        let admin = self.shared.admin.clone();
        let mut import: Option<ImportSession> = None;
        let mut part = Batch::default();
        while let Some((kind, payload)) = wire::read_frame(&mut self.stream)? {
            match kind {
                FrameType::Request => {
                    let reply =
                        wire::from_json(&payload).and_then(|request| admin.execute(by, request));
                    self.answer(reply)?;
                }
                FrameType::Begin if import.is_none() => {
                    let begun = wire::from_json(&payload)
                        .and_then(|begin| ImportSession::begin(&admin.store, by, &begin));
                    self.answer(begun.map(|(session, begun)| {
                        import = Some(session);
                        begun
                    }))?;
                }
                FrameType::Records if import.is_some() => {
                    if let Err(failure) = read_part(&payload, &mut part) {
                        self.answer::<()>(Err(failure))?;
                        return Ok(());
                    }
                }
                FrameType::Commit => {
                    let Some(session) = &mut import else { return self.refuse(kind) };
                    let part = std::mem::take(&mut part);
                    let counts = wire::from_cbor::<wire::Commit>(&payload).and_then(|commit| {
                        let (lines, unknown_ids) = (commit.lines, commit.unknown_ids);
                        session.batch(Batch { lines, unknown_ids, ..part })
                    });
                    self.answer(counts)?;
                }
                FrameType::File => {
                    let Some(session) = &mut import else { return self.refuse(kind) };
                    match wire::from_cbor(&payload) {
                        Ok(file) => session.file(file),
                        Err(failure) => return self.answer::<()>(Err(failure)),
                    }
                }
                FrameType::End => {
                    let Some(session) = import.take() else { return self.refuse(kind) };
                    self.answer(session.end(payload == [1]))?;
                }
                FrameType::Begin
                | FrameType::Records
                | FrameType::Hello
                | FrameType::Reply
                | FrameType::Failure => return self.refuse(kind),
            }
        }
        Ok(())
    }

    fn refuse(&mut self, kind: FrameType) -> std::io::Result<()> {
        self.answer::<()>(Err(Failure::invalid(format!("a frame {kind:?} does not belong here"))))
    }

    fn answer<T: serde::Serialize>(&mut self, answer: Result<T, Failure>) -> std::io::Result<()> {
        match answer {
            Ok(reply) => wire::write_json(&mut self.stream, FrameType::Reply, &reply),
            Err(failure) => wire::write_json(&mut self.stream, FrameType::Failure, &failure),
        }
    }
}

/// Whoever may open the data directory anyway.
const fn may_enter(uid: u32, own_uid: u32) -> bool {
    uid == 0 || uid == own_uid
}

fn read_part(payload: &[u8], part: &mut Batch) -> Result<(), Failure> {
    // A batch is cut by the bytes of its raw records; with the columns beside them its records
    // take up to four times that.
    if part.size_bytes > 4 * Batch::SIZE_BYTES_MAX {
        return Err(Failure::invalid("a part of an import is too large"));
    }
    wire::read_records(payload, part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_s_user_and_root_may_enter() {
        assert!(may_enter(0, 1000));
        assert!(may_enter(1000, 1000));
        assert!(!may_enter(1001, 1000));
        assert!(!may_enter(1000, 0));
    }
}
