//! The forks that can change the wire format, and their activation times.
//!
//! All chains share the forks from Canyon to Jovian. Two lines follow: the OP Stack's (Karst,
//! Lagoon) and Base's own (Azul, Beryl, Cobalt, Denim).

use std::fmt;
use std::str::FromStr;

use super::excerpt;

/// A network upgrade after Regolith.
///
/// Regolith is not listed because no rule of the p2p layer depends on it. The variants up to
/// [`Lagoon`](Self::Lagoon) are in the order of activation. The others are Base's and build on
/// [`Jovian`](Self::Jovian).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fork {
    /// Adds withdrawals: payload v2.
    Canyon,
    /// Adds span batches. Changes nothing on the wire of this layer.
    Delta,
    /// Adds blob gas and the parent beacon block root: payload v3.
    Ecotone,
    /// Changes fees. Changes nothing on the wire of this layer.
    Fjord,
    /// Changes precompile limits. Changes nothing on the wire of this layer.
    Granite,
    /// Moves fee parameters into the extra data.
    Holocene,
    /// Adds the withdrawals root and the requests hash: payload v4.
    Isthmus,
    /// Gives the header's blob gas a meaning, so it may be non-zero.
    Jovian,
    /// Adopts the rules of Ethereum's Osaka. Changes nothing on the wire of this layer.
    Karst,
    /// Adds interoperability and the post-execution transaction. Changes nothing on the wire of
    /// this layer.
    Lagoon,
    /// Base only: adopts the rules of Ethereum's Osaka. Changes nothing on the wire of this layer.
    Azul,
    /// Base only: changes fees. Changes nothing on the wire of this layer.
    Beryl,
    /// Base only: adds a transaction type (0x79). Changes nothing on the wire of this layer.
    Cobalt,
    /// Base only: makes a block every 200 ms. Each block carries the milliseconds of its time in
    /// its second transaction (see [`BaseTime`](crate::payload::BaseTime)).
    Denim,
}

impl Fork {
    /// All forks: the OP Stack's line in the order of activation, then Base's.
    pub const ALL: [Self; 14] = [
        Self::Canyon,
        Self::Delta,
        Self::Ecotone,
        Self::Fjord,
        Self::Granite,
        Self::Holocene,
        Self::Isthmus,
        Self::Jovian,
        Self::Karst,
        Self::Lagoon,
        Self::Azul,
        Self::Beryl,
        Self::Cobalt,
        Self::Denim,
    ];

    /// Number of forks at the start of [`ALL`](Self::ALL) that form the OP Stack's line.
    const MAIN_LINE: usize = 10;

    /// Returns the name in lower case, as used in configuration and on the command line.
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
            Self::Karst => "karst",
            Self::Lagoon => "lagoon",
            Self::Azul => "azul",
            Self::Beryl => "beryl",
            Self::Cobalt => "cobalt",
            Self::Denim => "denim",
        }
    }

    /// Returns the field of a `rollup.json` that contains this fork's activation time.
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
            Self::Karst => "karst_time",
            Self::Lagoon => "lagoon_time",
            Self::Azul => "azul_time",
            Self::Beryl => "beryl_time",
            Self::Cobalt => "cobalt_time",
            Self::Denim => "denim_time",
        }
    }

    /// Returns the fork that must be active before this one, or `None` for the first fork.
    pub const fn builds_on(self) -> Option<Self> {
        match self {
            Self::Canyon => None,
            Self::Azul => Some(Self::Jovian),
            other => Some(Self::ALL[other as usize - 1]),
        }
    }

    /// Returns `true` if `earlier` is this fork or a fork that it builds on. `earlier` is then
    /// active wherever this fork is.
    pub fn includes(self, earlier: Self) -> bool {
        std::iter::successors(Some(self), |fork| fork.builds_on()).any(|fork| fork == earlier)
    }
}

impl fmt::Display for Fork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Error: the text is not the name of a [`Fork`]. Contains the text, shortened.
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

/// The activation time of each [`Fork`]: a block timestamp in seconds since the Unix epoch, or
/// never.
///
/// A fork is active in every block with a timestamp at or after its activation. The type can
/// represent any schedule; [`ChainConfig::check`](super::ChainConfig::check) rejects contradictory
/// ones.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct ForkSchedule {
    /// Indexed by fork.
    activations: [Option<u64>; Fork::ALL.len()],
}

