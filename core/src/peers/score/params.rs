//! The numbers of scoring (`op-node/p2p/peer_params.go`, `app_params.go`). The module above says which are ours.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Slot of a chain that states no block time, in seconds.
const DEFAULT_BLOCK_TIME: u64 = 2;
/// Slots in an epoch.
const SLOTS_PER_EPOCH: u32 = 6;
/// What is left of a counter when its decay time is over, and the value below which it is 0.
const DECAY_TO_ZERO: f64 = 0.01;

/// How peers are scored (`--p2p.scoring`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scoring {
    /// Not at all: everybody scores 0.
    None,
    /// With the numbers of [`ScoreParams::light`] and [`ApplicationParams::light`].
    #[default]
    Light,
}

impl Scoring {
    /// All levels.
    pub const ALL: [Self; 2] = [Self::None, Self::Light];

    /// Its name in flags.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Light => "light",
        }
    }

    /// The numbers of gossip at this level, if it has any.
    pub fn params(self, block_time_seconds: u64) -> Option<ScoreParams> {
        match self {
            Self::None => None,
            Self::Light => Some(ScoreParams::light(block_time_seconds)),
        }
    }

    /// The numbers of the application score at this level, if it has any.
    pub fn application_params(self, block_time_seconds: u64) -> Option<ApplicationParams> {
        match self {
            Self::None => None,
            Self::Light => Some(ApplicationParams::light(block_time_seconds)),
        }
    }
}

impl fmt::Display for Scoring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The text is not the name of a [`Scoring`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown p2p scoring level: {0}")]
pub struct UnknownScoring(pub String);

impl FromStr for Scoring {
    type Err = UnknownScoring;

    fn from_str(text: &str) -> Result<Self, UnknownScoring> {
        let found = Self::ALL.into_iter().find(|level| level.name() == text);
        found.ok_or_else(|| UnknownScoring(text.to_owned()))
    }
}

/// Totals at which gossip treats a peer differently. "Below" is strict.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thresholds {
    /// Below it, no message ids are offered to a peer nor taken from it.
    pub gossip: f64,
    /// Below it, our own messages are not sent to a peer outside the mesh.
    pub publish: f64,
    /// Below it, all that a peer says is ignored, but for its subscriptions.
    pub graylist: f64,
    /// From it on, the peers that a pruning peer recommends are taken.
    pub accept_px: f64,
    /// Median of the mesh below which better peers are grafted.
    pub opportunistic_graft: f64,
}

impl Thresholds {
    /// The reference's, at every level (`NewPeerScoreThresholds`).
    pub const REFERENCE: Self =
        Self { gossip: -10.0, publish: -40.0, graylist: -40.0, accept_px: 20.0, opportunistic_graft: 0.05 };
}

impl Default for Thresholds {
    fn default() -> Self {
        Self::REFERENCE
    }
}

/// The factor that leaves a hundredth of a counter after `slots` decays (`ScoreDecay`). With 0 slots nothing is left.
pub fn decay(slots: u32) -> f64 {
    DECAY_TO_ZERO.powf(1.0 / f64::from(slots))
}

/// The decay over so many epochs.
fn decay_epochs(epochs: u32) -> f64 {
    decay(epochs * SLOTS_PER_EPOCH)
}

/// A slot's seconds. Longer ones than 136 years are cut, so that nothing overflows.
fn slot_seconds(block_time_seconds: u64) -> u32 {
    let seconds = if block_time_seconds == 0 { DEFAULT_BLOCK_TIME } else { block_time_seconds };
    u32::try_from(seconds).unwrap_or(u32::MAX)
}

/// `epochs` as time.
fn epochs(block_time_seconds: u64, epochs: u32) -> Duration {
    Duration::from_secs(slot_seconds(block_time_seconds).into()).saturating_mul(epochs * SLOTS_PER_EPOCH)
}

