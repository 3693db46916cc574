//! Not a test: prints which tests had nothing to run with, where the user sees it.

#[path = "support/tools.rs"]
#[expect(dead_code, reason = "the other tests use the rest of it")]
mod tools;

fn main() {
    // nextest asks each test binary for its tests before it runs them.
    let asked = |option: &str| std::env::args().any(|argument| argument == option);
    if asked("--list") {
        if !asked("--ignored") {
            println!("what_was_left_out: test");
        }
        return;
    }
    let missing: Vec<_> =
        tools::inventory().into_iter().filter(|(_, _, present)| !present).collect();
    if missing.is_empty() {
        println!("\nnothing was left out\n");
        return;
    }
    println!();
    for (what, why, _) in missing {
        println!("left out: {what} ({why})");
    }
    println!();
}
