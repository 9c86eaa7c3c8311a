//! Private decoders of untrusted text, for the fuzz targets in `tests/fuzz`. Not part of the public
//! interface.

/// Parses the arguments of a call, each as every type that an argument can have, and returns the
/// texts of the errors.
pub fn call_arguments(text: &str) -> Vec<String> {
    crate::rpc::fuzz::arguments(text)
}
