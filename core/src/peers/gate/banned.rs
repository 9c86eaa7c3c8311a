//! The bans of peers and of IP addresses: setting, lifting and listing them.

use super::{BanEntry, Gate, GateChange};
use crate::peers::PeerId;
use core::net::IpAddr;

impl Gate {
    /// Bans a peer until `until` (Unix seconds), or until the end of its current ban if that is
    /// later. Returns `true` if the peer is now banned, and `false` if the table is full of bans
    /// that end later.
    pub fn ban_peer(&mut self, peer: PeerId, until: u64) -> bool {
        let longest = self.peer_bans.end_of(&peer).map_or(until, |end| end.max(until));
        self.set_peer_ban(peer, longest)
    }

    /// Bans an IP address until `until` (Unix seconds), or until the end of its current ban if that
    /// is later. Returns `true` if the address is now banned, and `false` if the table is full of
    /// bans that end later.
    pub fn ban_ip(&mut self, ip: IpAddr, until: u64) -> bool {
        let longest = self.ban_of_ip(ip).map_or(until, |end| end.max(until));
        self.set_ip_ban(ip, longest)
    }

    /// Bans a peer until exactly `until` (Unix seconds), even if its current ban ends later.
    /// Returns `true` if the peer is now banned, and `false` if the table is full of bans that end
    /// later.
    pub fn set_peer_ban(&mut self, peer: PeerId, until: u64) -> bool {
        self.set_ban(BanEntry::Peer(peer), until)
    }

    /// Bans an IP address until exactly `until` (Unix seconds), even if its current ban ends later.
    /// Returns `true` if the address is now banned, and `false` if the table is full of bans that
    /// end later.
    pub fn set_ip_ban(&mut self, ip: IpAddr, until: u64) -> bool {
        self.set_ban(BanEntry::Ip(ip.to_canonical()), until)
    }

    /// Adjusts to a wall-clock jump of `seconds`: shifts the ends of the bans that were set since
    /// the start, so that each keeps its duration.
    pub fn clock_jumped(&mut self, seconds: i64) {
        let moved: Vec<BanEntry> = self.recent_bans.iter().copied().collect();
        for who in moved {
            let end = match who {
                BanEntry::Peer(peer) => self.peer_bans.end_of(&peer),
                BanEntry::Ip(ip) => self.ip_bans.end_of(&ip),
            };
            if let Some(end) = end {
                self.set_ban(who, end.saturating_add_signed(seconds));
            }
        }
    }

    /// Lifts a peer's ban. Returns `true` if there was one.
    pub fn lift_peer_ban(&mut self, peer: &PeerId) -> bool {
        let was_banned = self.peer_bans.remove(peer).is_some();
        if was_banned {
            self.unbanned(BanEntry::Peer(*peer));
        }
        was_banned
    }

    /// Lifts an IP address's ban. Returns `true` if there was one.
    pub fn lift_ip_ban(&mut self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        let was_banned = self.ip_bans.remove(&ip).is_some();
        if was_banned {
            self.unbanned(BanEntry::Ip(ip));
        }
        was_banned
    }

    /// Returns the end of a peer's ban, in Unix seconds. It may be in the past: a ban is deleted at
    /// the first check after its end.
    pub fn ban_of(&self, peer: &PeerId) -> Option<u64> {
        self.peer_bans.end_of(peer)
    }

    /// Returns the end of an IP address's ban, in Unix seconds. It may be in the past.
    pub fn ban_of_ip(&self, ip: IpAddr) -> Option<u64> {
        self.ip_bans.end_of(&ip.to_canonical())
    }

    /// Returns the banned peers in ascending order, each with the end of its ban in Unix seconds,
    /// which may be in the past.
    pub fn peer_bans(&self) -> impl Iterator<Item = (PeerId, u64)> + '_ {
        self.peer_bans.iter()
    }

    /// Returns the banned IP addresses in ascending order, each with the end of its ban in Unix
    /// seconds, which may be in the past.
    pub fn ip_bans(&self) -> impl Iterator<Item = (IpAddr, u64)> + '_ {
        self.ip_bans.iter()
    }

    fn set_ban(&mut self, who: BanEntry, until: u64) -> bool {
        let before = match who {
            BanEntry::Peer(peer) => self.peer_bans.end_of(&peer),
            BanEntry::Ip(ip) => self.ip_bans.end_of(&ip),
        };
        if before == Some(until) {
            return true;
        }
        let gone = self.put(who, until);
        // A ban for which there is no room was never stored.
        if gone == Some(who) {
            return false;
        }
        if let Some(gone) = gone {
            self.unbanned(gone);
        }
        self.recent_bans.insert(who);
        self.changes.push_back(GateChange::Ban { who, until });
        true
    }

    /// Sets a ban. Returns the ban that was dropped to make room, if any.
    pub(super) fn put(&mut self, who: BanEntry, until: u64) -> Option<BanEntry> {
        match who {
            BanEntry::Peer(peer) => self.peer_bans.set(peer, until).map(BanEntry::Peer),
            BanEntry::Ip(ip) => self.ip_bans.set(ip.to_canonical(), until).map(BanEntry::Ip),
        }
    }

    fn unbanned(&mut self, who: BanEntry) {
        self.recent_bans.remove(&who);
        match who {
            BanEntry::Peer(_) => self.counts.peer_unbans += 1,
            BanEntry::Ip(_) => self.counts.ip_unbans += 1,
        }
        self.changes.push_back(GateChange::Unban(who));
    }
}
