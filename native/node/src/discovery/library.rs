//! Start of the discv5 library, and its restart after its own task has ended.

use super::record::key;
use super::{DiscoveryError, packets};
use discv5::{ConfigBuilder, Discv5, Enr, Event, ListenConfig};
use opp2p_core::discovery::{AddressKind, AddressPolicy};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::time::Instant;
use zeroize::Zeroizing;

/// Pause before the first restart of the library. Each further pause is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Longest pause before a restart.
const LONGEST_PAUSE: Duration = Duration::from_secs(5 * 60);
/// Running time after which the library counts as sound: the next pause is then the first one.
const SOUND: Duration = Duration::from_secs(10 * 60);

/// Everything that the library needs to start.
pub(super) struct Library {
    /// Stays open, so that no other process takes the port between two starts.
    pub(super) socket: Arc<UdpSocket>,
    pub(super) listen: IpAddr,
    pub(super) secret: Zeroizing<[u8; 32]>,
    pub(super) policy: AddressPolicy,
}

impl Library {
    /// Starts the library with our record and an empty table.
    pub(super) async fn start(
        &self,
        own: Enr,
    ) -> Result<(Discv5, mpsc::Receiver<Event>), DiscoveryError> {
        let library = |error: &dyn std::fmt::Display| DiscoveryError::Library(error.to_string());
        let socket = Some(Arc::clone(&self.socket));
        let listen = match self.listen {
            IpAddr::V4(_) => ListenConfig::FromSockets { ipv4: socket, ipv6: None },
            IpAddr::V6(_) => ListenConfig::FromSockets { ipv4: None, ipv6: socket },
        };
        let mut settings = ConfigBuilder::new(listen);
        // The core decides what our record contains.
        settings.disable_enr_update().table_filter(askable(&self.policy));
        packets::limit(&mut settings).map_err(|error| library(&error))?;
        if self.policy.is_global() {
            // This limit would exclude nodes that share one address, as on one machine.
            settings.ip_limit();
        }
        let key = key(&self.secret).map_err(|error| library(&error))?;
        let mut discv5 =
            Discv5::new(own, key, settings.build()).map_err(|error| library(&error))?;
        discv5.start().await.map_err(|error| library(&error))?;
        let events = discv5.event_stream().await.map_err(|error| library(&error))?;
        Ok((discv5, events))
    }
}

/// Schedule of the restarts.
pub(super) struct Restarts {
    /// Time of the last start.
    last: Instant,
    pause: Duration,
}

impl Restarts {
    /// Creates the schedule of a library that was first started at `now`.
    pub(super) const fn new(now: Instant) -> Self {
        Self { last: now, pause: FIRST_PAUSE }
    }

    /// Returns the time of the next start, after the library ended, or could not be started, at
    /// `now`.
    pub(super) fn next(&mut self, now: Instant) -> Instant {
        if now.saturating_duration_since(self.last) >= SOUND {
            self.pause = FIRST_PAUSE;
        }
        self.last = now + self.pause;
        self.pause = self.pause.saturating_mul(2).min(LONGEST_PAUSE);
        self.last
    }
}

/// Returns the filter for nodes that the library may query, by the kinds of address that the policy
/// allows: a stranger's record may name any address. The library takes a plain function pointer, so
/// there is one function for each policy.
fn askable(policy: &AddressPolicy) -> fn(&Enr) -> bool {
    let allows = |ip: [u8; 4]| policy.allows(IpAddr::from(ip));
    match (allows([8, 8, 8, 8]), allows([10, 0, 0, 1]), allows([127, 0, 0, 1])) {
        (true, true, true) => is_askable::<true, true, true>,
        (true, true, false) => is_askable::<true, true, false>,
        (true, false, true) => is_askable::<true, false, true>,
        (true, false, false) => is_askable::<true, false, false>,
        (false, true, true) => is_askable::<false, true, true>,
        (false, true, false) => is_askable::<false, true, false>,
        (false, false, true) => is_askable::<false, false, true>,
        (false, false, false) => is_askable::<false, false, false>,
    }
}

fn is_askable<const GLOBAL: bool, const PRIVATE: bool, const LOOPBACK: bool>(enr: &Enr) -> bool {
    let addresses = [enr.ip4().map(IpAddr::from), enr.ip6().map(IpAddr::from)];
    addresses.into_iter().flatten().all(|ip| match AddressKind::of(ip) {
        AddressKind::Global => GLOBAL,
        AddressKind::Private => PRIVATE,
        AddressKind::Loopback => LOOPBACK,
        AddressKind::Unspecified | AddressKind::Multicast | AddressKind::Reserved => false,
    })
}

/// Returns a channel of the same events, which ends when the sender is used or dropped.
#[cfg(test)]
pub(super) fn breakable(
    mut events: mpsc::Receiver<Event>,
) -> (mpsc::Sender<()>, mpsc::Receiver<Event>) {
    let (break_off, mut broken) = mpsc::channel(1);
    let (forward, forwarded) = mpsc::channel(1);
    tokio::spawn(async move {
        loop {
            let event = tokio::select! {
                _ = broken.recv() => return,
                event = events.recv() => event,
            };
            let Some(event) = event else { return };
            if forward.send(event).await.is_err() {
                return;
            }
        }
    });
    (break_off, forwarded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use enr::CombinedKey;

    #[test]
    fn pauses_grow_up_to_a_limit_and_are_short_again_after_a_long_run() {
        let mut now = Instant::now();
        let mut restarts = Restarts::new(now);
        let mut pauses = Vec::new();
        for _ in 0..12 {
            let at = restarts.next(now);
            pauses.push((at - now).as_secs());
            now = at;
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
        now += SOUND;
        assert_eq!(restarts.next(now) - now, FIRST_PAUSE);
    }

    #[test]
    fn nodes_at_addresses_unfit_for_this_node_are_not_asked() {
        let key = CombinedKey::generate_secp256k1();
        let at = |ip: [u8; 4]| Enr::builder().ip4(ip.into()).udp4(9).build(&key).expect("a record");
        let [global, private, loopback, nobody] =
            [[1, 2, 3, 4], [10, 1, 2, 3], [127, 0, 0, 1], [0, 0, 0, 0]].map(at);
        let asked = |listen: [u8; 4], named: Option<IpAddr>| {
            let is_askable = askable(&AddressPolicy::new(listen.into(), named));
            [&global, &private, &loopback, &nobody].map(is_askable)
        };
        assert_eq!(asked([0, 0, 0, 0], None), [true, false, false, false]);
        assert_eq!(asked([127, 0, 0, 1], None), [false, false, true, false]);
        assert_eq!(asked([0, 0, 0, 0], Some([10, 0, 0, 9].into())), [true, true, false, false]);
    }
}
