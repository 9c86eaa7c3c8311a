//! The reference page of all methods, `native/RPC.md`.

use std::path::Path;

/// Set this variable to write the page instead of comparing it.
const WRITE: &str = "OPP2P_WRITE_PAGES";

#[test]
fn the_reference_page_matches_the_program() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("RPC.md");
    let expected = opp2p::rpc::reference();
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(&path, &expected).unwrap();
    }
    let page = std::fs::read_to_string(&path).unwrap_or_default();
    let differing = page.lines().zip(expected.lines()).find(|(there, here)| there != here);
    assert!(
        page == expected,
        "native/RPC.md is not what the program writes; first differing line: {differing:?}. Write \
         it again with: {WRITE}=1 cargo test --workspace --test rpc_suite reference"
    );
}
