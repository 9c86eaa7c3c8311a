//! Scenarios: events that a developer wants to see, and that a healthy network rarely has.

use opp2p_core::chain::Fork;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Time between two blocks during [`Scenario::Fast`].
pub(super) const FAST: Duration = Duration::from_millis(200);
/// Number of blocks before a scenario that names none.
const FIRST: u64 = 5;

/// An event that the devnet makes happen, by real messages of its nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// The sequencer signs a longer branch from two blocks below its head.
    Reorg,
    /// The sequencer signs a second block of the same height.
    Equivocation,
    /// The sequencer goes back many blocks and signs those heights again.
    Rewind,
    /// The last follower loses its connections for some seconds.
    Partition,
    /// A peer with its own key sends invalid blocks and answers requests with false ones.
    LyingPeer,
    /// The sequencer makes some blocks every 200 ms.
    Fast,
}

impl Scenario {
    /// All scenarios, in the order in which they are listed.
    pub const ALL: [Self; 6] = [
        Self::Reorg,
        Self::Equivocation,
        Self::Rewind,
        Self::Partition,
        Self::LyingPeer,
        Self::Fast,
    ];

    /// Returns the name for flags and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reorg => "reorg",
            Self::Equivocation => "equivocation",
            Self::Rewind => "rewind",
            Self::Partition => "partition",
            Self::LyingPeer => "lying-peer",
            Self::Fast => "200ms",
        }
    }

    /// Returns the key that begins it in the live view.
    pub const fn key(self) -> char {
        match self {
            Self::Reorg => 'r',
            Self::Equivocation => 'e',
            Self::Rewind => 'w',
            Self::Partition => 'p',
            Self::LyingPeer => 'l',
            Self::Fast => '2',
        }
    }

    /// Returns the scenario that this key begins.
    pub fn of_key(key: char) -> Option<Self> {
        Self::ALL.into_iter().find(|scenario| scenario.key() == key)
    }

    /// Returns what a devnet with these settings, with or without execution clients and an outage
    /// of the last follower, lacks for the scenario; `None` if it can be played. The text is a
    /// clause that also says what to do.
    pub fn obstacle(
        self,
        followers: usize,
        fork: Fork,
        block_time: Duration,
        has_engines: bool,
        has_outage: bool,
    ) -> Option<String> {
        match self {
            Self::Reorg | Self::Equivocation | Self::Rewind | Self::Fast if has_engines => Some(
                "execution clients build each block once, in its time; leave out --engines".into(),
            ),
            Self::Partition if followers < 2 => {
                Some("one follower must keep its connections; use --followers 2 or more".into())
            }
            Self::Partition if has_outage => {
                Some("--kill-follower-for needs the last follower; leave out that flag".into())
            }
            Self::Fast if fork == Fork::Denim => {
                Some("with --fork denim every block comes after 0.2 s; use an earlier fork".into())
            }
            Self::Fast if block_time <= FAST => Some(format!(
                "blocks come every {} s already; use a longer --block-time",
                block_time.as_secs_f64()
            )),
            _ => None,
        }
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A scenario and its time, as `--scenario` gives them: `NAME` or `NAME@BLOCK`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cue {
    /// The scenario.
    pub scenario: Scenario,
    /// Number of blocks that the run makes before it; `None` for the default.
    pub block: Option<u64>,
}

impl Cue {
    /// Returns the number of blocks before the scenario, in a run with this many blocks.
    pub fn after(self, blocks: Option<u64>) -> u64 {
        self.block.unwrap_or_else(|| blocks.map_or(FIRST, |blocks| blocks.min(FIRST)))
    }
}

impl FromStr for Cue {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, block) = match text.split_once('@') {
            Some((name, block)) => (name, Some(block)),
            None => (text, None),
        };
        let scenario = Scenario::ALL.into_iter().find(|scenario| scenario.name() == name);
        let scenario = scenario.ok_or_else(|| {
            let [all @ .., last] = Scenario::ALL.map(Scenario::name);
            format!("use {} or {last}, such as reorg@20", all.join(", "))
        })?;
        let number = |block: &str| block.parse::<u64>().ok().filter(|block| *block > 0);
        let block = match block.map(number) {
            Some(None) => return Err("the number of blocks after @ must be 1 or more".into()),
            Some(block) => block,
            None => None,
        };
        Ok(Self { scenario, block })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_cue_is_a_name_with_or_without_a_block() {
        for scenario in Scenario::ALL {
            assert_eq!(scenario.name().parse::<Cue>(), Ok(Cue { scenario, block: None }));
            let later = format!("{scenario}@20").parse::<Cue>();
            assert_eq!(later, Ok(Cue { scenario, block: Some(20) }));
        }
        for wrong in ["", "Reorg", "storm", "@5", "reorg 5"] {
            let error = wrong.parse::<Cue>().unwrap_err();
            assert!(error.contains("lying-peer or 200ms"), "{wrong}: {error}");
        }
        for wrong in ["reorg@", "reorg@0", "reorg@-1", "reorg@soon", "reorg@1@2"] {
            assert!(wrong.parse::<Cue>().unwrap_err().contains("1 or more"), "{wrong}");
        }
    }

    #[test]
    fn a_cue_without_a_block_fits_into_a_short_run() {
        let cue: Cue = "rewind".parse().unwrap();
        assert_eq!([None, Some(3), Some(50)].map(|blocks| cue.after(blocks)), [5, 3, 5]);
        assert_eq!("rewind@9".parse::<Cue>().unwrap().after(Some(50)), 9);
    }

    #[test]
    fn each_key_begins_one_scenario() {
        let keys: BTreeSet<char> = Scenario::ALL.map(Scenario::key).into();
        assert_eq!(keys.len(), Scenario::ALL.len());
        assert!(!keys.contains(&'q') && keys.iter().all(|key| !key.is_ascii_uppercase()));
        for scenario in Scenario::ALL {
            assert_eq!(Scenario::of_key(scenario.key()), Some(scenario));
        }
        assert_eq!(Scenario::of_key('x'), None);
    }

    #[test]
    fn an_obstacle_names_the_remedy() {
        let second = Duration::from_secs(1);
        for scenario in Scenario::ALL {
            let obstacle = scenario.obstacle(2, Fork::Jovian, second, false, false);
            assert_eq!(obstacle, None, "{scenario}");
        }
        let alone = Scenario::Partition.obstacle(1, Fork::Jovian, second, true, false);
        assert!(alone.is_some_and(|text| text.contains("--followers 2")));
        let killed = Scenario::Partition.obstacle(2, Fork::Jovian, second, false, true);
        assert!(killed.is_some_and(|text| text.contains("--kill-follower-for")));
        assert_eq!(Scenario::Reorg.obstacle(2, Fork::Jovian, second, false, true), None);
        let denim = Scenario::Fast.obstacle(2, Fork::Denim, FAST, false, false);
        assert!(denim.is_some_and(|text| text.contains("earlier fork")));
        let fast = Scenario::Fast.obstacle(2, Fork::Jovian, FAST, false, false);
        assert!(fast.is_some_and(|text| text.contains("--block-time")));
        let built = Scenario::Reorg.obstacle(2, Fork::Jovian, second, true, false);
        assert!(built.is_some_and(|text| text.contains("leave out --engines")));
        assert_eq!(Scenario::LyingPeer.obstacle(2, Fork::Jovian, second, true, false), None);
    }
}
