//! The core, shared by the driver, the gatekeeper and readers on other threads, and the clock by
//! which they call it.

use crate::Gatekeeper;
use opp2p_core::mesh::Frame;
use opp2p_core::node::{Input, Node, Output};
use opp2p_core::peers::PeerId;
use opp2p_core::time::{Instant, Now};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The clocks of a shell.
pub trait Clock: Send + Sync {
    /// Returns the current time of both clocks.
    fn now(&self) -> Now;
}

impl<C: Clock> Clock for Arc<C> {
    fn now(&self) -> Now {
        (**self).now()
    }
}

/// The core, shared by all clones: the driver's, the gatekeeper's, and those of readers.
///
/// All of them wait for each other here, so each must hold the lock briefly. The driver must not
/// hold it while it calls the swarm, which may call the gatekeeper.
#[derive(Clone, Debug)]
pub struct Core<C> {
    node: Arc<Mutex<Node>>,
    /// Clock by which the core is called.
    pub clock: C,
}

impl<C: Clock> Core<C> {
    /// Creates the shared form of a node.
    pub fn new(node: Node, clock: C) -> Self {
        Self { node: Arc::new(Mutex::new(node)), clock }
    }

    /// Locks the core. If a task panicked while it held the lock, the core is returned as it was
    /// then; [`Self::poll`] ends the driver in that case.
    pub fn lock(&self) -> MutexGuard<'_, Node> {
        self.node.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `look` on the core. If `look` panics, the panic goes on only after the lock is
    /// released: a reader changes nothing, so the driver is not affected.
    pub fn look<R>(&self, look: impl FnOnce(&Node) -> R) -> R {
        let result = {
            let node = self.lock();
            catch_unwind(AssertUnwindSafe(|| look(&node)))
        };
        result.unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// Passes an input to the core, at the current time.
    pub fn feed(&self, input: Input) {
        let now = self.clock.now();
        self.lock().handle(now, input);
    }

    /// Returns the core's next output. Unlike a guard in the head of a loop, this does not hold the
    /// lock while the output is carried out.
    ///
    /// # Panics
    /// If another task panicked within the core, such as the gatekeeper: the core may be half
    /// changed, and a driver that goes on with it could do anything.
    pub fn poll(&self) -> Option<Output> {
        self.node.lock().expect("no other task has panicked within the core").poll()
    }

    /// Returns the next frame for a peer's gossip stream, if one fits into `window`, in bytes. For
    /// [`Wire::write`](crate::Wire::write).
    pub fn transmit(&self, peer: &PeerId, window: usize) -> Option<Frame> {
        let now = self.clock.now();
        self.lock().transmit(now, peer, window)
    }

    /// Returns the time at which the driver must wake the core with [`Input::Wake`] if no other
    /// input comes earlier.
    pub fn next_wakeup(&self) -> Option<Instant> {
        self.lock().next_wakeup()
    }

    /// Returns a gatekeeper that asks the core.
    pub fn gatekeeper(&self) -> Gatekeeper
    where
        C: Clone + 'static,
    {
        let core = self.clone();
        Arc::new(move |knock| {
            let now = core.clock.now();
            core.lock().knock(now, knock)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use opp2p_core::chain::{ChainConfig, Fork};
    use opp2p_core::node::NodeConfig;

    /// A clock that stands still.
    #[derive(Clone, Copy, Debug)]
    struct Stopped;

    impl Clock for Stopped {
        fn now(&self) -> Now {
            Now::default()
        }
    }

    fn core() -> Core<Stopped> {
        let (genesis, signer) = ([9; 32].into(), [1; 20].into());
        let chain = ChainConfig::development(901, genesis, 1_600_000_000, 2, Fork::Canyon, signer);
        let node = Node::new(Now::default(), NodeConfig::new(chain)).expect("a node");
        let core = Core::new(node, Stopped);
        while core.poll().is_some() {}
        core
    }

    #[test]
    fn a_panicking_reader_harms_neither_the_driver_nor_other_readers() {
        let core = core();
        let reader = core.clone();
        let read = move || reader.look(|_| -> () { panic!("as the test wants it") });
        assert!(std::thread::spawn(read).join().is_err());
        assert!(core.look(|node| node.view().head().is_none()));
        assert!(core.poll().is_none(), "the driver goes on");
    }

    #[test]
    fn a_panic_of_another_task_in_the_core_ends_only_the_driver() {
        let core = core();
        let gatekeeper = core.clone();
        let panicked = std::thread::spawn(move || {
            let _node = gatekeeper.lock();
            panic!("as the test wants it");
        });
        assert!(panicked.join().is_err());
        assert!(core.lock().view().head().is_none(), "readers still read");
        assert!(catch_unwind(AssertUnwindSafe(|| core.poll())).is_err());
    }
}
