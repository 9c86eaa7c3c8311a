//! `opp2p_subscribe`: new blocks of the chain, its reorgs, its gaps and the node's troubles as they
//! come, and the feed from any block on.

use super::error::{BUSY, CallError, FAILED};
use super::feeds::Feeds;
use super::method::{Parameter, Subscription};
use super::params::{Arguments, failed, wrong};
use super::sink::{SEND_TIME, Sink, Started};
use super::types::{GapNews, HeadInfo, Id, ReorgInfo, TroubleNews};
use crate::feed::{Follower, json};
use opp2p_core::chain::{BlockId, ChainEvent, Span};
use opp2p_core::feed::{Position, Tip};
use opp2p_core::node::Event;
use opp2p_core::payload::Block;
use opp2p_node::clock::since_epoch;
use opp2p_node::host::{HostEvent, HostEventKind, HostHandle};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::sleep;

/// Maximum time that a feed holds the blocks that it has read while its subscriber takes nothing.
const HOLD_TIME: Duration = Duration::from_millis(100);
/// Minimum and maximum pause between two looks at a subscriber that takes nothing.
const LOOKS: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(50)];
/// Maximum number of blocks by which a feed may begin above the highest known block. A node that
/// has just started may know a block of some hours ago only.
const FAR_AHEAD: u64 = 100_000;

/// The kinds of subscriptions.
pub(super) static SUBSCRIPTIONS: [Subscription; 2] = [
    Subscription {
        subscribe: "opp2p_subscribe",
        unsubscribe: "opp2p_unsubscribe",
        notification: "opp2p_subscription",
        parameters: &[
            Parameter::new("kind", "`heads`, `reorgs`, `gaps` or `feed`"),
            Parameter::optional(
                "begin",
                "for `feed`: `{\"from\": NUMBER}`, or `{\"after\": {\"number\": NUMBER, \"hash\": \
                 HASH}}`; the next block by default",
            ),
        ],
        does: "Sends the blocks of the canonical chain as they come (`heads`), its reorgs, its \
               gaps, or the feed of whole blocks from any block on.",
        errors: &[
            (FAILED, "the feed would begin far above the highest known block"),
            (BUSY, "there are as many feeds as the settings allow"),
        ],
        start: |rpc, given| start(given, &rpc.host, &rpc.feeds),
    },
    Subscription {
        subscribe: "eth_subscribe",
        unsubscribe: "eth_unsubscribe",
        notification: "eth_subscription",
        parameters: &[Parameter::new("kind", "`newHeads`")],
        does: "Sends the header of each canonical block, once and in order. After a reorg, the \
               headers of the adopted blocks follow.",
        errors: &[],
        start: |rpc, given| rpc.eth.heads.start(given),
    },
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Heads,
    Reorgs,
    Gaps,
    Troubles,
    /// From this position on, or from the next block.
    Feed(Option<Position>),
}

/// The second argument of a feed subscription.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
enum Begin {
    /// Start with the block of this number.
    From(u64),
    /// Start with the block after this one.
    After(Id),
}