/// The numbers of one block topic. P1 to P4 are gossipsub's names for the parts of the formula.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TopicParams {
    /// Weight of the topic's sum in the total.
    pub topic_weight: f64,
    /// P1: points for each quantum in the mesh. 0 if dormant.
    pub time_in_mesh_weight: f64,
    /// P1: a slot.
    pub time_in_mesh_quantum: Duration,
    /// P1: quanta that count, an hour of them.
    pub time_in_mesh_cap: f64,
    /// P2: points for each first delivery of a valid message. 0 if dormant.
    pub first_message_deliveries_weight: f64,
    /// P2: factor per decay, 20 epochs.
    pub first_message_deliveries_decay: f64,
    /// P2: most first deliveries that count.
    pub first_message_deliveries_cap: f64,
    /// P3: points for the square of the deliveries missing in the mesh. Always 0.
    pub mesh_message_deliveries_weight: f64,
    /// P3: factor per decay, 5 epochs.
    pub mesh_message_deliveries_decay: f64,
    /// P3: most deliveries that count.
    pub mesh_message_deliveries_cap: f64,
    /// P3: deliveries that are enough.
    pub mesh_message_deliveries_threshold: f64,
    /// P3: how long after the first delivery a duplicate counts.
    pub mesh_message_deliveries_window: Duration,
    /// P3: time in the mesh before it applies.
    pub mesh_message_deliveries_activation: Duration,
    /// P3b: points for what was missing when the peer left the mesh. Always 0.
    pub mesh_failure_penalty_weight: f64,
    /// P3b: factor per decay, 5 epochs.
    pub mesh_failure_penalty_decay: f64,
    /// P4: points for the square of the rejected messages.
    pub invalid_message_deliveries_weight: f64,
    /// P4: factor per decay, 50 epochs.
    pub invalid_message_deliveries_decay: f64,
}

impl TopicParams {
    /// A topic that carries the chain's blocks, or will soon. Block times of 0 count as 2 seconds.
    pub fn live(block_time_seconds: u64) -> Self {
        let slot = slot_seconds(block_time_seconds);
        // Where not even one slot fits into an hour, the reference divides by zero.
        let cap = f64::from((3600 / slot).max(1));
        // 30, and a tenth of it; with the reference's whole numbers.
        let deliveries = SLOTS_PER_EPOCH * 5;
        Self {
            topic_weight: 0.8,
            time_in_mesh_weight: 10.0 / cap,
            time_in_mesh_quantum: Duration::from_secs(slot.into()),
            time_in_mesh_cap: cap,
            first_message_deliveries_weight: 1.0,
            first_message_deliveries_decay: decay_epochs(20),
            first_message_deliveries_cap: 23.0,
            mesh_message_deliveries_weight: 0.0,
            mesh_message_deliveries_decay: decay_epochs(5),
            mesh_message_deliveries_cap: f64::from(deliveries),
            mesh_message_deliveries_threshold: f64::from(deliveries / 10),
            mesh_message_deliveries_window: Duration::from_secs(2),
            mesh_message_deliveries_activation: epochs(block_time_seconds, 4),
            mesh_failure_penalty_weight: 0.0,
            mesh_failure_penalty_decay: decay_epochs(5),
            invalid_message_deliveries_weight: -140.4475,
            invalid_message_deliveries_decay: decay_epochs(50),
        }
    }

    /// A topic without blocks: only rejected messages count.
    pub fn dormant(block_time_seconds: u64) -> Self {
        Self {
            time_in_mesh_weight: 0.0,
            first_message_deliveries_weight: 0.0,
            ..Self::live(block_time_seconds)
        }
    }
}

/// The numbers of the gossip total.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScoreParams {
    /// Numbers of a topic that carries blocks.
    pub live: TopicParams,
    /// Numbers of the others.
    pub dormant: TopicParams,
    /// Most that all topics together bring.
    pub topic_score_cap: f64,
    /// P5: weight of the application score.
    pub application_weight: f64,
    /// P6: points for the square of the peers at one address beyond the threshold.
    pub ip_colocation_weight: f64,
    /// P6: peers at one address that cost nothing.
    pub ip_colocation_threshold: f64,
    /// P7: points for the square of the breaches of protocol beyond the threshold.
    pub behaviour_penalty_weight: f64,
    /// P7: breaches that cost nothing.
    pub behaviour_penalty_threshold: f64,
    /// P7: factor per decay, 10 epochs.
    pub behaviour_penalty_decay: f64,
    /// Time between two decays: a slot.
    pub decay_interval: Duration,
    /// Counters below this are 0.
    pub decay_to_zero: f64,
    /// How long the score of a peer that left is remembered if it is not positive: 100 epochs.
    pub retain_score: Duration,
}

