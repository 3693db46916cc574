//! [`Connection`]: the command line's way to a data directory, whoever holds it.

use std::io::{BufWriter, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use doorbook_event::record::{Actor, ImportCounts, ImportedFile};
use doorbook_source::Batch;
use doorbook_store::verify::{self, Depth, Report};
use doorbook_store::{ErrorKind, Options, Store};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::admin::request::ImportView;
use crate::admin::socket::with_short_path;
use crate::admin::wire::{self, FrameType};
use crate::admin::{Admin, Failure, Reply, Request};
use crate::pipeline::session::{Begin, Begun};
use crate::pipeline::sink::{Sink, StoreSink};

/// How often to try while another short command holds the data directory and serves no socket, and
/// the pause between: 5 seconds in all.
const TRIES: u32 = 250;
const PAUSE: Duration = Duration::from_millis(20);

/// A data directory that can be asked.
pub enum Connection {
    /// This process holds it.
    Here(Box<Admin>, Actor),
    /// A running server holds it.
    There(SocketClient),
}

/// Opens the data directory or, where a server holds it, the server's admin socket.
pub fn open(options: Options, by: Actor) -> Result<Connection, Failure> {
    Ok(match here_or_there(&options.data_dir, || Store::open(options.clone()))? {
        Held::Here(store) => {
            let Options { clock, random, .. } = options;
            let (base_url, sources, receivers, services) = (None, None, None, None);
            let admin = Admin { store, clock, random, base_url, sources, receivers, services };
            Connection::Here(Box::new(admin), by)
        }
        Held::There(client) => Connection::There(client),
    })
}

/// Reads a data directory again, whoever holds it, and also where it does not open.
pub fn verify(options: &Options, depth: Depth) -> Result<Report, Failure> {
    let Options { data_dir, disk, .. } = options;
    match here_or_there(data_dir, || verify::verify(&**disk, data_dir, depth))? {
        Held::Here(report) => Ok(report),
        Held::There(mut client) => {
            match client.call(FrameType::Request, &Request::Verify { depth })? {
                Reply::Verify(report) => Ok(*report),
                other => Err(Failure::failed(format!("the server answered {other:?}"))),
            }
        }
    }
}

enum Held<T> {
    Here(T),
    There(SocketClient),
}

/// Does something that takes the data directory's lock or, where a server has it, connects to that.
fn here_or_there<T>(
    data_dir: &Path,
    mut here: impl FnMut() -> Result<T, doorbook_store::Error>,
) -> Result<Held<T>, Failure> {
    let mut n_tries = 0;
    loop {
        n_tries += 1;
        match here() {
            Ok(done) => return Ok(Held::Here(done)),
            Err(error) if error.kind == ErrorKind::Locked => {}
            Err(error) => return Err(error.into()),
        }
        match with_short_path(data_dir, |path| UnixStream::connect(path)) {
            Ok(stream) => return SocketClient::new(stream).map(Held::There),
            // No socket yet or a dead server's: a starting server, or another command, which
            // holds the directory for a moment.
            Err(_) if n_tries < TRIES => std::thread::sleep(PAUSE),
            Err(error) => {
                return Err(Failure::failed(format!(
                    "another process holds the data directory {} and does not answer on its admin \
                     socket ({error}); wait until it has ended (a command that imports without a \
                     running server takes as long as the import)",
                    data_dir.display()
                )));
            }
        }
    }
}

impl Connection {
    /// Carries a command out.
    pub fn execute(&mut self, request: Request) -> Result<Reply, Failure> {
        match self {
            Connection::Here(admin, by) => admin.execute(by, request),
            Connection::There(client) => client.call(FrameType::Request, &request),
        }
    }

    /// A sink for one import.
    pub fn sink(&mut self) -> Box<dyn Sink + '_> {
        match self {
            Connection::Here(admin, by) => {
                Box::new(StoreSink::new(admin.store.clone(), by.clone()))
            }
            Connection::There(client) => Box::new(SocketSink(client)),
        }
    }

    /// Lets go of the data directory.
    pub fn close(self) -> Result<(), Failure> {
        match self {
            Connection::Here(admin, _) => Ok(admin.store.close()?),
            Connection::There(_) => Ok(()),
        }
    }
}

/// The command line's end of the admin socket.
pub struct SocketClient {
    stream: UnixStream,
}

impl SocketClient {
    fn new(stream: UnixStream) -> Result<SocketClient, Failure> {
        let mut client = SocketClient { stream };
        let protocol: u32 = client.receive(FrameType::Hello)?;
        if protocol != wire::PROTOCOL {
            return Err(Failure::failed(format!(
                "the running server is another version of doorbook (its admin socket speaks \
                 protocol {protocol}, this program {}); use the same version",
                wire::PROTOCOL
            )));
        }
        Ok(client)
    }

    fn call<T: DeserializeOwned>(
        &mut self,
        kind: FrameType,
        question: &impl Serialize,
    ) -> Result<T, Failure> {
        wire::write_json(&mut self.stream, kind, question).map_err(gone)?;
        self.receive(FrameType::Reply)
    }

    fn receive<T: DeserializeOwned>(&mut self, expected: FrameType) -> Result<T, Failure> {
        match wire::read_frame(&mut self.stream).map_err(gone)? {
            Some((kind, payload)) if kind == expected => wire::from_json(&payload),
            Some((FrameType::Failure, payload)) => Err(wire::from_json(&payload)?),
            Some((kind, _)) => {
                Err(Failure::failed(format!("the server sent a frame {kind:?} out of turn")))
            }
            None => Err(gone(std::io::Error::from(std::io::ErrorKind::UnexpectedEof))),
        }
    }
}

fn gone(error: std::io::Error) -> Failure {
    Failure::failed(format!("the server went away (its admin socket is closed: {error})"))
}

/// Into the store of a running server.
pub struct SocketSink<'a>(&'a mut SocketClient);

impl Sink for SocketSink<'_> {
    fn begin(&mut self, begin: &Begin) -> Result<Begun, Failure> {
        self.0.call(FrameType::Begin, begin)
    }

    fn batch(&mut self, batch: Batch) -> Result<ImportCounts, Failure> {
        let mut to = BufWriter::new(&self.0.stream);
        let written = wire::write_batch(&mut to, batch).and_then(|()| to.flush());
        drop(to);
        match (self.0.receive(FrameType::Reply), written) {
            // The server may have said why before it closed.
            (Err(failure), _) => Err(failure),
            (Ok(_), Err(error)) => Err(gone(error)),
            (Ok(counts), Ok(())) => Ok(counts),
        }
    }

    fn file(&mut self, file: ImportedFile) -> Result<(), Failure> {
        let bytes = minicbor::to_vec(file).map_err(|error| Failure::failed(error.to_string()))?;
        wire::write_frame(&mut self.0.stream, FrameType::File, &bytes).map_err(gone)
    }

    fn end(&mut self, complete: bool) -> Result<ImportView, Failure> {
        let stream = &mut self.0.stream;
        wire::write_frame(stream, FrameType::End, &[u8::from(complete)]).map_err(gone)?;
        self.0.receive(FrameType::Reply)
    }
}
