//! [`Told`]: under which arrays of a namespace the history has what was done to one: an array that was moved
//! keeps its files, and so does a copy.

use std::collections::{BTreeMap, BTreeSet};

use doorbook_event::{Action, Record, Scope, Target, Text};
use doorbook_source::tiledb::ArrayWatch;
use doorbook_store::filter::Targets;
use doorbook_store::{Error, Filter, Store};

/// Arrays by what created them, and where they went.
pub(super) struct Told {
    namespace: Text,
    /// By the schema that an array was created with, whose name is random.
    created: BTreeMap<Text, BTreeSet<Text>>,
    /// By the array that was moved: where to.
    moved: BTreeMap<Text, BTreeSet<Text>>,
}

/// So many events are read at once.
const PAGE_EVENTS: usize = 4096;

impl Told {
    pub(super) fn read(store: &Store, namespace: &Text) -> Result<Told, Error> {
        let (created, moved) = (BTreeMap::new(), BTreeMap::new());
        let mut told = Told { namespace: namespace.clone(), created, moved };
        let actions = vec![Action::Create, Action::Move];
        let filter = Filter { actions, ..told.filter() };
        each(store, filter, |array, action, attribute| {
            let (of, key, value) = match action {
                Action::Create => (&mut told.created, attribute("object"), Some(array.clone())),
                _ => (&mut told.moved, Some(array.clone()), attribute("to")),
            };
            if let (Some(key), Some(value)) = (key, value) {
                of.entry(key).or_default().insert(value);
            }
        })?;
        Ok(told)
    }

    /// Lets a watch forget what it found and the history has under another array that is known still.
    pub(super) fn take_from(
        &self,
        store: &Store,
        array: &Text,
        watch: &mut ArrayWatch,
    ) -> Result<(), Error> {
        let others = self.others(store, array, watch);
        if others.is_empty() {
            return Ok(());
        }
        let members = others.into_iter().map(|other| (self.namespace.clone(), other)).collect();
        let filter = Filter { targets: Targets::Members(members), ..self.filter() };
        let mut objects = Vec::new();
        each(store, filter, |_, action, attribute| {
            objects.extend(attribute("object").map(|object| (action, object)));
            if objects.len() >= PAGE_EVENTS {
                watch.forget_told(objects.drain(..));
            }
        })?;
        watch.forget_told(objects.drain(..));
        Ok(())
    }

    /// Arrays that were created as this one was, and where these were moved to.
    fn others(&self, store: &Store, array: &Text, watch: &ArrayWatch) -> BTreeSet<Text> {
        let created = watch.created().and_then(|schema| self.created.get(&*schema));
        let mut left: Vec<Text> = created.into_iter().flatten().cloned().collect();
        let catalog = store.catalog();
        let arrays = catalog.registry.arrays();
        let (mut ids, mut by_uri) = (BTreeSet::new(), BTreeMap::new());
        if !left.is_empty() {
            for known in arrays.arrays_of(&self.namespace) {
                let id = Text::from(known.id.to_string());
                by_uri.insert(&known.uri, id.clone());
                ids.insert(id);
            }
        }
        let mut others = BTreeSet::new();
        while let Some(one) = left.pop() {
            let moved = self.moved.get(&one).into_iter().flatten();
            let next: Vec<Text> = moved.filter_map(|uri| by_uri.get(uri).cloned()).collect();
            if others.insert(one) {
                left.extend(next);
            }
        }
        // What was deregistered is seen by nobody.
        others.retain(|other| other != array && ids.contains(other));
        others
    }

    fn filter(&self) -> Filter {
        let scope = Scope::Namespace(self.namespace.clone());
        Filter { is_counted: false, ..Filter::all(scope, PAGE_EVENTS) }
    }
}

/// Calls with the array and the action of each event, and what gives its attributes.
fn each(
    store: &Store,
    mut filter: Filter,
    mut take: impl FnMut(&Text, Action, &dyn Fn(&str) -> Option<Text>),
) -> Result<(), Error> {
    loop {
        let page = store.select(&filter)?;
        for row in &page.rows {
            let Record::Access(access) = &row.record else { continue };
            let Target::Array { array, .. } = &access.target else { continue };
            take(array, access.action, &|name| access.attributes.get(name).cloned());
        }
        let Some(last) = page.rows.last() else { return Ok(()) };
        filter.after = Some(last.order());
        filter.as_of = Some(page.as_of);
    }
}
