//! Any bytes as a roster: `cargo +nightly fuzz run roster`. Each account that is read has a name of its own.
#![no_main]

use std::collections::HashSet;

use doorbook_server::admin::roster::{ACCOUNTS_MAX, read};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(accounts) = read("roster.csv", bytes) {
        let names: HashSet<&str> = accounts.iter().map(|account| &*account.name).collect();
        assert_eq!(names.len(), accounts.len());
        assert!(!names.contains("") && accounts.len() <= ACCOUNTS_MAX);
    }
});
