//! Executes calls over proved state in the browser.
//!
//! This is a module of its own, which a page loads at its first call: an EVM is as large as all the
//! rest of the node.

use opp2p_core::proof::call::Job;
use wasm_bindgen::JsError;
use wasm_bindgen::prelude::wasm_bindgen;

/// Executes a job, which is given as JSON. Returns the JSON of its report.
///
/// # Errors
/// If the text is not a job.
#[wasm_bindgen]
pub fn execute(job: &str) -> Result<String, JsError> {
    let job: Job = serde_json::from_str(job)?;
    Ok(serde_json::to_string(&opp2p_evm::execute(&job))?)
}