impl ScoreParams {
    /// The level `light` for a chain with such a block time. 0 counts as 2 seconds.
    pub fn light(block_time_seconds: u64) -> Self {
        Self {
            live: TopicParams::live(block_time_seconds),
            dormant: TopicParams::dormant(block_time_seconds),
            topic_score_cap: 34.0,
            application_weight: 1.0,
            ip_colocation_weight: -35.0,
            ip_colocation_threshold: 10.0,
            behaviour_penalty_weight: -16.0,
            behaviour_penalty_threshold: 6.0,
            behaviour_penalty_decay: decay_epochs(10),
            decay_interval: Duration::from_secs(slot_seconds(block_time_seconds).into()),
            decay_to_zero: DECAY_TO_ZERO,
            retain_score: epochs(block_time_seconds, 100),
        }
    }

    /// The numbers of a topic.
    pub const fn topic(&self, live: bool) -> &TopicParams {
        if live { &self.live } else { &self.dormant }
    }
}

/// The numbers of one counter of the application score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CounterParams {
    /// Most that it counts.
    pub cap: f64,
    /// Points for each.
    pub weight: f64,
    /// Factor per decay.
    pub decay: f64,
}

/// The numbers of the application score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ApplicationParams {
    /// [`Conduct::ValidResponse`](crate::peers::Conduct::ValidResponse).
    pub valid_responses: CounterParams,
    /// [`Conduct::ErrorResponse`](crate::peers::Conduct::ErrorResponse).
    pub error_responses: CounterParams,
    /// [`Conduct::RejectedPayload`](crate::peers::Conduct::RejectedPayload).
    pub rejected_payloads: CounterParams,
    /// Time between two decays: a slot.
    pub decay_interval: Duration,
    /// Counters below this are 0.
    pub decay_to_zero: f64,
}

