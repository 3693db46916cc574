//! Whatever an agent or a server sends, or stands in a spool, it is read or is an error.

#![no_main]

use doorbook_event::shipment::{Orders, Receipt, Shipment, read, read_advance};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _whatever = read::<Receipt>(bytes);
    let _whatever = read_advance(bytes);
    if let Ok(orders) = read::<Orders>(bytes) {
        let _whatever: Vec<_> = orders.sources.iter().map(|order| order.source()).collect();
    }
    if let Ok(shipment) = read::<Shipment>(bytes) {
        let _whatever: Vec<_> = shipment.advances.iter().map(|it| read_advance(it)).collect();
    }
});
