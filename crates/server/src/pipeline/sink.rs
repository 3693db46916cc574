//! [`Sink`]: where an import's records go.

use doorbook_event::record::{Actor, ImportCounts, ImportedFile};
use doorbook_source::Batch;
use doorbook_store::Store;

use crate::admin::Failure;
use crate::admin::request::ImportView;
use crate::pipeline::session::{Begin, Begun, ImportSession};

/// Where an import's records go: into a store that this process holds ([`StoreSink`]), or over the
/// admin socket into that of a running server (`admin::client::SocketSink`). Both end in the same
/// [`ImportSession`], so that the result is the same.
pub trait Sink {
    /// Begins the import.
    fn begin(&mut self, begin: &Begin) -> Result<Begun, Failure>;
    /// Commits a part. What this returns is durable.
    fn batch(&mut self, batch: Batch) -> Result<ImportCounts, Failure>;
    /// Takes note of an input that was read, wholly or as far as it could be.
    fn file(&mut self, file: ImportedFile) -> Result<(), Failure>;
    /// Ends the import and returns its receipt.
    fn end(&mut self, complete: bool) -> Result<ImportView, Failure>;
}

/// Into a store of this process.
pub struct StoreSink {
    store: Store,
    by: Actor,
    session: Option<ImportSession>,
}

impl StoreSink {
    /// A sink for one import by `by`.
    pub fn new(store: Store, by: Actor) -> StoreSink {
        StoreSink { store, by, session: None }
    }

    fn session(&mut self) -> &mut ImportSession {
        self.session.as_mut().expect("the pipeline begins an import before it goes on with it")
    }
}

impl Sink for StoreSink {
    fn begin(&mut self, begin: &Begin) -> Result<Begun, Failure> {
        let (session, begun) = ImportSession::begin(&self.store, &self.by, begin)?;
        self.session = Some(session);
        Ok(begun)
    }

    fn batch(&mut self, batch: Batch) -> Result<ImportCounts, Failure> {
        self.session().batch(batch)
    }

    fn file(&mut self, file: ImportedFile) -> Result<(), Failure> {
        self.session().file(file);
        Ok(())
    }

    fn end(&mut self, complete: bool) -> Result<ImportView, Failure> {
        let session = self.session.take();
        session.expect("the pipeline begins an import before it ends it").end(complete)
    }
}
