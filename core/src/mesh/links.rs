//! Members of the mesh and of the fanout of each topic.
//!
//! Nodes and browsers are separate sets under the same rules: 500 browsers in the mesh must not
//! make a node appear well connected. A static peer is among the nodes.
//!
//! # Bounds
//! At most [`MAX_TOPICS`](super::MAX_TOPICS) topics. The mesh of nodes has fewer than
//! [`MeshParams::high`] peers, or twice as many with outbound and static ones; the mesh of browsers
//! has as many as are connected; the fanout has [`MeshParams::d`].
//!
//! [`MeshParams::high`]: crate::gossip::MeshParams::high
//! [`MeshParams::d`]: crate::gossip::MeshParams::d

use super::Class;
use super::backoff::Backoffs;
use crate::peers::PeerId;
use crate::sorted::SortedSet;
use crate::time::Instant;
use std::sync::Arc;

#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) name: Arc<str>,
    pub(super) is_joined: bool,
    pub(super) nodes: SortedSet<PeerId>,
    pub(super) browsers: SortedSet<PeerId>,
    pub(super) fanout: SortedSet<PeerId>,
    /// Time of the last message of our own on a topic that we have not joined.
    pub(super) fanout_used: Option<Instant>,
    pub(super) backoffs: Backoffs,
}

impl Link {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            is_joined: false,
            nodes: SortedSet::new(),
            browsers: SortedSet::new(),
            fanout: SortedSet::new(),
            fanout_used: None,
            backoffs: Backoffs::default(),
        }
    }

    pub(super) fn set_of(&mut self, class: Class) -> &mut SortedSet<PeerId> {
        if class.is_browser() { &mut self.browsers } else { &mut self.nodes }
    }

    pub(super) fn has(&self, peer: &PeerId) -> bool {
        self.nodes.contains(peer) || self.browsers.contains(peer)
    }

    /// Returns all mesh peers, nodes first.
    pub(super) fn mesh(&self) -> impl Iterator<Item = &PeerId> {
        self.nodes.iter().chain(self.browsers.iter())
    }
}
