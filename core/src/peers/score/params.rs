//! Scoring parameters (`op-node/p2p/peer_params.go`, `app_params.go`). The parent module documents
//! the differences from the reference.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Slot length in seconds for a chain that states no block time.
const DEFAULT_BLOCK_TIME: u64 = 2;
/// Number of slots in an epoch.
const SLOTS_PER_EPOCH: u32 = 6;
/// Fraction of a counter that is left after its decay time; also the value below which a counter
/// becomes 0.
const DECAY_TO_ZERO: f64 = 0.01;

/// Scoring level (`--p2p.scoring`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scoring {
    /// No scoring: all peers score 0.
    None,
    /// Scoring with the parameters of [`ScoreParams::light`] and [`ApplicationParams::light`].
    #[default]
    Light,
}

impl Scoring {
    /// All levels.
    pub const ALL: [Self; 2] = [Self::None, Self::Light];

    /// Returns the level's name as used in flags.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Light => "light",
        }
    }

    /// Returns the parameters of gossip at this level, or `None` without scoring.
    pub fn params(self, block_time_seconds: u64) -> Option<ScoreParams> {
        match self {
            Self::None => None,
            Self::Light => Some(ScoreParams::light(block_time_seconds)),
        }
    }

    /// Returns the parameters of the application score at this level, or `None` without scoring.
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

/// Error for a text that is not the name of a [`Scoring`] level.
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

/// Total scores that determine how gossip treats a peer. "Below" is strict.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thresholds {
    /// Below this, no message ids are offered to a peer or accepted from it.
    pub gossip: f64,
    /// Below this, our own messages are not sent to a peer outside the mesh.
    pub publish: f64,
    /// Below this, everything that a peer sends is ignored, except its subscriptions.
    pub graylist: f64,
    /// From this on, peers that a pruning peer recommends are accepted.
    pub accept_px: f64,
    /// Median score of the mesh below which peers with better scores are grafted.
    pub opportunistic_graft: f64,
}

impl Thresholds {
    /// Thresholds of the reference, which are the same at every level (`NewPeerScoreThresholds`).
    pub const REFERENCE: Self = Self {
        gossip: -10.0,
        publish: -40.0,
        graylist: -40.0,
        accept_px: 20.0,
        opportunistic_graft: 0.05,
    };
}

impl Default for Thresholds {
    fn default() -> Self {
        Self::REFERENCE
    }
}

/// Returns the factor that leaves a hundredth of a counter after `slots` decays (`ScoreDecay`), or
/// 0 if `slots` is 0.
pub fn decay(slots: u32) -> f64 {
    DECAY_TO_ZERO.powf(1.0 / f64::from(slots))
}

/// Returns the decay factor for a decay time of `epochs`.
fn decay_epochs(epochs: u32) -> f64 {
    decay(epochs * SLOTS_PER_EPOCH)
}

/// Returns the length of a slot in seconds. It is limited to 136 years, so that nothing overflows.
fn slot_seconds(block_time_seconds: u64) -> u32 {
    let seconds = if block_time_seconds == 0 { DEFAULT_BLOCK_TIME } else { block_time_seconds };
    u32::try_from(seconds).unwrap_or(u32::MAX)
}

/// Returns the duration of `epochs`.
fn epochs(block_time_seconds: u64, epochs: u32) -> Duration {
    Duration::from_secs(slot_seconds(block_time_seconds).into())
        .saturating_mul(epochs * SLOTS_PER_EPOCH)
}

/// Parameters of one block topic. P1 to P4 are gossipsub's names for the terms of the formula.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TopicParams {
    /// Weight of the topic's score in the total.
    pub topic_weight: f64,
    /// P1: points per quantum in the mesh. 0 if dormant.
    pub time_in_mesh_weight: f64,
    /// P1: length of a quantum, which is one slot.
    pub time_in_mesh_quantum: Duration,
    /// P1: maximum number of quanta that count, which is an hour's worth.
    pub time_in_mesh_cap: f64,
    /// P2: points per first delivery of a valid message. 0 if dormant.
    pub first_message_deliveries_weight: f64,
    /// P2: factor per decay, for a decay time of 20 epochs.
    pub first_message_deliveries_decay: f64,
    /// P2: maximum number of first deliveries that count.
    pub first_message_deliveries_cap: f64,
    /// P3: points for the square of the number of deliveries missing in the mesh. Always 0.
    pub mesh_message_deliveries_weight: f64,
    /// P3: factor per decay, for a decay time of 5 epochs.
    pub mesh_message_deliveries_decay: f64,
    /// P3: maximum number of deliveries that count.
    pub mesh_message_deliveries_cap: f64,
    /// P3: number of deliveries that is sufficient.
    pub mesh_message_deliveries_threshold: f64,
    /// P3: time after the first delivery during which a duplicate counts.
    pub mesh_message_deliveries_window: Duration,
    /// P3: time in the mesh before it applies.
    pub mesh_message_deliveries_activation: Duration,
    /// P3b: points for the deficit of deliveries when the peer left the mesh. Always 0.
    pub mesh_failure_penalty_weight: f64,
    /// P3b: factor per decay, for a decay time of 5 epochs.
    pub mesh_failure_penalty_decay: f64,
    /// P4: points for the square of the number of rejected messages.
    pub invalid_message_deliveries_weight: f64,
    /// P4: factor per decay, for a decay time of 50 epochs.
    pub invalid_message_deliveries_decay: f64,
}

