//! The machine for the execution engine, with clients that give any answer.

use std::time::Duration;

use alloy_primitives::{B256, Bytes};
use arbitrary::{Result, Unstructured};
use opp2p_core::chain::{BlockId, Labels};
use opp2p_core::engine::{
    Activity, DevelopmentL1, Engine, EngineConfig, EngineEvent, EngineFailure, EngineInput,
    EngineOutput, EngineState, LONGEST_PAUSE, MISMATCH_PAUSE, PayloadStatus,
};

use crate::material::{CHAIN_ID, Clock, NOW, POOL, any_span, chain, play};

/// A call that waits for the client's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    State,
    Load,
    Offer(BlockId),
    Choose,
    Build,
    Fetch,
    Publish,
}

fn any_failure(from: &mut Unstructured<'_>) -> Result<EngineFailure> {
    Ok(match from.int_in_range(0..=6)? {
        0 => EngineFailure::Unreachable("gone".into()),
        1 => EngineFailure::Unauthorized,
        2 => EngineFailure::Forkchoice("no".into()),
        3 => EngineFailure::OtherFork("no".into()),
        4 => EngineFailure::UnknownPayload("no".into()),
        5 => EngineFailure::NoMethod("engine_getPayloadV5".into()),
        _ => EngineFailure::Other("no".into()),
    })
}

fn any_id(from: &mut Unstructured<'_>) -> Result<BlockId> {
    Ok(match from.int_in_range(0..=7)? {
        0 => BlockId::new(0, chain().genesis.hash),
        1 => BlockId::new(from.arbitrary()?, B256::with_last_byte(from.arbitrary()?)),
        _ => BlockId::of(&from.choose(&POOL)?.block),
    })
}

fn maybe(from: &mut Unstructured<'_>) -> Result<Option<BlockId>> {
    if from.arbitrary()? { Ok(Some(any_id(from)?)) } else { Ok(None) }
}

fn any_status(
    from: &mut Unstructured<'_>,
) -> Result<std::result::Result<PayloadStatus, EngineFailure>> {
    Ok(match from.int_in_range(0..=7)? {
        0 => Err(any_failure(from)?),
        1 => Ok(PayloadStatus::Invalid {
            reason: "bad".into(),
            latest_valid: maybe(from)?.map(|id| id.hash),
        }),
        2 => Ok(PayloadStatus::Accepted),
        3 => Ok(PayloadStatus::Syncing),
        _ => Ok(PayloadStatus::Valid),
    })
}

fn any_state(
    from: &mut Unstructured<'_>,
) -> Result<std::result::Result<EngineState, EngineFailure>> {
    if from.ratio(1, 6)? {
        return Ok(Err(any_failure(from)?));
    }
    let head = any_id(from)?;
    Ok(Ok(EngineState {
        chain_id: if from.ratio(1, 16)? { 1 } else { CHAIN_ID },
        genesis: from.arbitrary::<bool>()?.then_some(chain().genesis.hash),
        head,
        ours: maybe(from)?.map(|id| id.hash),
        head_timestamp: NOW.saturating_add_signed(from.int_in_range(-100..=10)?),
        gas_limit: 30_000_000,
        safe: maybe(from)?,
        finalized: maybe(from)?,
        methods: if from.ratio(1, 16)? { vec!["engine_newPayloadV1".into()] } else { Vec::new() },
    }))
}

fn answer(from: &mut Unstructured<'_>, call: Call) -> Result<EngineInput> {
    Ok(match call {
        Call::State => EngineInput::State(any_state(from)?),
        Call::Load => {
            let block = from.choose(&POOL)?.block.clone();
            EngineInput::Loaded(from.ratio(7, 8)?.then_some(block))
        }
        Call::Offer(_) => EngineInput::NewPayload(any_status(from)?),
        Call::Choose => EngineInput::ForkchoiceUpdated(any_status(from)?),
        Call::Build => EngineInput::Building(if from.arbitrary()? {
            Ok(Bytes::from_static(&[1; 8]))
        } else {
            Err(any_failure(from)?)
        }),
        Call::Fetch => EngineInput::Built(if from.arbitrary()? {
            Ok(Box::new(from.choose(&POOL)?.envelope.clone()))
        } else {
            Err(any_failure(from)?)
        }),
        Call::Publish => EngineInput::Head(any_id(from)?),
    })
}

