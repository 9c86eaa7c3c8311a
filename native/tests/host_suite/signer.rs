//! Block signers: read from an L1 node over HTTP, and remote signers.

use super::fake_rpc::{Answer, FakeRpc};
use super::support::*;
use alloy_primitives::{Address, B256, hex};
use opp2p::devnet::{BlockMaker, unix_seconds};
use opp2p_core::gossip::{BLOCK_DOMAIN, Reason, signing_hash};
use opp2p_core::l1::{L1Config, L1Error, SIGNER_SLOT};
use opp2p_core::node::SignRequest;
use opp2p_core::sequencer::{LocalSigner, Obstacle, PublishError, PublishId};
use opp2p_node::host::{Host, HostEventKind, L1News, L1Reader, SignerOrigin, SignerReport};
use opp2p_node::http::{HttpConfig, TlsFiles};
use opp2p_node::remote_signer::{RemoteSigner, RemoteSignerConfig, RemoteSignerError};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::timeout;

const CONTRACT: Address = Address::repeat_byte(0x5c);
const L1_CHAIN: u64 = 900;
const TIME: Duration = Duration::from_secs(10);

fn next_signer() -> LocalSigner {
    LocalSigner::from_bytes(&[8; 32]).unwrap()
}

/// The state of an L1.
#[derive(Clone, Copy, Debug)]
struct L1 {
    chain_id: u64,
    newest: u64,
    signer: Address,
    is_down: bool,
}

impl L1 {
    fn new(signer: Address) -> Self {
        Self { chain_id: L1_CHAIN, newest: 100, signer, is_down: false }
    }

    fn answer(&self, method: &str, params: &Value) -> Answer {
        let hash = B256::repeat_byte(0xb1);
        match method {
            _ if self.is_down => Err((-32000, "out of order".into())),
            "eth_chainId" => Ok(json!(format!("{:#x}", self.chain_id))),
            "eth_blockNumber" => Ok(json!(format!("{:#x}", self.newest))),
            "eth_getBlockByNumber" => {
                Ok(json!({ "number": params[0], "hash": hash, "gasUsed": "0x0" }))
            }
            "eth_getStorageAt" => {
                let at = json!({ "blockHash": hash, "requireCanonical": false });
                let slot = json!([CONTRACT, SIGNER_SLOT, at]);
                assert_eq!(params, &slot);
                Ok(json!(self.signer.into_word()))
            }
            _ => Err((-32601, "no such method".into())),
        }
    }
}

/// Starts an L1 node over HTTP whose state a test can change.
fn l1(state: L1) -> (FakeRpc, Arc<Mutex<L1>>) {
    let state = Arc::new(Mutex::new(state));
    let shared = Arc::clone(&state);
    (FakeRpc::start(move |method, params| shared.lock().unwrap().answer(method, params)), state)
}

fn reader(l1: &FakeRpc, reload: Duration) -> L1Reader {
    let config =
        L1Config { chain_id: L1_CHAIN, contract: CONTRACT, confirmations: 4, reload: Some(reload) };
    L1Reader { http: HttpConfig::new(&l1.url(), TIME), config }
}

async fn reading(directory: &Path, name: &str, peers: &[&Host], l1: L1Reader) -> Host {
    let mut config = config(directory, name, peers);
    config.l1 = Some(l1);
    Host::start(config).await.unwrap()
}

async fn until_report(host: &Host, wanted: impl FnMut(&SignerReport) -> bool) -> SignerReport {
    let mut report = host.signer_report();
    let reached = timeout(Duration::from_secs(20), report.wait_for(wanted)).await;
    reached.map(|report| report.unwrap().clone()).expect("in time")
}

