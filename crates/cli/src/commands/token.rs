//! `doorbook token`.

use clap::Subcommand;
use doorbook_server::admin::arrays::ArraysRequest;
use doorbook_server::admin::{Reply, Request};

use super::{DataDir, out_of_turn};
use crate::output;

#[derive(Subcommand)]
pub enum Command {
    /// Create a token, good until it is deleted; it is shown this once
    Create {
        /// Whose it is
        #[arg(long, value_name = "NAME")]
        user: String,
        /// Print {"token"}
        #[arg(long)]
        json: bool,
    },
    /// Delete all tokens of a user, those of logins too; they stop working at once
    Delete {
        /// Whose they are
        #[arg(long, value_name = "NAME")]
        user: String,
    },
}

pub fn run(data_dir: &DataDir, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Create { user, json } => {
            let request = Request::Arrays(ArraysRequest::TokenCreate { user });
            let token = match data_dir.execute(request)? {
                Reply::NewToken(token) => token,
                other => return Err(out_of_turn(&other)),
            };
            if json {
                return output::json(&token);
            }
            eprintln!("The token is shown this once; it cannot be shown again.");
            output::line(&token.token.0)
        }
        Command::Delete { user } => {
            data_dir.execute(Request::Arrays(ArraysRequest::TokenDelete { user: user.clone() }))?;
            output::line(&format!("deleted the tokens of {user}"))
        }
    }
}