/// Returns `true` if the client gave no answer.
fn is_silence(input: &EngineInput) -> bool {
    matches!(
        input,
        EngineInput::State(Err(EngineFailure::Unreachable(_)))
            | EngineInput::NewPayload(Err(EngineFailure::Unreachable(_)))
            | EngineInput::ForkchoiceUpdated(Err(EngineFailure::Unreachable(_)))
            | EngineInput::Building(Err(EngineFailure::Unreachable(_)))
            | EngineInput::Built(Err(EngineFailure::Unreachable(_)))
    )
}

/// Gives any answers at any time, and checks that there is one call at a time, that no block is
/// offered again after it was called invalid, and that the machine never comes to rest for good.
pub(crate) fn engine(bytes: &[u8]) {
    play(bytes, |from| {
        let mut clock = Clock::new();
        let origin = BlockId::new(7, B256::repeat_byte(0x71));
        let l1 = DevelopmentL1 { origin, timestamp: NOW - 5000, batcher: Default::default() };
        let sequencer = from.arbitrary::<bool>()?.then_some(l1);
        let mut engine =
            Engine::new(clock.0, EngineConfig { chain: chain(), sequencer, reads_labels: false });
        let mut awaited = None;
        let mut invalid: Vec<BlockId> = Vec::new();
        while !from.is_empty() {
            while let Some(output) = engine.poll() {
                let call = match output {
                    EngineOutput::ReadState { .. } => Call::State,
                    EngineOutput::Load(_) => Call::Load,
                    EngineOutput::NewPayload { block, .. } => Call::Offer(BlockId::of(&block)),
                    EngineOutput::ForkchoiceUpdated(_) => Call::Choose,
                    EngineOutput::Build(..) => Call::Build,
                    EngineOutput::GetPayload { .. } => Call::Fetch,
                    EngineOutput::Publish(_) => Call::Publish,
                    // No source of labels is configured.
                    EngineOutput::ReadLabels => panic!("labels are read"),
                    EngineOutput::Event(event) => {
                        if let EngineEvent::Invalid { block, .. } = event {
                            invalid.push(block);
                        }
                        continue;
                    }
                };
                if let Call::Offer(block) = call {
                    // The engine remembers a bounded number of invalid blocks; there are fewer than
                    // that here.
                    assert!(!invalid.contains(&block), "an invalid block is offered again");
                }
                assert!(
                    awaited.is_none_or(|before| before == Call::Publish),
                    "{call:?} while {awaited:?} is awaited"
                );
                awaited = Some(call);
            }
            if awaited.is_none() {
                let wakeup = engine.next_wakeup();
                assert!(
                    wakeup.is_some(),
                    "nothing is awaited and nothing will be done: {engine:?}"
                );
                let longest = LONGEST_PAUSE.max(MISMATCH_PAUSE) + Duration::from_secs(3600);
                assert!(wakeup.is_none_or(|at| at.since(clock.at()) <= longest));
            }
            let status = engine.status();
            assert!(status.activity != Activity::Starting || status.head.is_none());
            let input = match from.int_in_range(0..=5)? {
                0 => {
                    clock.pass(any_span(from)?);
                    EngineInput::Wake
                }
                1 => {
                    if let Some(at) = engine.next_wakeup() {
                        clock.pass_to(at);
                    }
                    EngineInput::Wake
                }
                2 => EngineInput::Head(any_id(from)?),
                3 => EngineInput::Labels(Labels { safe: maybe(from)?, finalized: maybe(from)? }),
                _ => match awaited.take() {
                    Some(call) => answer(from, call)?,
                    None => EngineInput::Wake,
                },
            };
            if is_silence(&input) {
                // The client may be restarted as another version, which accepts them.
                invalid.clear();
            }
            engine.handle(clock.0, input);
        }
        Ok(())
    });
}
