//! Certificates of an earlier run, and authorities that don't answer.

use crate::support::{NAME, gateway, present, trouble, until_true};
use opp2p_node::host::{AcmeConfig, CertificateName, Host, HostConfig, HostError, OwnName, WsTls};
use opp2p_node::http::HttpError;
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::path::Path;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;

/// The directory of an authority that does not exist: nothing listens on port 1.
const NO_AUTHORITY: &str = "https://127.0.0.1:1/dir";

/// Returns the configuration of a gateway with a certificate for [`NAME`] from this authority.
fn with(directory: &Path, authority: &str) -> HostConfig {
    let ca = directory.join("ca.pem");
    let certified = rcgen::generate_simple_self_signed(["ca.example".to_owned()]).unwrap();
    std::fs::write(&ca, certified.cert.pem()).unwrap();
    let acme = AcmeConfig {
        name: CertificateName::Domain(NAME.into()),
        directory: authority.into(),
        contact: None,
        ca: Some(ca),
        folder: directory.join("acme"),
    };
    gateway(directory, 0, acme)
}

/// Stores a certificate as an earlier run would, and returns it.
fn store(directory: &Path, name: &str, until_year: i32) -> CertificateDer<'static> {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(until_year, 1, 1);
    let certificate = params.self_signed(&key).unwrap();
    let folder = directory.join("acme/127.0.0.1_1_dir");
    std::fs::create_dir_all(&folder).unwrap();
    let pem = format!("{}{}", key.serialize_pem(), certificate.pem());
    std::fs::write(folder.join(format!("{NAME}.pem")), pem).unwrap();
    certificate.der().clone()
}

/// Dials the gateway as a browser that trusts this certificate. Returns the reason of the failure.
async fn dial(host: &Host, trusted: &CertificateDer<'static>) -> Result<(), String> {
    let port = host.addresses().iter().find_map(|address| {
        let is_secure = address.to_string().contains("/wss");
        is_secure.then(|| opp2p_node::host::tcp_port(address)).flatten()
    });
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let config = ClientConfig::builder_with_provider(default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(("127.0.0.1", port.unwrap())).await.unwrap();
    let name = ServerName::try_from(NAME).unwrap();
    let connected = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
    connected.map(drop).map_err(|error| error.to_string())
}

pub(crate) async fn a_certificate_of_an_earlier_run_is_served_and_its_name_announced() {
    let directory = tempfile::tempdir().unwrap();
    let held = store(directory.path(), NAME, 2090);
    let host = Host::start(with(directory.path(), NO_AUTHORITY)).await.unwrap();
    assert_eq!(dial(&host, &held).await, Ok(()));
    let named = || host.browser_addresses().iter().any(|way| way.to_string().contains(NAME));
    until_true("the name", async || named()).await;
    assert_eq!(present(&host), None, "the authority is not asked");
    host.stop().await;
}

pub(crate) async fn an_expired_certificate_stays_until_the_authority_answers() {
    let directory = tempfile::tempdir().unwrap();
    let held = store(directory.path(), NAME, 2021);
    let host = Host::start(with(directory.path(), NO_AUTHORITY)).await.unwrap();
    let text = trouble(&host).await;
    assert!(text.contains("127.0.0.1:1") && text.contains("has expired"), "{text}");
    // A browser gets the expired certificate.
    let why = dial(&host, &held).await.unwrap_err();
    assert!(why.contains("expired"), "{why}");
    host.stop().await;
}

pub(crate) async fn a_certificate_for_another_name_is_not_served() {
    let directory = tempfile::tempdir().unwrap();
    let held = store(directory.path(), "other.example", 2090);
    let host = Host::start(with(directory.path(), NO_AUTHORITY)).await.unwrap();
    let text = trouble(&host).await;
    assert!(text.contains("there is no certificate yet"), "{text}");
    let why = dial(&host, &held).await.unwrap_err();
    assert!(!why.contains("certificate not valid for name"), "{why}");
    host.stop().await;
}

pub(crate) async fn a_server_that_is_no_authority_is_reported() {
    let directory = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/dir", listener.local_addr().unwrap());
    let serving = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let asked = stream.read(&mut [0; 1024]).await.unwrap();
        assert!(asked > 0);
        let page = b"HTTP/1.1 404 Not Found\r\ncontent-length: 6\r\n\r\n<html>";
        stream.write_all(page).await.unwrap();
        stream
    });
    let host = Host::start(with(directory.path(), &url)).await.unwrap();
    let text = trouble(&host).await;
    assert!(text.contains("this is not ACME") && text.contains("127.0.0.1:"), "{text}");
    serving.await.unwrap();
    host.stop().await;
}

pub(crate) async fn unusable_settings_for_certificates_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let refused = async |change: &dyn Fn(&mut HostConfig)| {
        let mut config = with(directory.path(), NO_AUTHORITY);
        change(&mut config);
        Host::start(config).await.unwrap_err()
    };
    let both = refused(&|config| {
        let files = WsTls { cert: "cert.pem".into(), key: "key.pem".into() };
        config.ws.as_mut().unwrap().tls = Some(files);
    })
    .await;
    assert!(matches!(both, HostError::TwoCertificates));
    let url = refused(&|config| {
        config.ws.as_mut().unwrap().acme.as_mut().unwrap().directory = "ca.example".into();
    })
    .await;
    assert!(matches!(url, HostError::Acme(HttpError::Url)));
    let broker = refused(&|config| {
        let own = OwnName { broker: "/x".into(), domain: "a.example".into(), ip: None };
        config.ws.as_mut().unwrap().acme.as_mut().unwrap().name = CertificateName::Own(own);
    })
    .await;
    assert!(matches!(broker, HostError::Acme(HttpError::Url)));
    let ca = refused(&|config| {
        config.ws.as_mut().unwrap().acme.as_mut().unwrap().ca = Some("/no/such/file".into());
    })
    .await;
    let text = ca.to_string();
    assert!(text.contains("/no/such/file"), "{text}");
}