impl TopicParams {
    /// Returns the parameters of a topic that carries the chain's blocks now or soon. The block
    /// time is in seconds; 0 counts as 2.
    pub fn live(block_time_seconds: u64) -> Self {
        let slot = slot_seconds(block_time_seconds);
        // If an hour is shorter than one slot, the reference divides by zero.
        let cap = f64::from((3600 / slot).max(1));
        // 30, and a tenth of it, in the reference's integer arithmetic.
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

    /// Returns the parameters of a topic without blocks, where only rejected messages count.
    pub fn dormant(block_time_seconds: u64) -> Self {
        Self {
            time_in_mesh_weight: 0.0,
            first_message_deliveries_weight: 0.0,
            ..Self::live(block_time_seconds)
        }
    }
}

/// Parameters of the gossip total.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScoreParams {
    /// Parameters of a topic that carries blocks.
    pub live: TopicParams,
    /// Parameters of the other topics.
    pub dormant: TopicParams,
    /// Maximum contribution of all topics together, in points.
    pub topic_score_cap: f64,
    /// P5: weight of the application score.
    pub application_weight: f64,
    /// P6: points for the square of the number of peers at one address beyond the threshold.
    pub ip_colocation_weight: f64,
    /// P6: number of peers at one address that incurs no penalty.
    pub ip_colocation_threshold: f64,
    /// P7: points for the square of the number of protocol breaches beyond the threshold.
    pub behaviour_penalty_weight: f64,
    /// P7: number of breaches that incurs no penalty.
    pub behaviour_penalty_threshold: f64,
    /// P7: factor per decay, for a decay time of 10 epochs.
    pub behaviour_penalty_decay: f64,
    /// Interval between two decays: a slot.
    pub decay_interval: Duration,
    /// Value below which a counter becomes 0.
    pub decay_to_zero: f64,
    /// Time for which the score of a peer that left is remembered, unless it is positive: 100
    /// epochs.
    pub retain_score: Duration,
}

impl ScoreParams {
    /// Returns the parameters of level `light` for a chain with this block time in seconds; 0
    /// counts as 2.
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

    /// Returns the parameters of a live or a dormant topic.
    pub const fn topic(&self, live: bool) -> &TopicParams {
        if live { &self.live } else { &self.dormant }
    }
}

/// Parameters of one counter of the application score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CounterParams {
    /// Maximum value of the counter.
    pub cap: f64,
    /// Points per unit of the counter.
    pub weight: f64,
    /// Factor per decay.
    pub decay: f64,
}

/// Parameters of the application score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ApplicationParams {
    /// Counter of [`Conduct::ValidResponse`](crate::peers::Conduct::ValidResponse).
    pub valid_responses: CounterParams,
    /// Counter of [`Conduct::ErrorResponse`](crate::peers::Conduct::ErrorResponse).
    pub error_responses: CounterParams,
    /// Counter of [`Conduct::RejectedPayload`](crate::peers::Conduct::RejectedPayload).
    pub rejected_payloads: CounterParams,
    /// Interval between two decays: a slot.
    pub decay_interval: Duration,
    /// Value below which a counter becomes 0.
    pub decay_to_zero: f64,
}

impl ApplicationParams {
    /// Returns the parameters of level `light` for a chain with this block time in seconds; 0
    /// counts as 2.
    ///
    /// Errors alone cost at most 9 points, which keeps the score above [`Thresholds::gossip`],
    /// because a peer may be slow.
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
    fn levels_are_named_as_in_the_flag() {
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
    fn thresholds_match_the_reference() {
        let Thresholds { gossip, publish, graylist, accept_px, opportunistic_graft } =
            Thresholds::default();
        assert_eq!(
            [gossip, publish, graylist, accept_px, opportunistic_graft],
            [-10.0, -40.0, -40.0, 20.0, 0.05]
        );
    }

    #[test]
    fn decays_match_the_reference_exactly() {
        assert_eq!(decay(20 * 6), 0.9623506263980885);
        assert_eq!(decay(50 * 6), 0.9847666521101581);
        assert_eq!(decay(10 * 6), 0.9261187281287935);
        assert_eq!(decay(5 * 6), 0.8576958985908941);
        assert_eq!((decay(1), decay(0)), (0.01, 0.0));
    }

    #[test]
    fn live_topic_params_match_the_reference_except_p3() {
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
        let dormant = TopicParams {
            time_in_mesh_weight: 0.0,
            first_message_deliveries_weight: 0.0,
            ..expected
        };
        assert_eq!(TopicParams::dormant(2), dormant);
    }

    #[test]
    fn peer_score_params_match_the_reference() {
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
    fn application_params_match_the_reference() {
        let params = ApplicationParams::light(1);
        let counters = [params.valid_responses, params.error_responses, params.rejected_payloads];
        assert_eq!(counters.map(|counter| counter.cap), [10.0, 9.0, 20.0]);
        assert_eq!(counters.map(|counter| counter.weight), [0.5, -1.0, -20.0]);
        assert_eq!(counters.map(|counter| counter.decay), [0.9261187281287935; 3]);
        assert_eq!((params.decay_interval, params.decay_to_zero), (seconds(1), 0.01));
    }

    #[test]
    fn any_block_time_is_accepted() {
        assert_eq!(ScoreParams::light(0), ScoreParams::light(2));
        assert_eq!(ApplicationParams::light(0), ApplicationParams::light(2));
        let slow = ScoreParams::light(u64::MAX);
        assert_eq!((slow.live.time_in_mesh_weight, slow.live.time_in_mesh_cap), (10.0, 1.0));
    }
}
