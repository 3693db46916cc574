//! Prints the description of our own API: what `cargo xtask generate` writes to `docs/openapi.json`.

fn main() {
    print!("{}", doorbook_server::api::native::openapi::document());
}
