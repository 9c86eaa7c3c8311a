//! The forks that change what goes over the wire, and when a chain activates them.

use std::fmt;
use std::str::FromStr;

use super::excerpt;

/// A network upgrade after Regolith, in the order of activation.
///
/// Regolith is not among them: no rule of the p2p layer asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fork {
    /// Adds withdrawals: payload v2.
    Canyon,
    /// Adds span batches; nothing on the wire of this layer.
    Delta,
    /// Adds blob gas and the parent beacon block root: payload v3.
    Ecotone,
    /// Changes fees; nothing on the wire of this layer.
    Fjord,
    /// Changes precompile limits; nothing on the wire of this layer.
    Granite,
    /// Puts fee parameters into the extra data.
    Holocene,
    /// Adds the withdrawals root and the requests hash: payload v4.
    Isthmus,
    /// Gives the blob gas of a header a meaning, so that it may be non-zero.
    Jovian,
}

impl Fork {
    /// Every fork, the earliest first.
    pub const ALL: [Self; 8] = [
        Self::Canyon,
        Self::Delta,
        Self::Ecotone,
        Self::Fjord,
        Self::Granite,
        Self::Holocene,
        Self::Isthmus,
        Self::Jovian,
    ];

    /// The name in lower case, as it is written in configuration and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Canyon => "canyon",
            Self::Delta => "delta",
            Self::Ecotone => "ecotone",
            Self::Fjord => "fjord",
            Self::Granite => "granite",
            Self::Holocene => "holocene",
            Self::Isthmus => "isthmus",
            Self::Jovian => "jovian",
        }
    }

    /// The field of a `rollup.json` that holds this fork's activation time.
    pub const fn field(self) -> &'static str {
        match self {
            Self::Canyon => "canyon_time",
            Self::Delta => "delta_time",
            Self::Ecotone => "ecotone_time",
            Self::Fjord => "fjord_time",
            Self::Granite => "granite_time",
            Self::Holocene => "holocene_time",
            Self::Isthmus => "isthmus_time",
            Self::Jovian => "jovian_time",
        }
    }
}

impl fmt::Display for Fork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The text, shortened, is not the name of a [`Fork`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown fork `{0}`; the forks are {names}", names = Fork::ALL.map(Fork::name).join(", "))]
pub struct UnknownFork(pub String);

impl FromStr for Fork {
    type Err = UnknownFork;

    fn from_str(text: &str) -> Result<Self, UnknownFork> {
        Self::ALL
            .into_iter()
            .find(|fork| fork.name().eq_ignore_ascii_case(text))
            .ok_or_else(|| UnknownFork(excerpt(text)))
    }
}

/// When a chain activates each [`Fork`]: a block timestamp in seconds since the Unix epoch, or never.
///
/// A fork is active in every block whose timestamp is at or after its activation. Any schedule can be held;
/// [`ChainConfig::check`](super::ChainConfig::check) refuses those that contradict themselves.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct ForkSchedule {
    /// Indexed by the fork.
    activations: [Option<u64>; Fork::ALL.len()],
}

impl ForkSchedule {
    /// `fork` and all earlier ones active from the first block on; the later ones never.
    pub const fn up_to(fork: Fork) -> Self {
        let mut activations = [None; Fork::ALL.len()];
        let mut next = 0;
        while next <= fork as usize {
            activations[next] = Some(0);
            next += 1;
        }
        Self { activations }
    }

    /// The forks in order, each with its activation; those after the last one given never activate.
    pub(super) const fn in_order(times: &[u64]) -> Self {
        let mut activations = [None; Fork::ALL.len()];
        let mut next = 0;
        while next < times.len() && next < activations.len() {
            activations[next] = Some(times[next]);
            next += 1;
        }
        Self { activations }
    }

    /// The same schedule, except that `fork` activates at `activation`, or never.
    #[must_use]
    pub const fn with(mut self, fork: Fork, activation: Option<u64>) -> Self {
        self.activations[fork as usize] = activation;
        self
    }

    /// The first timestamp at which `fork` is active; `None` if the chain does not plan it.
    pub const fn activation(&self, fork: Fork) -> Option<u64> {
        self.activations[fork as usize]
    }

    /// Whether `fork` is active in a block of this timestamp.
    pub const fn is_active(&self, fork: Fork, timestamp: u64) -> bool {
        matches!(self.activation(fork), Some(activation) if timestamp >= activation)
    }
}

impl fmt::Debug for ForkSchedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let planned = Fork::ALL.into_iter().filter_map(|fork| Some((fork, self.activation(fork)?)));
        f.debug_map().entries(planned).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forks_are_ordered_by_activation_and_index_the_schedule() {
        assert!(Fork::ALL.is_sorted());
        for (index, fork) in Fork::ALL.into_iter().enumerate() {
            assert_eq!(fork as usize, index);
            assert_eq!(fork.field(), format!("{fork}_time"));
        }
    }

    #[test]
    fn a_name_is_read_in_any_case() {
        for fork in Fork::ALL {
            assert_eq!(fork.name().parse(), Ok(fork));
            assert_eq!(fork.name().to_uppercase().parse(), Ok(fork));
            assert_eq!(format!("{fork:?}").parse(), Ok(fork));
        }
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_known_ones() {
        let error = "regolith".parse::<Fork>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "unknown fork `regolith`; the forks are canyon, delta, ecotone, fjord, granite, holocene, isthmus, jovian"
        );
        assert!("x".repeat(1 << 20).parse::<Fork>().unwrap_err().to_string().len() < 200);
        assert!("".parse::<Fork>().is_err());
    }

    #[test]
    fn up_to_activates_the_fork_and_all_before_it_from_zero() {
        for last in Fork::ALL {
            let schedule = ForkSchedule::up_to(last);
            for fork in Fork::ALL {
                assert_eq!(schedule.activation(fork), (fork <= last).then_some(0));
                assert_eq!(schedule.is_active(fork, 0), fork <= last);
                assert_eq!(schedule.is_active(fork, u64::MAX), fork <= last);
            }
        }
    }

    #[test]
    fn a_fork_is_active_from_its_very_second_on() {
        let schedule = ForkSchedule::up_to(Fork::Granite).with(Fork::Holocene, Some(1000));
        assert!(!schedule.is_active(Fork::Holocene, 999));
        assert!(schedule.is_active(Fork::Holocene, 1000));
        assert!(schedule.is_active(Fork::Holocene, u64::MAX));
        assert!(!schedule.is_active(Fork::Isthmus, u64::MAX));
        assert_eq!(schedule.with(Fork::Holocene, None), ForkSchedule::up_to(Fork::Granite));
    }

    #[test]
    fn in_order_gives_the_times_to_the_forks_one_after_the_other() {
        let schedule = ForkSchedule::in_order(&[0, 7]);
        assert_eq!(schedule, ForkSchedule::default().with(Fork::Canyon, Some(0)).with(Fork::Delta, Some(7)));
        assert_eq!(ForkSchedule::in_order(&[0; 8]), ForkSchedule::up_to(Fork::Jovian));
        assert_eq!(ForkSchedule::in_order(&[0; 9]), ForkSchedule::up_to(Fork::Jovian));
        assert_eq!(format!("{schedule:?}"), "{Canyon: 0, Delta: 7}");
    }
}
