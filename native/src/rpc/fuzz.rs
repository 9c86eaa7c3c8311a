//! Argument parsing for the fuzz targets.

use crate::rpc::error::CallError;

use super::eth;
use super::params::Arguments;
use super::types::IpNet;

/// Parses up to three arguments as every supported type, and returns the error messages.
pub(crate) fn arguments(text: &str) -> Vec<String> {
    let mut told = Vec::new();
    let mut tell = |error: Option<CallError>| {
        told.extend(error.map(|error| error.message().to_owned()));
    };
    match Arguments::read(Some(text), 3) {
        Ok(arguments) => {
            for place in 0..4 {
                tell(arguments.bool(place).err());
                tell(arguments.number(place).err());
                tell(arguments.seconds(place).err());
                tell(arguments.peer(place).err());
                tell(arguments.ip(place).err());
                tell(arguments.address(place).err());
                tell(arguments.word(place).err());
                eth::fuzz(&arguments, place).into_iter().for_each(|error| tell(Some(error)));
                match arguments.subnet(place) {
                    // The written form must parse to the same network.
                    Ok(subnet) => {
                        let written = serde_json::json!([IpNet::from(subnet)]).to_string();
                        let again =
                            Arguments::read(Some(&written), 1).and_then(|again| again.subnet(0));
                        assert_eq!(again, Ok(subnet), "{written}");
                    }
                    Err(error) => tell(Some(error)),
                }
            }
        }
        Err(error) => tell(Some(error)),
    }
    told
}
