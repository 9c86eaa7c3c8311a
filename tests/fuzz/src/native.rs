//! Decoders of the native node: records of its block store, key files, bootnodes, and the arguments
//! of its RPC.

use alloy_primitives::B256;
use opp2p::fuzz::call_arguments;
use opp2p_node::discovery::Bootnode;
use opp2p_node::key::SecretKey;
use opp2p_store::fuzz::{read_record, write_record};
use opp2p_store::{MAX_MESSAGE_BYTES, StoredBlock};

use crate::material::POOL;

/// Input: a record, which is read under the hash of the seeds.
pub(crate) fn store_record(bytes: &[u8]) {
    match read_record(&B256::repeat_byte(7), bytes) {
        Ok(block) => {
            assert_eq!(block.hash, B256::repeat_byte(7), "a record under another's key");
            assert!(block.message.len() <= MAX_MESSAGE_BYTES);
            let again = write_record(&block).expect("it was short enough before");
            assert_eq!(read_record(&block.hash, &again), Ok(block));
        }
        Err(error) => assert!(!error.is_empty() && error.len() < 400, "{error}"),
    }
}

pub(crate) fn store_record_seeds() -> Vec<Vec<u8>> {
    let block = |message: Vec<u8>| StoredBlock {
        number: 7,
        hash: B256::repeat_byte(7),
        parent_hash: B256::repeat_byte(6),
        timestamp: 1_700_000_000,
        received_unix_ms: 1_700_000_000_123,
        version: 4,
        message,
    };
    let messages = [Vec::new(), vec![9; 300], POOL[0].contents.clone()];
    messages.map(|message| write_record(&block(message)).expect("it is short")).to_vec()
}

/// Input: the text of a key file.
pub(crate) fn key_file(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match text.parse::<SecretKey>() {
        Ok(key) => {
            let again: SecretKey = key.to_hex().parse().expect("it was written by us");
            assert_eq!(again.secret_bytes(), key.secret_bytes());
            assert_eq!(again.peer_id(), key.peer_id());
            let shown = format!("{key:?}").to_lowercase();
            assert!(!shown.contains(key.to_hex().as_str()), "a secret is shown");
        }
        Err(error) => {
            // The text may be a key with a typing error, so the error must not repeat any part of
            // it.
            let shown = error.to_string();
            let digits = text.trim().trim_start_matches("0x");
            assert!(digits.len() < 8 || !shown.contains(digits), "a secret is shown");
            assert!(shown.len() < 400);
        }
    }
}

pub(crate) fn key_file_seeds() -> Vec<Vec<u8>> {
    let one = "0".repeat(63) + "1";
    let texts =
        [one.clone(), format!("0x{one}\n"), "f".repeat(64), one[1..].to_owned(), "g".repeat(64)];
    texts.map(String::into_bytes).to_vec()
}

/// Input: a record, or a URL of a node without a record.
pub(crate) fn bootnode(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match text.parse::<Bootnode>() {
        Ok(Bootnode::Record(enr)) => {
            let again: Bootnode = enr.to_base64().parse().expect("it was written by the library");
            assert_eq!(again, Bootnode::Record(enr));
        }
        Ok(url) => {
            let _ = url.ip();
            assert!(text.contains('@'));
        }
        Err(error) => assert!(error.to_string().len() < 400, "{error}"),
    }
}

pub(crate) fn bootnode_seeds() -> Vec<Vec<u8>> {
    use opp2p_core::discovery::bootnodes;
    let key = "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798\
               483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8";
    let ours = [
        format!("enode://{key}@1.2.3.4:9222"),
        format!("enode:{key}@[::1]:9222?discport=9223"),
        format!("enode://{key}@name.example:0"),
    ];
    let known = bootnodes::of_l1(1).iter().take(4).map(|text| text.as_bytes().to_vec());
    ours.into_iter().map(String::into_bytes).chain(known).collect()
}

/// Input: the arguments of an RPC call.
pub(crate) fn rpc_arguments(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for error in call_arguments(text) {
        assert!(!error.is_empty() && error.len() < 1000, "{error}");
    }
}

pub(crate) fn rpc_arguments_seeds() -> Vec<Vec<u8>> {
    [
        r#"[]"#,
        r#"[true,7,null]"#,
        r#"["16Uiu2HAm3cuhhRL2msUuLF62KRSfneFDx94RsuouyW25Ho42cFMq"]"#,
        r#"["bafzaajaiaejcb2nxwjvszahvn77bgjd5l2o6sewilbxdcrnpjurf4jj4r54kjplz",3600]"#,
        r#"[{"IP":"1.2.0.0","Mask":"//8AAA=="},"10.0.0.0/8","::1"]"#,
        r#"["/ip4/1.2.3.4/tcp/9222/p2p/16Uiu2HAm3cuhhRL2msUuLF62KRSfneFDx94RsuouyW25Ho42cFMq"]"#,
        r#"{"a":1}"#,
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}
