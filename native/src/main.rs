//! The binary `opp2p`, whose code is in [`opp2p::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    opp2p::cli::main()
}
