//! Any text as the query of an address or the body of a form: `cargo +nightly fuzz run query`. There are no more
//! parameters than it has parts.
#![no_main]

use doorbook_event::review::{Due, is_review_name};
use doorbook_server::api::native::query::Query;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(query) = Query::parse(text) else { return };
    assert!(query.pairs().len() <= text.split('&').count());
    for (name, value) in query.pairs() {
        // As the form of a review has them.
        let _whatever = is_review_name(name);
        if let Some(due) = Due::parse(value) {
            assert_eq!(Due::parse(&due.to_string()), Some(due));
        }
    }
});
