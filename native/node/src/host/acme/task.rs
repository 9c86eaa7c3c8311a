//! The task that obtains and renews the certificate on the schedule of [`Plan`], and announces the
//! addresses with its name. It ends with the node.

use super::broker::Broker;
use super::client::{MAX_ANSWER, TIMEOUT, host_of};
use super::error::AcmeError;
use super::files::{Kept, Stored};
use super::order::{Authority, Way};
use super::plan::{Plan, Validity};
use super::{AcmeConfig, CertificateName, OwnName};
use crate::clock::WallClock;
use crate::discovery::Known;
use crate::host::advertised::Advertised;
use crate::host::certificate::Certificate;
use crate::host::commands::Command;
use crate::host::event::Status;
use crate::http::{HttpError, HttpSender, TlsFiles};
use enr::Enr;
use enr::k256::ecdsa::SigningKey;
use libp2p::identity::Keypair;
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, timeout};

/// Timeout of an attempt.
pub(super) const ATTEMPT_TIME: Duration = Duration::from_secs(4 * 60);
/// Maximum time for which an attempt waits for the node's public address.
const ADDRESS_TIME: Duration = Duration::from_secs(60);
/// Interval at which a waiting attempt checks for the node's address.
const ADDRESS_LOOK: Duration = Duration::from_secs(2);
/// Maximum interval at which a change of the node's address is noticed, except during attempts and
/// after failures.
const ANNOUNCE_LOOK: Duration = Duration::from_secs(30);

/// Configuration and handles of the task.
#[derive(Debug)]
pub(in super::super) struct Issuing {
    pub(in super::super) config: AcmeConfig,
    pub(in super::super) key: Keypair,
    pub(in super::super) peer_id: PeerId,
    pub(in super::super) certificate: Arc<Certificate>,
    /// Validity of the certificate of an earlier run.
    pub(in super::super) held: Option<Validity>,
    /// Public TCP ports of the node's listener and of the browsers' listener.
    pub(in super::super) ports: (u16, u16),
    pub(in super::super) clock: WallClock,
    pub(in super::super) known: Option<watch::Receiver<Known>>,
    pub(in super::super) commands: mpsc::WeakSender<Command>,
    /// Addresses for browsers, or `None` if the operator has set them.
    pub(in super::super) advertised: Option<Advertised>,
    /// Current problem for the trouble list.
    pub(in super::super) problem: watch::Sender<Option<String>>,
}

impl AcmeConfig {
    /// Checks the URLs and the file of root certificates, without connecting.
    ///
    /// # Errors
    /// If one of them is unusable.
    pub fn check(&self) -> Result<(), HttpError> {
        let http = self.sender()?;
        host_of(&self.directory)?;
        match &self.name {
            CertificateName::Domain(_) => Ok(()),
            CertificateName::Own(own) => Broker::new(http, &own.broker).map(drop),
        }
    }

    fn sender(&self) -> Result<HttpSender, HttpError> {
        let tls = self.ca.clone().map(|ca| TlsFiles { ca: Some(ca), ..TlsFiles::default() });
        HttpSender::new(tls, TIMEOUT, MAX_ANSWER)
    }
}

impl Issuing {
    /// Runs until the node stops.
    pub(in super::super) async fn run(mut self, mut node: watch::Receiver<Status>) {
        let end = async { while node.changed().await.is_ok() {} };
        tokio::select! {
            () = self.work() => {}
            () = end => {}
        }
    }

    async fn work(&mut self) {
        let mut plan = Plan::new(self.held);
        let mut announced = Vec::new();
        // Time before which there is no attempt, whatever the clock shows.
        let mut again = Instant::now();
        loop {
            if plan.has_certificate() {
                self.announce(&mut announced).await;
            }
            let pause = again.saturating_duration_since(Instant::now());
            let wait = plan.wait(self.now()).unwrap_or_default().max(pause);
            if !wait.is_zero() {
                sleep(wait.min(ANNOUNCE_LOOK)).await;
                continue;
            }
            match self.attempt().await {
                Ok((validity, kept)) => {
                    again = Instant::now() + plan.obtained(self.now(), validity);
                    tracing::info!("a new certificate for browsers: {}", plan.present(self.now()));
                    // A retry would not fix the disk, and authorities limit the number of attempts.
                    let problem = kept.err().map(|error| format!("it is in use, but {error}"));
                    self.problem.send_replace(problem);
                }
                Err(error) => {
                    let pause = plan.failed();
                    let problem = format!("{error}; {}", plan.present(self.now()));
                    tracing::warn!(again_s = pause.as_secs(), "no certificate: {problem}");
                    self.problem.send_replace(Some(problem));
                    again = Instant::now() + pause;
                }
            }
        }
    }