impl ApplicationParams {
    /// The level `light` for a chain with such a block time. 0 counts as 2 seconds.
    ///
    /// Errors alone cost at most 9 points, which is above [`Thresholds::gossip`]: a peer may be slow.
    pub fn light(block_time_seconds: u64) -> Self {
        let decay = decay_epochs(10);
        Self {
            valid_responses: CounterParams { cap: 10.0, weight: 0.5, decay },
            error_responses: CounterParams { cap: 9.0, weight: -1.0, decay },
            rejected_payloads: CounterParams { cap: 20.0, weight: -20.0, decay },
            decay_interval: Duration::from_secs(slot_seconds(block_time_seconds).into()),
            decay_to_zero: DECAY_TO_ZERO,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn levels_have_the_flags_names() {
        assert_eq!(Scoring::ALL.map(|level| level.to_string()), ["none", "light"]);
        assert_eq!(Scoring::ALL.map(|level| level.name().parse()), Scoring::ALL.map(Ok));
        for wrong in ["", "Light", "full"] {
            let error = wrong.parse::<Scoring>().expect_err("unknown").to_string();
            assert_eq!(error, format!("unknown p2p scoring level: {wrong}"));
        }
        assert_eq!((Scoring::None.params(2), Scoring::None.application_params(2)), (None, None));
        assert_eq!(Scoring::Light.params(2), Some(ScoreParams::light(2)));
        assert_eq!(Scoring::Light.application_params(2), Some(ApplicationParams::light(2)));
    }

    #[test]
    fn thresholds_are_the_references() {
        let Thresholds { gossip, publish, graylist, accept_px, opportunistic_graft } = Thresholds::default();
        assert_eq!(
            [gossip, publish, graylist, accept_px, opportunistic_graft],
            [-10.0, -40.0, -40.0, 20.0, 0.05]
        );
    }

    #[test]
    fn decays_are_the_references_to_the_digit() {
        assert_eq!(decay(20 * 6), 0.9623506263980885);
        assert_eq!(decay(50 * 6), 0.9847666521101581);
        assert_eq!(decay(10 * 6), 0.9261187281287935);
        assert_eq!(decay(5 * 6), 0.8576958985908941);
        assert_eq!((decay(1), decay(0)), (0.01, 0.0));
    }

    #[test]
    fn a_live_topic_has_the_references_numbers_but_for_p3() {
        let expected = TopicParams {
            topic_weight: 0.8,
            time_in_mesh_weight: 10.0 / 1800.0,
            time_in_mesh_quantum: seconds(2),
            time_in_mesh_cap: 1800.0,
            first_message_deliveries_weight: 1.0,
            first_message_deliveries_decay: 0.9623506263980885,
            first_message_deliveries_cap: 23.0,
            mesh_message_deliveries_weight: 0.0,
            mesh_message_deliveries_decay: 0.8576958985908941,
            mesh_message_deliveries_cap: 30.0,
            mesh_message_deliveries_threshold: 3.0,
            mesh_message_deliveries_window: seconds(2),
            mesh_message_deliveries_activation: seconds(48),
            mesh_failure_penalty_weight: 0.0,
            mesh_failure_penalty_decay: 0.8576958985908941,
            invalid_message_deliveries_weight: -140.4475,
            invalid_message_deliveries_decay: 0.9847666521101581,
        };
        assert_eq!(TopicParams::live(2), expected);
        let faster = TopicParams {
            time_in_mesh_weight: 10.0 / 3600.0,
            time_in_mesh_quantum: seconds(1),
            time_in_mesh_cap: 3600.0,
            mesh_message_deliveries_activation: seconds(24),
            ..expected
        };
        assert_eq!(TopicParams::live(1), faster);
        let dormant =
            TopicParams { time_in_mesh_weight: 0.0, first_message_deliveries_weight: 0.0, ..expected };
        assert_eq!(TopicParams::dormant(2), dormant);
    }

    #[test]
    fn the_total_has_the_references_numbers() {
        for block_time in [1, 2, 12] {
            let expected = ScoreParams {
                live: TopicParams::live(block_time),
                dormant: TopicParams::dormant(block_time),
                topic_score_cap: 34.0,
                application_weight: 1.0,
                ip_colocation_weight: -35.0,
                ip_colocation_threshold: 10.0,
                behaviour_penalty_weight: -16.0,
                behaviour_penalty_threshold: 6.0,
                behaviour_penalty_decay: 0.9261187281287935,
                decay_interval: seconds(block_time),
                decay_to_zero: 0.01,
                retain_score: seconds(600 * block_time),
            };
            let params = ScoreParams::light(block_time);
            assert_eq!(params, expected);
            assert_eq!((*params.topic(true), *params.topic(false)), (params.live, params.dormant));
        }
    }

    #[test]
    fn the_application_score_has_the_references_numbers() {
        let params = ApplicationParams::light(1);
        let counters = [params.valid_responses, params.error_responses, params.rejected_payloads];
        assert_eq!(counters.map(|counter| counter.cap), [10.0, 9.0, 20.0]);
        assert_eq!(counters.map(|counter| counter.weight), [0.5, -1.0, -20.0]);
        assert_eq!(counters.map(|counter| counter.decay), [0.9261187281287935; 3]);
        assert_eq!((params.decay_interval, params.decay_to_zero), (seconds(1), 0.01));
    }

    #[test]
    fn any_block_time_will_do() {
        assert_eq!(ScoreParams::light(0), ScoreParams::light(2));
        assert_eq!(ApplicationParams::light(0), ApplicationParams::light(2));
        let slow = ScoreParams::light(u64::MAX);
        assert_eq!((slow.live.time_in_mesh_weight, slow.live.time_in_mesh_cap), (10.0, 1.0));
    }
}
