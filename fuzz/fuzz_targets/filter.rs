//! Any text as a filter: `cargo +nightly fuzz run filter`. What is read is printed as what is read as
//! the same, and a place is inside the text.
#![no_main]

use doorbook_server::filter::{Place, Terms};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match Terms::parse(text) {
        Ok(terms) => assert_eq!(Terms::parse(&terms.to_string()), Ok(terms)),
        Err(wrong) => {
            let Place::Columns(column, _) = wrong.place else { panic!("no parameter") };
            assert!((1..=text.chars().count() + 1).contains(&column));
        }
    }
});
