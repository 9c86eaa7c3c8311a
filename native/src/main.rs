//! The binary: see [`opp2p::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    opp2p::cli::main()
}
