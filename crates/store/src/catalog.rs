//! [`Catalog`]: what the store knows besides rows.

use std::collections::BTreeMap;

use doorbook_event::record::{Coverage, ImportId, ImportReceipt};
use doorbook_event::registry::Registry;
use doorbook_event::{ProjectId, Scope};

/// A snapshot of everything that is not a row of the history.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    /// Projects, clusters, hosts, keys, service accounts.
    pub registry: Registry,
    /// Imports with their projects, by name.
    pub imports: BTreeMap<ImportId, (ProjectId, ImportReceipt)>,
    /// Known intervals of blindness, per scope, by beginning.
    pub coverage: BTreeMap<Scope, Vec<Coverage>>,
}
