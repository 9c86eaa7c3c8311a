//! Tests of reading a payload's version from its bytes.

use super::*;
use PayloadVersion::{V3, V4};

fn body(version: PayloadVersion, change: impl FnOnce(&mut ExecutionPayload)) -> Vec<u8> {
    let mut payload = sample(version);
    change(&mut payload);
    let mut body = root_of(version).map_or_else(Vec::new, |root| root.to_vec());
    payload.encode(&mut body).expect("encodes");
    body
}

#[test]
fn the_version_is_read_from_the_body() {
    // In an envelope, the low word of a block number is where a bare payload has its first offset.
    let numbers = [0, 1, 507, 508, 509, 512, 528, 560, (1 << 32) + 508, (7 << 32) + 512, u64::MAX];
    for version in PayloadVersion::ALL {
        for number in numbers {
            for extra_data in [0, 9, 17, 32] {
                let body = body(version, |payload| {
                    payload.block_number = number;
                    payload.extra_data = vec![1; extra_data].into();
                });
                assert_eq!(PayloadVersion::of_bytes(&body), Some(version), "block {number}");
                let (bare, envelope) =
                    (PayloadVersion::of_bare(&body), PayloadVersion::of_envelope(&body));
                match version {
                    V3 | V4 => assert_eq!(envelope, Some(version), "block {number}"),
                    _ => assert_eq!((bare, envelope), (Some(version), None), "block {number}"),
                }
            }
        }
    }
}

#[test]
fn bytes_that_fit_no_version_are_not_recognised() {
    for bytes in [vec![], vec![0; 439], vec![0; 440], vec![0; 472], vec![0xff; 2000]] {
        assert_eq!(PayloadVersion::of_bytes(&bytes), None, "{} bytes", bytes.len());
    }
    // The first offset of an envelope's payload does not make the bytes a bare payload.
    let mut bytes = vec![0; 600];
    bytes[436..440].copy_from_slice(&528_u32.to_le_bytes());
    assert_eq!(PayloadVersion::of_bytes(&bytes), None);
}