impl ForkSchedule {
    /// Returns a schedule in which `fork` and all forks that it builds on are active from the first
    /// block, and the others never activate.
    pub const fn up_to(fork: Fork) -> Self {
        let mut activations = [None; Fork::ALL.len()];
        let mut next = Some(fork);
        while let Some(fork) = next {
            activations[fork as usize] = Some(0);
            next = fork.builds_on();
        }
        Self { activations }
    }

    /// Returns a schedule that assigns these activations to the forks of the OP Stack's line, in
    /// order. Forks after the last given one never activate.
    pub(super) const fn in_order(times: &[u64]) -> Self {
        let mut activations = [None; Fork::ALL.len()];
        let mut next = 0;
        while next < times.len() && next < Fork::MAIN_LINE {
            activations[next] = Some(times[next]);
            next += 1;
        }
        Self { activations }
    }

    /// Returns the same schedule, except that `fork` activates at `activation`, or never.
    #[must_use]
    pub const fn with(mut self, fork: Fork, activation: Option<u64>) -> Self {
        self.activations[fork as usize] = activation;
        self
    }

    /// Returns the first timestamp at which `fork` is active, or `None` if the chain has not
    /// scheduled it.
    pub const fn activation(&self, fork: Fork) -> Option<u64> {
        self.activations[fork as usize]
    }

    /// Returns `true` if `fork` is active in a block with this timestamp.
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
    fn each_fork_indexes_the_schedule_and_names_its_field() {
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
    fn an_unknown_fork_name_lists_the_known_ones() {
        let error = "regolith".parse::<Fork>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "unknown fork `regolith`; the forks are canyon, delta, ecotone, fjord, granite, \
             holocene, isthmus, jovian, karst, lagoon, azul, beryl, cobalt, denim"
        );
        assert!("x".repeat(1 << 20).parse::<Fork>().unwrap_err().to_string().len() < 200);
        assert!("".parse::<Fork>().is_err());
    }

    #[test]
    fn up_to_activates_the_fork_and_all_before_it_from_zero() {
        for last in Fork::ALL {
            let schedule = ForkSchedule::up_to(last);
            for fork in Fork::ALL {
                assert_eq!(schedule.activation(fork), last.includes(fork).then_some(0));
                assert_eq!(schedule.is_active(fork, 0), last.includes(fork));
                assert_eq!(schedule.is_active(fork, u64::MAX), last.includes(fork));
            }
        }
    }

    #[test]
    fn base_diverges_from_the_op_stack_after_jovian() {
        assert!(Fork::Denim.includes(Fork::Azul) && Fork::Denim.includes(Fork::Canyon));
        assert!(!Fork::Denim.includes(Fork::Karst) && !Fork::Lagoon.includes(Fork::Azul));
        assert_eq!(Fork::Azul.builds_on(), Some(Fork::Jovian));
        assert_eq!(Fork::Canyon.builds_on(), None);
    }

    #[test]
    fn a_fork_is_active_from_its_activation_second() {
        let schedule = ForkSchedule::up_to(Fork::Granite).with(Fork::Holocene, Some(1000));
        assert!(!schedule.is_active(Fork::Holocene, 999));
        assert!(schedule.is_active(Fork::Holocene, 1000));
        assert!(schedule.is_active(Fork::Holocene, u64::MAX));
        assert!(!schedule.is_active(Fork::Isthmus, u64::MAX));
        assert_eq!(schedule.with(Fork::Holocene, None), ForkSchedule::up_to(Fork::Granite));
    }

    #[test]
    fn in_order_assigns_the_times_to_consecutive_forks() {
        let schedule = ForkSchedule::in_order(&[0, 7]);
        assert_eq!(
            schedule,
            ForkSchedule::default().with(Fork::Canyon, Some(0)).with(Fork::Delta, Some(7))
        );
        assert_eq!(ForkSchedule::in_order(&[0; 8]), ForkSchedule::up_to(Fork::Jovian));
        assert_eq!(ForkSchedule::in_order(&[0; 10]), ForkSchedule::up_to(Fork::Lagoon));
        assert_eq!(ForkSchedule::in_order(&[0; 11]), ForkSchedule::up_to(Fork::Lagoon));
        assert_eq!(format!("{schedule:?}"), "{Canyon: 0, Delta: 7}");
    }
}