    fn now(&self) -> u64 {
        self.clock.now().as_secs()
    }

    /// Obtains a certificate, and puts it into use. The second value is the result of storing it.
    async fn attempt(&self) -> Result<(Validity, Result<(), AcmeError>), AcmeError> {
        let host = host_of(&self.config.directory)?;
        let late = |_| AcmeError::Timeout { host: host.clone(), after: ATTEMPT_TIME };
        let name = self.config.name.of(&self.peer_id);
        let files = Kept::new(&self.config.folder, &self.config.directory, &name);
        let obtained = timeout(ATTEMPT_TIME, self.obtain(&host, &name, &files)).await;
        let (key, chain) = obtained.map_err(late)??;
        let checked = files.check(&key, &chain);
        let (Stored { certificate, validity }, pem) =
            checked.map_err(|why| AcmeError::Unusable { host: host.clone(), why })?;
        self.certificate.renew(certificate);
        let written = spawn_blocking(move || files.keep_certificate(&pem)).await;
        let kept = match written {
            Ok(written) => written.map_err(AcmeError::from),
            Err(error) => Err(error.into()),
        };
        Ok((validity, kept))
    }

    async fn obtain(
        &self,
        host: &str,
        name: &str,
        files: &Kept,
    ) -> Result<(String, String), AcmeError> {
        let http = self.config.sender()?;
        let authority = Authority::new(&self.config, files, &http, host);
        match &self.config.name {
            CertificateName::Domain(_) => {
                authority.obtain(name, &Way::Tls(&self.certificate)).await
            }
            CertificateName::Own(own) => {
                let broker = Broker::new(http.clone(), &own.broker)?;
                let ip = self.known_address(own).await?;
                let address = Multiaddr::from(ip).with(Protocol::Tcp(self.ports.0));
                let way = Way::Dns { broker: &broker, key: &self.key, addresses: vec![address] };
                authority.obtain(name, &way).await
            }
        }
    }

    /// Returns the node's public address, and waits for it up to [`ADDRESS_TIME`].
    async fn known_address(&self, own: &OwnName) -> Result<IpAddr, AcmeError> {
        let begun = Instant::now();
        loop {
            if let Some(ip) = self.address(own) {
                return Ok(ip);
            }
            if begun.elapsed() > ADDRESS_TIME {
                return Err(AcmeError::NoAddress);
            }
            sleep(ADDRESS_LOOK).await;
        }
    }

    /// Returns the configured address, or the one in the node's discovery record, which its peers
    /// determine by vote.
    fn address(&self, own: &OwnName) -> Option<IpAddr> {
        let record = || {
            let known = self.known.as_ref()?.borrow();
            let record: Enr<SigningKey> = known.local.parse().ok()?;
            record.ip4().map(IpAddr::from).or_else(|| record.ip6().map(IpAddr::from))
        };
        own.ip.or_else(record)
    }

    /// Announces the addresses with the certificate's name to peers and pages, if they differ from
    /// `before`.
    async fn announce(&self, before: &mut Vec<Multiaddr>) {
        let Some(advertised) = &self.advertised else { return };
        let now: Vec<Multiaddr> = self.named_address().into_iter().collect();
        let Some(commands) = self.commands.upgrade().filter(|_| now != *before) else { return };
        for address in &now {
            tracing::info!(%address, "browsers can connect by this node's name");
        }
        advertised.replace(now.clone());
        let old = std::mem::replace(before, now.clone());
        // Fails only if the node has stopped.
        let _ = commands.send(Command::Announce { old, new: now }).await;
    }

    fn named_address(&self) -> Option<Multiaddr> {
        let tcp = Protocol::Tcp(self.ports.1);
        match &self.config.name {
            CertificateName::Domain(name) => {
                let dns = Protocol::Dns4(name.into());
                Some(Multiaddr::from(dns).with(tcp).with(Protocol::Wss("/".into())))
            }
            CertificateName::Own(own) => {
                let ip = self.address(own)?.to_canonical();
                let name = own.for_address(&self.peer_id, ip).into();
                let dns = if ip.is_ipv4() { Protocol::Dns4(name) } else { Protocol::Dns6(name) };
                let way = Multiaddr::from(dns).with(tcp);
                Some(way.with(Protocol::Tls).with(Protocol::Ws("/".into())))
            }
        }
    }
}
