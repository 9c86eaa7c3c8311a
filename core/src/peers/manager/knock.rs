//! Decisions on connections.

use super::{Knock, PeerManager, PeerStep, Secured};
use crate::peers::{ConnectionId, Denied, Door, PeerId, PeerStanding};
use crate::time::Now;

impl PeerManager {
    /// Decides whether a connection may proceed, for dialled and accepted connections alike.
    ///
    /// # Errors
    /// The reason why it may not.
    pub fn knock(&mut self, now: Now, knock: &Knock) -> Result<(), Denied> {
        match *knock {
            Knock::DialPeer(peer) => self.gate.dial_peer(now, &peer, self.standing(now, &peer))?,
            Knock::DialAddress(ip) => self.gate.dial_address(now, None, Some(ip))?,
            Knock::Accept { id, door, ip } => {
                self.gate.accept(now, ip)?;
                self.limits.accept(id, door, ip)?;
            }
            Knock::Begin(door) => self.limits.begin(door)?,
            Knock::Secured { id, door, peer, ip, is_inbound } => {
                let standing = self.standing(now, &peer);
                if let Err(denied) = self.gate.secured(now, &peer, ip, is_inbound, standing) {
                    self.limits.ended(id);
                    return Err(denied);
                }
                let is_browser_connection = is_inbound && door == Door::Browser;
                let is_browser = self.came_as_browser(&peer).unwrap_or(is_browser_connection);
                if is_browser_connection && self.has_browser_connections_only(&peer) {
                    self.replace(&peer);
                }
                self.limits.established(id, door, peer, ip, is_inbound, standing.is_exempt)?;
                self.secured.insert(
                    id,
                    Secured { peer, ip, is_inbound, is_browser_connection, is_browser },
                );
                self.sort(now, &peer);
            }
            Knock::Ended(id) => {
                self.limits.ended(id);
                if let Some(Secured { peer, .. }) = self.secured.remove(&id) {
                    self.sort(now, &peer);
                }
            }
        }
        Ok(())
    }

    fn standing(&self, now: Now, peer: &PeerId) -> PeerStanding {
        PeerStanding { score: self.score(now, peer), is_exempt: self.is_protected(peer) }
    }

    /// Closes all connections of a browser, whose places are free from now on.
    fn replace(&mut self, peer: &PeerId) {
        let older: Vec<ConnectionId> = self
            .secured
            .iter()
            .filter(|(_, secured)| secured.peer == *peer)
            .map(|(id, _)| *id)
            .collect();
        for id in older {
            self.limits.ended(id);
            self.secured.remove(&id);
            self.steps.push_back(PeerStep::Close(id));
        }
    }
}
