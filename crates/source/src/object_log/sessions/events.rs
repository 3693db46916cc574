//! In which words it is told what one lane says.

use std::cell::OnceCell;

use doorbook_event::{
    Access, Action, Attributes, Classes, Client, Outcome, Peer, Principal, Shared, Target, Text,
    WrittenTime,
};

use super::lane::{Denial, First, Reading, Removing, Who};
use super::sign::{Gone, Got, fragment};
use crate::object_log::Places;
use crate::object_log::object::Span;

/// Makes events of one lane.
pub(super) struct Events<'a> {
    who: &'a Who,
    places: &'a Places,
    /// The array, if the namespace has it; not looked up before something is told.
    target: OnceCell<Option<Target>>,
    out: &'a mut Vec<Access>,
}

impl<'a> Events<'a> {
    /// Tells of what one does whose arrays are there.
    pub(super) fn new(who: &'a Who, places: &'a Places, out: &'a mut Vec<Access>) -> Events<'a> {
        Events { who, places, target: OnceCell::new(), out }
    }

    /// The array, if the namespace has it.
    pub(super) fn target(&self) -> Option<&Target> {
        let find = || self.places.target(&self.who.bucket, &self.who.array);
        self.target.get_or_init(find).as_ref()
    }

    /// What was read, and for what.
    pub(super) fn reading(&mut self, reading: Reading) {
        let Reading { first, got, requests, leads_to_change, .. } = reading;
        let action = match got {
            Got { cells: true, .. } => Some(Action::QueryRead),
            Got { metadata: true, .. } => None,
            Got { enumerations: true, .. } => Some(Action::ReadEnumerations),
            Got { schema: true, .. } if !leads_to_change => Some(Action::ReadSchema),
            _ => None,
        };
        if got.metadata {
            // What was read to get there is told with the cells, if any were read.
            let opening = if action.is_none() { got.bytes } else { 0 };
            let attributes = read_attributes(got.metadata_bytes + opening, requests);
            self.tell(Action::ArrayMetadataGet, first.clone(), Outcome::Success, attributes);
        }
        if let Some(action) = action {
            self.tell(action, first, Outcome::Success, read_attributes(got.bytes, requests));
        }
    }

    /// What appeared, and how much was sent of it.
    pub(super) fn change(
        &mut self,
        action: Action,
        object: &str,
        first: First,
        bytes: Option<u64>,
    ) {
        let mut attributes = Attributes::new();
        attributes.insert("object".into(), object.into());
        if let Some(span) = Span::of(fragment(object)) {
            attributes.insert("data_from".into(), span.from.to_string().into());
            attributes.insert("data_to".into(), span.to.to_string().into());
        }
        if let Some(what) = what(action, object) {
            attributes.insert("what".into(), what.into());
        }
        if let Some(bytes) = bytes {
            attributes.insert("bytes_received".into(), bytes.to_string().into());
        }
        self.tell(action, first, Outcome::Success, attributes);
    }

    /// What was removed, and why.
    pub(super) fn removing(&mut self, removing: Removing) {
        let Removing { first, gone, is_vacuum, ignored, requests, .. } = removing;
        let is_data = gone.cells || gone.metadata || gone.other;
        let (action, what) = match &gone {
            Gone { schema: true, .. } => (Action::Delete, None),
            Gone { list: None, .. } if is_data && !is_vacuum => (Action::DeleteFragments, None),
            Gone { cells: true, .. } => (Action::Vacuum, Some("fragments")),
            Gone { metadata: true, .. } => (Action::Vacuum, Some("metadata")),
            Gone { fragments_metadata: true, .. } => (Action::Vacuum, Some("fragment_metadata")),
            // Commits alone go because others hold them.
            _ => (Action::Vacuum, Some("commits")),
        };
        let mut attributes = Attributes::new();
        attributes.insert("requests".into(), requests.to_string().into());
        if let Some(what) = what {
            attributes.insert("what".into(), what.into());
        }
        let object = match action {
            Action::Delete => gone.created.map(|(_, name)| name),
            _ => ignored.or(gone.list).or(gone.object),
        };
        if let Some(object) = object {
            attributes.insert("object".into(), object.into());
        }
        self.tell(action, first, Outcome::Success, attributes);
    }

    /// What someone was not let.
    pub(super) fn denial(&mut self, action: Action, denial: Denial) {
        let Denial { first, reason, status, requests, .. } = denial;
        let outcome = Outcome::Failure { reason, code: Some(i64::from(status)) };
        let mut attributes = Attributes::new();
        attributes.insert("requests".into(), requests.to_string().into());
        self.tell(action, first, outcome, attributes);
    }

    fn tell(&mut self, action: Action, first: First, outcome: Outcome, mut attributes: Attributes) {
        let Some(target) = self.target().cloned() else { return };
        attributes.insert("request".into(), first.id);
        let database = Text::default();
        let user = |name: &Text| Principal::User { name: name.clone(), database };
        self.out.push(Access {
            target,
            event_time: first.at,
            written_time: WrittenTime::Complete,
            action,
            outcome,
            principal: self.who.requester.as_ref().map_or(Principal::Unauthenticated, user),
            mechanism: None,
            peer: self.who.address.map_or(Peer::Unknown, |address| Peer::ip(address, None)),
            peer_joined: false,
            connection: None,
            process_start: None,
            client: self.who.program.as_ref().map(client),
            speculative: None,
            classes: Classes::NONE,
            attributes,
            raw: first.line.into_vec(),
            task_id: None,
        });
    }
}

fn read_attributes(bytes: u64, requests: u64) -> Attributes {
    let mut attributes = Attributes::new();
    attributes.insert("bytes_sent".into(), bytes.to_string().into());
    attributes.insert("requests".into(), requests.to_string().into());
    attributes
}

/// `aws-sdk-cpp/1.11.740 ua/2.1 api/S3 os/Linux#6.1 lang/c++#C++11 …`: the program first, then what it says of
/// its surroundings.
fn client(program: &Text) -> Shared<Client> {
    let mut words = program.split(' ');
    let name = words.next().unwrap_or_default();
    let (driver, version) = name.split_once('/').unwrap_or((name, ""));
    let after = |prefix: &str| {
        let value = program.split(' ').find_map(|word| word.strip_prefix(prefix));
        value.map(|value| Text::from(value.replace('#', " ")))
    };
    Shared::from(Client {
        driver: Some(driver.into()),
        driver_version: Some(version).filter(|version| !version.is_empty()).map(Text::from),
        os: after("os/"),
        platform: after("lang/"),
        ..Client::default()
    })
}

/// Of what a consolidation or an unusual write was.
fn what(action: Action, object: &str) -> Option<&'static str> {
    match (action, object.split('/').next()?) {
        (Action::Consolidate, "__meta") => Some("metadata"),
        (Action::Consolidate, "__fragment_meta") => Some("fragment_metadata"),
        (Action::Consolidate, _) if object.ends_with(".con") => Some("commits"),
        (Action::Consolidate, _) => Some("fragments"),
        (Action::QueryWrite, _) if object.ends_with(".upd") => Some("update"),
        _ => None,
    }
}
