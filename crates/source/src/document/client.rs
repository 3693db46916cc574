//! Clients that repeat: one allocation for all events of one application.

use doorbook_event::{Client, Shared, Text};

/// Each in the slot of its hash; a newcomer replaces what is there.
const SLOTS: usize = 256;

/// Clients that were seen.
pub struct Clients {
    slots: Vec<Option<Shared<Client>>>,
}

impl Default for Clients {
    fn default() -> Clients {
        Clients { slots: vec![None; SLOTS] }
    }
}

impl Clients {
    /// The client, shared if it was seen before; `None` if it says nothing.
    pub fn share(&mut self, client: Client) -> Option<Shared<Client>> {
        if client == Client::default() {
            return None;
        }
        let slot = &mut self.slots[slot(&client)];
        match slot {
            Some(known) if **known == client => Some(known.clone()),
            _ => Some(slot.insert(client.into()).clone()),
        }
    }
}

/// Texts are shared, so that where they lie in memory tells them apart as well as what they say,
/// and for less.
fn slot(client: &Client) -> usize {
    let Client { application, driver, driver_version, os, platform, via, origin: _ } = client;
    let place = |text: &Option<Text>| text.as_ref().map_or(0, |text| text.as_ptr() as u64);
    let mix =
        |hash: u64, text| (hash.rotate_left(23) ^ place(text)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let texts = [application, driver, driver_version, os, platform, via];
    (texts.into_iter().fold(0, mix) >> 40) as usize % SLOTS
}
