//! The observer in a worker.
#![cfg(target_arch = "wasm32")]

mod observer;

wasm_bindgen_test::wasm_bindgen_test_configure!(run_in_dedicated_worker);