/// Starts a sequencer that signs as `signer`, whatever the chain says.
async fn sequencer_of(directory: &Path, name: &str, signer: LocalSigner) -> Host {
    let mut config = config(directory, name, &[]);
    config.signer = Some(signer.address());
    config.sequencer = Some(signer.into());
    Host::start(config).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_on_l1_is_followed_and_the_old_signer_stays_valid_for_a_while() {
    let directory = tempfile::tempdir().unwrap();
    let (old, new) = (signer().address(), next_signer().address());
    let (node, state) = l1(L1::new(old));
    let first = sequencer(directory.path()).await;
    let follower =
        reading(directory.path(), "follower", &[&first], reader(&node, Duration::from_millis(200)))
            .await;
    let report = until_report(&follower, |report| report.origin == SignerOrigin::L1).await;
    assert_eq!((report.l1_block, report.l1_error), (Some(96), None));
    assert_eq!(follower.signers().current, Some(old));
    until(&first, |status| status.mesh == 1).await;
    let mut maker = BlockMaker::new(&chain(), 1);
    first.publish(maker.next(unix_seconds())).await.unwrap().unwrap();
    until(&follower, |status| status.accepted == 1).await;

    {
        let mut state = state.lock().unwrap();
        (state.signer, state.newest) = (new, 150);
    }
    until_report(&follower, |report| report.l1_block == Some(146)).await;
    let signers = follower.signers();
    assert_eq!((signers.current, signers.previous), (Some(new), Some(old)));
    // The sequencer has not switched yet.
    first.publish(maker.next(unix_seconds())).await.unwrap().unwrap();
    until(&follower, |status| status.accepted == 2).await;
    first.stop().await;
    // Now it has.
    let second = sequencer_of(directory.path(), "second", next_signer()).await;
    assert_eq!(follower.connect(second.address()).await, Ok(Ok(())));
    until(&second, |status| status.mesh == 1).await;
    second.publish(maker.next(unix_seconds())).await.unwrap().unwrap();
    until(&follower, |status| status.accepted == 3).await;
    assert_eq!((follower.signers().current, follower.signers().previous), (Some(new), None));
    second.stop().await;
    follower.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_l1_outage_changes_nothing_but_is_reported() {
    let directory = tempfile::tempdir().unwrap();
    let (node, state) = l1(L1::new(signer().address()));
    let host =
        reading(directory.path(), "host", &[], reader(&node, Duration::from_millis(100))).await;
    until_report(&host, |report| report.origin == SignerOrigin::L1).await;
    let mut events = host.events();
    state.lock().unwrap().is_down = true;
    let report = until_report(&host, |report| report.l1_error.is_some()).await;
    assert_eq!(report.origin, SignerOrigin::L1);
    assert!(report.l1_error.unwrap().contains("out of order"));
    assert_eq!(host.signers().current, Some(signer().address()));
    let failed = async {
        loop {
            if let HostEventKind::L1(L1News::Failed(error)) = events.recv().await.unwrap().kind {
                return error;
            }
        }
    };
    let error = timeout(Duration::from_secs(20), failed).await.unwrap();
    assert!(matches!(error, L1Error::Refused { code: -32000, .. }), "{error:?}");
    // It is back: the next attempt follows automatically, after ten seconds at most.
    state.lock().unwrap().is_down = false;
    until_report(&host, |report| report.l1_error.is_none()).await;
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_l1_node_of_another_chain_is_refused_and_the_chains_own_signer_stays() {
    let directory = tempfile::tempdir().unwrap();
    let (node, _state) = l1(L1 { chain_id: 5, ..L1::new(Address::repeat_byte(0xee)) });
    let host = reading(directory.path(), "host", &[], reader(&node, TIME)).await;
    let report = until_report(&host, |report| report.l1_error.is_some()).await;
    assert_eq!(report.origin, SignerOrigin::ChainConfig);
    assert!(report.l1_error.unwrap().contains("is on chain 5, and this chain's L1 is 900"));
    assert_eq!(host.signers().current, Some(signer().address()));
    assert_eq!(node.methods(), ["eth_chainId"]);
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signer_that_the_operator_names_is_not_read_from_l1() {
    let directory = tempfile::tempdir().unwrap();
    let (node, _state) = l1(L1::new(Address::repeat_byte(0xee)));
    let mut config = config(directory.path(), "host", &[]);
    config.signer = Some(Address::repeat_byte(0x11));
    config.l1 = Some(reader(&node, Duration::from_millis(10)));
    let host = Host::start(config).await.unwrap();
    // A host without such a signer, which starts later, has read its own L1 node by now.
    let (other, _other_state) = l1(L1::new(signer().address()));
    let reading =
        reading(directory.path(), "reading", &[], reader(&other, Duration::from_millis(10))).await;
    until_report(&reading, |report| report.origin == SignerOrigin::L1).await;
    reading.stop().await;
    assert_eq!(host.signer_report().borrow().origin, SignerOrigin::Operator);
    assert_eq!(host.signers().current, Some(Address::repeat_byte(0x11)));
    assert!(node.methods().is_empty());
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_of_an_unknown_signer_trigger_an_early_read() {
    let directory = tempfile::tempdir().unwrap();
    let (node, state) = l1(L1::new(signer().address()));
    let follower =
        reading(directory.path(), "follower", &[], reader(&node, Duration::from_secs(3600))).await;
    until_report(&follower, |report| report.origin == SignerOrigin::L1).await;
    state.lock().unwrap().signer = next_signer().address();
    let second = sequencer_of(directory.path(), "second", next_signer()).await;
    assert_eq!(follower.connect(second.address()).await, Ok(Ok(())));
    until(&second, |status| status.mesh == 1).await;
    let mut maker = BlockMaker::new(&chain(), 2);
    second.publish(maker.next(unix_seconds())).await.unwrap().unwrap();
    until(&follower, |status| status.refused.contains_key(&Reason::SignerInDoubt)).await;
    let switched = async {
        while follower.signers().current != Some(next_signer().address()) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(20), switched).await.expect("it is read long before its time");
    // The sender is not blamed, and the next block is accepted.
    second.publish(maker.next(unix_seconds())).await.unwrap().unwrap();
    until(&follower, |status| status.accepted == 1 && status.peers == 1).await;
    second.stop().await;
    follower.stop().await;
}

/// Signs like the reference's signer, for either form of the request.
fn sign(method: &str, params: &Value, knows_first: bool, signer: &LocalSigner) -> Answer {
    let request = &params[0];
    let bytes = |value: &Value| {
        B256::try_from(hex::decode(value.as_str().unwrap()).unwrap().as_slice()).unwrap()
    };
    let (domain, chain_id, hash) = match method {
        "health_status" => return Ok(json!("v1.2.3")),
        "opsigner_signBlockPayload" if knows_first => {
            let domain: Vec<u8> = serde_json::from_value(request["domain"].clone()).unwrap();
            use base64::Engine;
            let hash =
                base64::prelude::BASE64_STANDARD.decode(request["payloadHash"].as_str().unwrap());
            let hash = B256::from_slice(&hash.unwrap());
            (B256::from_slice(&domain), request["chainId"].as_u64().unwrap(), hash)
        }
        "opsigner_signBlockPayloadV2" => {
            let chain_id = request["chainId"].as_str().unwrap().strip_prefix("0x").unwrap();
            let chain_id = u64::from_str_radix(chain_id, 16).unwrap();
            (bytes(&request["domain"]), chain_id, bytes(&request["payloadHash"]))
        }
        _ => return Err((-32601, format!("the method {method} does not exist"))),
    };
    let signature = signer.sign(&signing_hash(domain, chain_id.into(), hash));
    Ok(json!(hex::encode_prefixed(signature)))
}

fn remote(url: &str, address: Address) -> RemoteSignerConfig {
    RemoteSignerConfig { http: HttpConfig::new(url, TIME), address }
}

fn request() -> SignRequest {
    let payload_hash = B256::repeat_byte(0x77);
    let signing_hash = signing_hash(BLOCK_DOMAIN, CHAIN_ID.into(), payload_hash);
    SignRequest {
        id: PublishId(1),
        domain: BLOCK_DOMAIN,
        chain_id: CHAIN_ID,
        payload_hash,
        signing_hash,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sequencer_publishes_blocks_signed_remotely() {
    let directory = tempfile::tempdir().unwrap();
    for knows_first in [true, false] {
        let server =
            FakeRpc::start(move |method, params| sign(method, params, knows_first, &signer()));
        let remote =
            RemoteSigner::connect(remote(&server.url(), signer().address())).await.unwrap();
        let mut config = config(directory.path(), &format!("sequencer-{knows_first}"), &[]);
        config.sequencer = Some(remote.into());
        let first = Host::start(config).await.unwrap();
        let second =
            follower(directory.path(), &format!("follower-{knows_first}"), &[&first]).await;
        until(&first, |status| status.mesh == 1).await;
        let mut maker = BlockMaker::new(&chain(), 3);
        for number in 1..=3 {
            first.publish(maker.next(unix_seconds())).await.unwrap().unwrap();
            until(&second, |status| status.accepted == number).await;
        }
        assert_eq!(server.methods()[0], "health_status");
        first.stop().await;
        second.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_remote_signer_is_an_error_to_the_publisher() {
    let directory = tempfile::tempdir().unwrap();
    let server = FakeRpc::start(|method, _| match method {
        "health_status" => Ok(json!("v1")),
        _ => Err((-32000, "the key is locked".into())),
    });
    let remote_signer =
        RemoteSigner::connect(remote(&server.url(), signer().address())).await.unwrap();
    let mut config = config(directory.path(), "sequencer", &[]);
    config.sequencer = Some(remote_signer.into());
    let host = Host::start(config).await.unwrap();
    let second = follower(directory.path(), "follower", &[&host]).await;
    until(&host, |status| status.mesh == 1).await;
    let mut maker = BlockMaker::new(&chain(), 3);
    // The publication is retried until it is too old; only the absence of requests meanwhile
    // matters here.
    let publish = host.publish(maker.next(unix_seconds() - 55));
    let result = timeout(Duration::from_secs(60), publish).await.unwrap().unwrap();
    assert!(
        matches!(&result, Err(PublishError::Expired(Obstacle::Signer(why)))
            if why.contains("the key is locked")),
        "{result:?}"
    );
    assert_eq!(second.status().borrow().accepted, 0);
    host.stop().await;
    second.stop().await;
}

/// The signer takes the request and stays silent for as long as it is asked to wait.
#[tokio::test(flavor = "multi_thread")]
async fn a_silent_remote_signer_does_not_stop_blocks_of_others() {
    let directory = tempfile::tempdir().unwrap();
    let server = FakeRpc::start(|method, _| match method {
        "health_status" => Ok(json!("v1")),
        _ => {
            std::thread::sleep(Duration::from_secs(8));
            Err((-32000, "too late".into()))
        }
    });
    let remote_signer =
        RemoteSigner::connect(remote(&server.url(), signer().address())).await.unwrap();
    let other = sequencer(directory.path()).await;
    let mut config = config(directory.path(), "waiting", &[&other]);
    config.sequencer = Some(remote_signer.into());
    let waiting = Host::start(config).await.unwrap();
    let behind = follower(directory.path(), "behind", &[&waiting]).await;
    until(&waiting, |status| status.mesh == 2).await;
    let (mut own, mut maker) = (BlockMaker::new(&chain(), 3), BlockMaker::new(&chain(), 4));
    let handle = waiting.handle();
    let envelope = own.next(unix_seconds());
    let publishing = tokio::spawn(async move { handle.publish(envelope).await });
    while waiting.core(|node, _| node.publishing().is_empty()) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    for number in 1..=5 {
        other.publish(maker.next(unix_seconds())).await.unwrap().unwrap();
        until(&behind, |status| status.head.is_some_and(|head| head.number == number)).await;
    }
    assert!(!publishing.is_finished(), "the signer is asked all the while");
    publishing.abort();
    for host in [behind, waiting, other] {
        host.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_or_missing_remote_signature_is_refused() {
    let server = FakeRpc::start(|method, params| sign(method, params, true, &next_signer()));
    let wrong = RemoteSigner::connect(remote(&server.url(), signer().address())).await.unwrap();
    let error = wrong.sign(&request()).await.unwrap_err();
    let (expected, found) = (signer().address(), next_signer().address());
    assert!(matches!(error, RemoteSignerError::OtherAddress { expected: a, found: b }
            if a == expected && b == found));
    for invalid in
        [json!("0x12"), json!(null), json!("0xzz"), json!(format!("0x{}", "00".repeat(65)))]
    {
        let server = FakeRpc::start(move |_, _| Ok(invalid.clone()));
        let broken = RemoteSigner::connect(remote(&server.url(), expected)).await.unwrap();
        assert!(matches!(
            broken.sign(&request()).await,
            Err(RemoteSignerError::InvalidResponse(_))
        ));
    }
    let nobody = FakeRpc::start(|_, _| Ok(json!(1))).url();
    assert!(matches!(
        RemoteSigner::connect(remote(&nobody, expected)).await,
        Err(RemoteSignerError::Http(_))
    ));
}

/// A certificate authority's certificate, and a certificate that it signed with its key, in PEM.
struct Pki {
    ca: String,
    cert: String,
    key: String,
}

fn pki() -> Pki {
    let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let ca = authority.self_signed(&authority_key).unwrap().pem();
    let issuer = rcgen::Issuer::new(authority, authority_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let params =
        rcgen::CertificateParams::new(vec!["localhost".into(), "127.0.0.1".into()]).unwrap();
    Pki { ca, cert: params.signed_by(&key, &issuer).unwrap().pem(), key: key.serialize_pem() }
}

/// Returns the settings of a server that presents `own` and requires a certificate by `clients`'
/// authority.
fn server(own: &Pki, clients: &Pki) -> ServerConfig {
    use rustls::pki_types::pem::PemObject;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(clients.ca.as_bytes()).unwrap()).unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone())
        .build()
        .unwrap();
    let key = PrivatePkcs8KeyDer::from_pem_slice(own.key.as_bytes()).unwrap();
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(own.cert.as_bytes()).unwrap()],
            PrivateKeyDer::from(key),
        )
        .unwrap()
}

/// Writes a file of this name, and returns its path.
fn write_in(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

/// Starts a signer that shows a certificate and asks for one. Returns it, and the configuration of
/// a client whose certificate files are in the folder.
fn showing_certificates(folder: &Path, ours: &Pki, theirs: &Pki) -> (FakeRpc, RemoteSignerConfig) {
    let tls = Arc::new(server(theirs, ours));
    let server =
        FakeRpc::start_with(Some(tls), |method, params| sign(method, params, true, &signer()));
    let files = TlsFiles {
        ca: Some(write_in(folder, "ca.crt", &theirs.ca)),
        cert: Some(write_in(folder, "tls.crt", &ours.cert)),
        key: Some(write_in(folder, "tls.key", &ours.key)),
    };
    let mut config = remote(&format!("https://{}", server.host()), signer().address());
    (config.http.tls, config.http.tls13_only) = (Some(files), true);
    (server, config)
}

#[tokio::test(flavor = "multi_thread")]
async fn both_sides_show_certificates_and_new_ones_are_read_when_the_files_change() {
    let directory = tempfile::tempdir().unwrap();
    let (ours, theirs, strange) = (pki(), pki(), pki());
    let write = |name: &str, text: &str| write_in(directory.path(), name, text);
    let (server, mut config) = showing_certificates(directory.path(), &ours, &theirs);
    config.http.headers.push(("X-Token".into(), "abc".into()));
    let remote = RemoteSigner::connect(config).await.unwrap();
    assert!(remote.sign(&request()).await.is_ok());
    let heads: Vec<String> =
        server.asked.lock().unwrap().iter().map(|(head, _)| head.to_lowercase()).collect();
    assert!(heads.iter().all(|head| head.contains("x-token: abc\r\n")), "{heads:?}");
    // A certificate that the server does not know, from now on.
    tokio::time::sleep(Duration::from_millis(50)).await;
    write("tls.crt", &strange.cert);
    write("tls.key", &strange.key);
    assert!(remote.sign(&request()).await.is_err());
    tokio::time::sleep(Duration::from_millis(50)).await;
    write("tls.crt", &ours.cert);
    write("tls.key", &ours.key);
    assert!(remote.sign(&request()).await.is_ok());
    // An authority that did not sign the server's certificate.
    tokio::time::sleep(Duration::from_millis(50)).await;
    write("ca.crt", &strange.ca);
    assert!(remote.sign(&request()).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_old_certificate_is_used_until_the_new_one_is_complete() {
    let directory = tempfile::tempdir().unwrap();
    let (ours, theirs) = (pki(), pki());
    let write = |name: &str, text: &str| write_in(directory.path(), name, text);
    let (_server, config) = showing_certificates(directory.path(), &ours, &theirs);
    let remote = RemoteSigner::connect(config).await.unwrap();
    // A certificate of another key, a truncated file, and none.
    let strange = pki();
    for cert in [strange.cert.as_str(), "-----BEGIN CERT", ""] {
        tokio::time::sleep(Duration::from_millis(50)).await;
        write("tls.crt", cert);
        for _ in 0..2 {
            assert!(remote.sign(&request()).await.is_ok(), "{cert:?}");
        }
    }
    std::fs::remove_file(directory.path().join("tls.crt")).unwrap();
    assert!(remote.sign(&request()).await.is_ok());
    // The rotation is complete, and the server does not know the new certificate.
    write("tls.crt", &strange.cert);
    write("tls.key", &strange.key);
    assert!(remote.sign(&request()).await.is_err());
}
