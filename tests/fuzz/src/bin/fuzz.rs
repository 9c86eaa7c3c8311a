//! Fuzzes the target that `OPP2P_FUZZ_TARGET` names with LLVM's libFuzzer, and accepts libFuzzer's
//! flags. `list` prints the names of all targets, and the maximum useful length of their inputs.
#![no_main]

use std::sync::OnceLock;

use opp2p_fuzz::Target;

static TARGET: OnceLock<&'static Target> = OnceLock::new();

libfuzzer_sys::fuzz_target!(
    init: {
        let name = std::env::var("OPP2P_FUZZ_TARGET").unwrap_or_default();
        let Some(target) = opp2p_fuzz::find(&name) else {
            if name == "list" {
                for target in opp2p_fuzz::TARGETS {
                    println!("{} {}", target.name, target.max_len);
                }
                std::process::exit(0);
            }
            let names: Vec<&str> = opp2p_fuzz::TARGETS.iter().map(|target| target.name).collect();
            eprintln!("OPP2P_FUZZ_TARGET names no target; there are: {}", names.join(", "));
            std::process::exit(2);
        };
        let _ = TARGET.set(target);
    },
    |bytes: &[u8]| {
        if let Some(target) = TARGET.get() {
            (target.run)(bytes);
        }
    }
);
