//! `doorbook agent`: what the binary `doorbook-agent` does.

use doorbook_agent::run::{Misuse, run as run_agent};
use doorbook_agent::settings::Args;
use doorbook_server::admin::Failure;

pub fn run(args: Args) -> anyhow::Result<()> {
    run_agent(args).map_err(|error| match error.downcast::<Misuse>() {
        Ok(Misuse(why)) => Failure::invalid(why).into(),
        Err(error) => error,
    })
}
