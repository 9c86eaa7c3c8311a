//! Reports to the core, and the look at events that they come from.

use super::super::memory::{Disk, Place};
use super::Driver;
use libp2p::swarm::SwarmEvent;
use opp2p_core::node::Input;
use std::time::Instant;

impl Driver {
    /// Passes on to the core what has changed around it.
    pub(super) fn report(&mut self) {
        for report in self.reporter.look() {
            self.feed(Input::Report(report));
        }
    }

    /// Passes on to the core the state of the disks.
    pub(super) fn report_disks(&mut self) {
        let is_apart = matches!(self.memory.place, Place::Apart(_));
        let [blocks, peers] = [Disk::Blocks, Disk::Peers].map(|disk| self.disk_errors.of(disk));
        for report in self.reporter.disks(blocks, peers, is_apart) {
            self.feed(Input::Report(report));
        }
    }

    /// Takes note of a failed connection whose other side has, or may have, our own id.
    pub(super) fn watch_for_twins<E>(&mut self, event: &SwarmEvent<E>) {
        self.reporter.twins.watch(Instant::now(), event);
    }
}
