//! Certificates for the operator's domain name.

use crate::client::{Browser, shown};
use crate::dns::Dns;
use crate::servers::{Pebble, REFUSED, free_port};
use crate::support::{NAME, PATIENCE, gateway, present, trouble, until_true};
use libp2p::multiaddr::Protocol;
use opp2p_node::host::{AcmeConfig, CertificateName, Host};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(crate) fn acme(pebble: &Pebble, folder: &Path, name: CertificateName) -> AcmeConfig {
    AcmeConfig {
        name,
        directory: pebble.directory.clone(),
        contact: Some("operator@gw.example".into()),
        ca: Some(pebble.ca.clone()),
        folder: folder.join("acme"),
    }
}

/// Returns all files below a folder with their modes.
fn files(folder: &Path) -> Vec<(PathBuf, u32)> {
    use std::os::unix::fs::PermissionsExt;
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        if path.is_dir() {
            found.extend(files(&path));
        }
        found.push((path, mode));
    }
    found
}

pub(crate) async fn a_certificate_is_obtained_and_renewed_while_a_connection_stays() {
    let directory = tempfile::tempdir().unwrap();
    let (dns, port) = (Dns::start().await, free_port());
    let pebble = Pebble::start(directory.path(), &dns.address, port, 30).await;
    let name = CertificateName::Domain(NAME.into());
    let config = gateway(directory.path(), port, acme(&pebble, directory.path(), name));
    let host = Host::start(config).await.unwrap();
    let root = &pebble.root;
    let served = async || shown(root, port, NAME).await;
    until_true("the first certificate", async || {
        assert_eq!(present(&host), None);
        served().await.is_ok()
    })
    .await;
    shown(root, port, "other.example").await.expect_err("it is for one name");

    // Pages learn the name.
    let own = Protocol::P2p(host.peer_id());
    let told = format!("/dns4/{NAME}/tcp/{port}/wss").parse::<libp2p::Multiaddr>().unwrap();
    let told = told.with(own);
    until_true("the address", async || host.browser_addresses() == [told.clone()]).await;

    // The transport dials this machine and asks for the name.
    let way = format!("/ip4/127.0.0.1/tcp/{port}/tls/sni/{NAME}/ws").parse().unwrap();
    let mut browser = Browser::connect(root, way).await;
    let first = served().await.unwrap();
    let renewed = async {
        until_true("a renewal", async || {
            served().await.is_ok_and(|certificate| certificate != first)
        })
        .await;
    };
    tokio::select! {
        () = renewed => {}
        () = browser.goes_on(PATIENCE * 4) => {}
    }
    browser.is_answered().await;

    let kept = files(&directory.path().join("acme"));
    let kept: Vec<_> = kept.iter().map(|(path, mode)| (path.is_dir(), *mode)).collect();
    assert_eq!(kept.len(), 3, "a folder, an account and a certificate: {kept:?}");
    assert!(kept.iter().all(|(is_folder, mode)| *mode == if *is_folder { 0o700 } else { 0o600 }));
    assert_eq!(present(&host), None);
    host.stop().await;
}

pub(crate) async fn a_name_that_leads_elsewhere_is_reported_in_the_authoritys_words() {
    let directory = tempfile::tempdir().unwrap();
    let (dns, port, elsewhere) = (Dns::start().await, free_port(), free_port());
    let pebble = Pebble::start(directory.path(), &dns.address, elsewhere, 3600).await;
    let name = CertificateName::Domain(NAME.into());
    let config = gateway(directory.path(), port, acme(&pebble, directory.path(), name));
    let host = Host::start(config).await.unwrap();
    let text = trouble(&host).await;
    assert!(text.contains("could not validate gw.example"), "{text}");
    let words = format!("Failed to connect to 127.0.0.1:{elsewhere}");
    assert!(text.contains(&words) && text.contains("no certificate yet"), "{text}");
    // It does not retry immediately, and still serves nodes.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(trouble(&host).await, text);
    shown(&pebble.root, port, NAME).await.expect_err("there is no certificate");
    host.stop().await;
}

pub(crate) async fn a_name_that_the_authority_refuses_is_reported() {
    let directory = tempfile::tempdir().unwrap();
    let (dns, port) = (Dns::start().await, free_port());
    let pebble = Pebble::start(directory.path(), &dns.address, port, 3600).await;
    let name = CertificateName::Domain(REFUSED.into());
    let config = gateway(directory.path(), port, acme(&pebble, directory.path(), name));
    let host = Host::start(config).await.unwrap();
    let text = trouble(&host).await;
    assert!(text.contains("127.0.0.1:") && text.contains(REFUSED), "{text}");
    host.stop().await;
}

pub(crate) async fn a_damaged_account_is_replaced_by_a_new_one() {
    for damaged in ["{", "{}", r#"{"id":"https://a/1","key_pkcs8":"AAAA","directory":"https://a"}"#]
    {
        let directory = tempfile::tempdir().unwrap();
        let (dns, port) = (Dns::start().await, free_port());
        let pebble = Pebble::start(directory.path(), &dns.address, port, 3600).await;
        let name = CertificateName::Domain(NAME.into());
        let acme = acme(&pebble, directory.path(), name);
        let authority = pebble.directory.trim_start_matches("https://").replace([':', '/'], "_");
        let account = acme.folder.join(authority).join("account.json");
        std::fs::create_dir_all(account.parent().unwrap()).unwrap();
        std::fs::write(&account, damaged).unwrap();
        let host = Host::start(gateway(directory.path(), port, acme)).await.unwrap();
        until_true("a certificate", async || shown(&pebble.root, port, NAME).await.is_ok()).await;
        assert_ne!(std::fs::read_to_string(&account).unwrap(), damaged);
        assert_eq!(present(&host), None);
        host.stop().await;
    }
}