fn kind(given: &Arguments) -> Result<Kind, CallError> {
    let kind = match given.word(0)? {
        "heads" => Kind::Heads,
        "reorgs" => Kind::Reorgs,
        "gaps" => Kind::Gaps,
        "troubles" => Kind::Troubles,
        "feed" => {
            let begin = given.optional(1).map(Begin::deserialize).transpose();
            let begin = begin.map_err(|_| {
                wrong(1, r#"use {"from": NUMBER} or {"after": {"number": NUMBER, "hash": HASH}}"#)
            })?;
            return Ok(Kind::Feed(begin.map(|begin| match begin {
                Begin::From(number) => Position::Start { from: Some(number) },
                Begin::After(id) => Position::At(Tip::new(BlockId::new(id.number, id.hash))),
            })));
        }
        _ => return Err(wrong(0, "subscribe to heads, reorgs, gaps, troubles or feed")),
    };
    match given.len() {
        0 | 1 => Ok(kind),
        _ => Err(wrong(1, "only a feed takes a second argument")),
    }
}

/// Waits until the subscriber's connection has taken all but one of its messages. Returns `false`
/// if that takes too long.
async fn has_room(sink: &Sink, most: Duration) -> bool {
    let emptying = async {
        let [mut pause, longest] = LOOKS;
        while !sink.is_almost_empty() {
            sleep(pause).await;
            pause = pause.saturating_mul(2).min(longest);
        }
    };
    tokio::select! {
        biased;
        () = emptying => true,
        () = sleep(most) => false,
    }
}

/// Refuses a position that the chain will not reach for long: its subscriber would wait in vain.
fn check_distance(host: &HostHandle, position: &Position) -> Result<(), CallError> {
    let Some(number) = position.number() else { return Ok(()) };
    let stored = host.status().borrow().stored;
    let (known, by_clock) = host.core(|node, _| {
        let known = [node.view().highest(), stored].into_iter().flatten();
        (known.map(|id| id.number).max(), node.chain().highest_number_at(since_epoch()))
    });
    match known.or(by_clock) {
        Some(highest) if number > highest.saturating_add(FAR_AHEAD) => {
            let known =
                known.map_or("no block yet".into(), |known| format!("blocks up to {known}"));
            Err(failed(format_args!(
                "block {number} is far ahead: this node knows {known}; check the number, or try \
                 again later"
            )))
        }
        _ => Ok(()),
    }
}

/// Serves a feed to its end. A slow subscriber does not fall behind: unread blocks wait in the
/// store. They are read only when the subscriber has room, and dropped and read again if it takes
/// nothing for [`HOLD_TIME`], so that idle subscribers hold no memory.
async fn feed(sink: &Sink, mut follower: Follower, reads: &Semaphore) {
    loop {
        if let Err(error) = follower.ready().await {
            return sink.end(&error.to_string()).await;
        }
        if !has_room(sink, SEND_TIME).await {
            return;
        }
        // The semaphore is never closed.
        let Ok(_turn) = reads.acquire().await else { return };
        let mut reached = follower.position();
        let events = match follower.load().await {
            Ok(events) => events,
            Err(error) => return sink.end(&error.to_string()).await,
        };
        for event in events {
            let position = event.position();
            if !has_room(sink, HOLD_TIME).await {
                follower.resume(reached);
                break;
            }
            // A block's line takes long enough to keep it off the async threads.
            let line = tokio::task::spawn_blocking(move || RawValue::from_string(json(&event)));
            let Ok(Ok(line)) = line.await else { return };
            if !sink.try_send(&line) {
                follower.resume(reached);
                break;
            }
            reached = position;
        }
    }
}

/// Starts a subscription. A subscriber that falls behind by more events than the node keeps, or
/// reads nothing for [`SEND_TIME`], gets an error and has to subscribe again.
fn start(given: &Arguments, host: &HostHandle, feeds: &Feeds) -> Result<Started, CallError> {
    let kind = kind(given)?;
    let Kind::Feed(position) = kind else {
        let events = host.events();
        return Ok(Started::new(move |sink| tell(kind, events, sink)));
    };
    if let Some(position) = &position {
        check_distance(host, position)?;
    }
    let place = feeds.take()?;
    let follower = Follower::new(host.clone(), position);
    let reads = Arc::clone(&feeds.reads);
    Ok(Started::new(|sink| async move {
        feed(&sink, follower, &reads).await;
        drop(place);
    }))
}

/// Serves a subscription of another kind to its end.
async fn tell(kind: Kind, mut events: Receiver<HostEvent>, sink: Sink) {
    loop {
        let news = match events.recv().await {
            Ok(HostEvent { kind: HostEventKind::Core(event), .. }) => news(kind, event),
            Ok(_) => None,
            Err(RecvError::Lagged(missed)) => {
                return sink.end(&format!("{missed} events were missed: subscribe again")).await;
            }
            Err(RecvError::Closed) => return sink.end("the node has stopped").await,
        };
        if let Some(news) = news
            && !sink.send(&news).await
        {
            return;
        }
    }
}

/// Returns the notification of an event for a subscription of this kind, if it has one.
fn news(kind: Kind, event: Event) -> Option<Box<RawValue>> {
    match (kind, event) {
        (Kind::Troubles, Event::TroubleBegan(entry)) => raw(&TroubleNews::Began(entry.into())),
        (Kind::Troubles, Event::TroubleEnded(entry)) => raw(&TroubleNews::Ended(entry.into())),
        (_, Event::Chain(event)) => chain_news(kind, event),
        _ => None,
    }
}

fn chain_news(kind: Kind, event: ChainEvent<Block>) -> Option<Box<RawValue>> {
    match (kind, event) {
        (Kind::Heads, ChainEvent::Extended(block)) => raw(&HeadInfo::of(&block)),
        (Kind::Reorgs, ChainEvent::Reorg { ancestor, abandoned, adopted }) => raw(&ReorgInfo {
            ancestor: ancestor.into(),
            abandoned: Span::of(&abandoned).into(),
            adopted: Span::of(&adopted).into(),
        }),
        (Kind::Gaps, ChainEvent::GapOpened(gap)) => raw(&GapNews::Opened(gap.into())),
        (Kind::Gaps, ChainEvent::GapChanged(gap)) => raw(&GapNews::Changed(gap.into())),
        (Kind::Gaps, ChainEvent::GapClosed { id, .. }) => raw(&GapNews::Closed { id: id.number() }),
        (Kind::Gaps, ChainEvent::Skipped { from, to, .. }) => {
            let left_out = from.between(&to);
            let [first, last] = [left_out.as_ref().map(|n| *n.start()), left_out.map(|n| *n.end())];
            raw(&GapNews::Skipped { from: from.into(), to: to.into(), first, last })
        }
        _ => None,
    }
}

fn raw(value: &impl Serialize) -> Option<Box<RawValue>> {
    to_raw_value(value).ok()
}

impl HeadInfo {
    fn of(block: &Block) -> Self {
        let payload = block.payload();
        Self {
            number: block.number(),
            hash: block.hash(),
            parent_hash: block.parent_hash(),
            timestamp: block.timestamp(),
            timestamp_ms: block.base_time().map(|_| block.timestamp_ms()),
            transactions: payload.transaction_count() as u64,
            size: payload.as_bytes().len() as u64,
            gas_used: payload.gas_used(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use opp2p_core::chain::{BlockId, SkipReason};
    use opp2p_core::trouble::{Trouble, TroubleEntry, TroubleKind};
    use serde_json::{Value, json};

    #[test]
    fn only_the_five_kinds_are_accepted() {
        let kind = |params| kind(&Arguments::read(params, 2)?);
        assert_eq!(kind(Some(r#"["heads"]"#)), Ok(Kind::Heads));
        assert_eq!(kind(Some(r#"["reorgs"]"#)), Ok(Kind::Reorgs));
        assert_eq!(kind(Some(r#"["gaps"]"#)), Ok(Kind::Gaps));
        assert_eq!(kind(Some(r#"["troubles"]"#)), Ok(Kind::Troubles));
        assert_eq!(kind(Some(r#"["feed"]"#)), Ok(Kind::Feed(None)));
        let from = Position::Start { from: Some(7) };
        assert_eq!(kind(Some(r#"["feed",{"from":7}]"#)), Ok(Kind::Feed(Some(from))));
        let id = BlockId::new(6, [6; 32].into());
        let after = format!(r#"["feed",{{"after":{{"number":6,"hash":"{}"}}}}]"#, id.hash);
        assert_eq!(kind(Some(&after)), Ok(Kind::Feed(Some(Position::At(Tip::new(id))))));
        for wrong in [
            r#"["feed",7]"#,
            r#"["feed",{"from":-1}]"#,
            r#"["feed",{}]"#,
            r#"["feed",{"after":6}]"#,
        ] {
            assert_eq!(kind(Some(wrong)).unwrap_err().code(), -32602, "{wrong}");
        }
        for wrong in
            [None, Some("[]"), Some("[7]"), Some(r#"["head"]"#), Some(r#"["heads","gaps"]"#)]
        {
            assert_eq!(kind(wrong).unwrap_err().code(), -32602, "{wrong:?}");
        }
    }

    #[test]
    fn events_have_their_shapes_and_go_only_to_subscribers_of_their_kind() {
        let id = |number: u8| BlockId::new(number.into(), [number; 32].into());
        let shown = |number: u8| {
            let hash = format!("0x{}", format!("{number:02x}").repeat(32));
            json!({"number": number, "hash": hash})
        };
        let value = |kind, event| {
            news(kind, Event::Chain(event))
                .map(|raw| serde_json::from_str::<Value>(raw.get()).unwrap())
        };
        let reorg = || ChainEvent::Reorg {
            ancestor: id(1),
            abandoned: vec![id(2)],
            adopted: vec![id(3), id(4)],
        };
        let expected =
            json!({"ancestor": shown(1), "abandoned": [shown(2)], "adopted": [shown(3), shown(4)]});
        assert_eq!(value(Kind::Reorgs, reorg()), Some(expected));
        assert_eq!(value(Kind::Heads, reorg()), None);
        assert_eq!(value(Kind::Gaps, reorg()), None);
        let far = |number: u64| BlockId::new(number, [7; 32].into());
        let long = ChainEvent::Reorg {
            ancestor: id(1),
            abandoned: (2..=20_001).map(far).collect(),
            adopted: (2..=257).map(far).collect(),
        };
        let told = value(Kind::Reorgs, long).unwrap();
        assert_eq!(
            told["abandoned"],
            json!({
                "count": 20_000,
                "lowest": {"number": 2, "hash": far(2).hash},
                "highest": {"number": 20_001, "hash": far(2).hash},
            })
        );
        assert_eq!(told["adopted"].as_array().map(Vec::len), Some(256));
        let skipped = ChainEvent::Skipped {
            from: id(1),
            to: id(9),
            reason: SkipReason::Patience,
            detached: false,
        };
        let expected = json!({
            "event": "skipped", "from": shown(1), "to": shown(9), "first": 2, "last": 8
        });
        assert_eq!(value(Kind::Gaps, skipped), Some(expected));
        let entry = TroubleEntry { trouble: Trouble::NoPeers, since: 5, last: 7 };
        let told = news(Kind::Troubles, Event::TroubleBegan(entry.clone())).expect("news");
        let told: Value = serde_json::from_str(told.get()).expect("JSON");
        let remedy = TroubleKind::NoPeers.remedy();
        let shown = json!({
            "kind": "no_peers", "text": entry.trouble.to_string(), "remedy": remedy, "since": 5,
            "last": 7,
        });
        assert_eq!(told, json!({"event": "began", "trouble": shown}));
        assert!(news(Kind::Gaps, Event::TroubleEnded(entry)).is_none());
    }
}
