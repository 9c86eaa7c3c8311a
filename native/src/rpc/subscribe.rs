//! `opp2p_subscribe`: the next blocks of the chain, its reorgs, its gaps, as they come; and the feed, from any block on.

use super::params::{Arguments, wrong};
use super::types::{GapNews, HeadInfo, Id, ReorgInfo};
use crate::feed::{FollowError, Follower, json};
use crate::host::{HostEvent, HostEventKind, HostHandle};
use jsonrpsee::server::{
    IdProvider, PendingSubscriptionSink, RandomIntegerIdProvider, SubscriptionCloseResponse, SubscriptionSink,
};
use jsonrpsee::types::{ErrorObjectOwned, SubscriptionId};
use opp2p_core::chain::{BlockId, ChainEvent};
use opp2p_core::feed::{Position, Tip};
use opp2p_core::node::Event;
use opp2p_core::payload::Block;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;

/// How long a subscriber may take none of what is sent to it.
pub(super) const SEND_TIME: Duration = Duration::from_secs(10);

/// Names subscriptions as geth does, by hexadecimal text, since clients in Go take no number.
#[derive(Debug)]
pub(super) struct Names;

impl IdProvider for Names {
    fn next_id(&self) -> SubscriptionId<'static> {
        match RandomIntegerIdProvider.next_id() {
            SubscriptionId::Num(number) => SubscriptionId::Str(format!("{number:#x}").into()),
            text => text,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Heads,
    Reorgs,
    Gaps,
    /// From this position on, or from the next block.
    Feed(Option<Position>),
}

/// The second argument of a feed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
enum Begin {
    /// With the block of this number.
    From(u64),
    /// With what follows this block.
    After(Id),
}

fn kind(params: Option<&str>) -> Result<Kind, ErrorObjectOwned> {
    let arguments = Arguments::read(params, 2)?;
    let kind = match arguments.word(0)? {
        "heads" => Kind::Heads,
        "reorgs" => Kind::Reorgs,
        "gaps" => Kind::Gaps,
        "feed" => {
            let begin = arguments.optional(1).map(Begin::deserialize).transpose();
            let begin = begin.map_err(|_| {
                wrong(1, r#"use {"from": NUMBER} or {"after": {"number": NUMBER, "hash": HASH}}"#)
            })?;
            return Ok(Kind::Feed(begin.map(|begin| match begin {
                Begin::From(number) => Position::Start { from: Some(number) },
                Begin::After(id) => Position::At(Tip::new(BlockId::new(id.number, id.hash))),
            })));
        }
        _ => return Err(wrong(0, "subscribe to heads, reorgs, gaps or feed")),
    };
    // Only a feed takes another argument.
    Arguments::read(params, 1)?;
    Ok(kind)
}

/// Serves a feed to its end. Nobody falls behind: what is not read yet waits in the store.
async fn feed(sink: &SubscriptionSink, mut follower: Follower) -> SubscriptionCloseResponse {
    loop {
        let events = tokio::select! {
            events = follower.next() => events,
            () = sink.closed() => return SubscriptionCloseResponse::None,
        };
        let events = match events {
            Ok(events) => events,
            Err(FollowError::Stopped) => {
                return SubscriptionCloseResponse::NotifErr("the node has stopped".into());
            }
            Err(error) => return SubscriptionCloseResponse::NotifErr(error.to_string().into()),
        };
        for event in events {
            let Ok(line) = RawValue::from_string(json(&event)) else { continue };
            if sink.send_timeout(line, SEND_TIME).await.is_err() {
                return SubscriptionCloseResponse::None;
            }
        }
    }
}

/// Serves one subscription to its end. Who falls behind by more events than the node keeps, or reads nothing for
/// [`SEND_TIME`], is told so and has to subscribe again.
pub(super) async fn serve(
    params: Option<&str>,
    pending: PendingSubscriptionSink,
    host: HostHandle,
) -> SubscriptionCloseResponse {
    let kind = match kind(params) {
        Ok(kind) => kind,
        Err(error) => {
            pending.reject(error).await;
            return SubscriptionCloseResponse::None;
        }
    };
    if let Kind::Feed(position) = kind {
        // Before the answer, so that nothing that comes after it is missed.
        let follower = Follower::new(host, position);
        let Ok(sink) = pending.accept().await else { return SubscriptionCloseResponse::None };
        return feed(&sink, follower).await;
    }
    // Before the answer too.
    let mut events = host.events();
    let Ok(sink) = pending.accept().await else { return SubscriptionCloseResponse::None };
    loop {
        let event = tokio::select! {
            event = events.recv() => event,
            () = sink.closed() => return SubscriptionCloseResponse::None,
        };
        let news = match event {
            Ok(HostEvent { kind: HostEventKind::Core(Event::Chain(event)), .. }) => news(kind, event),
            Ok(_) => None,
            Err(RecvError::Lagged(missed)) => {
                let text = format!("{missed} events were missed: subscribe again");
                return SubscriptionCloseResponse::NotifErr(text.into());
            }
            Err(RecvError::Closed) => {
                return SubscriptionCloseResponse::NotifErr("the node has stopped".into());
            }
        };
        if let Some(news) = news
            && sink.send_timeout(news, SEND_TIME).await.is_err()
        {
            return SubscriptionCloseResponse::None;
        }
    }
}

/// What a subscriber of this kind is told of an event.
fn news(kind: Kind, event: ChainEvent<Block>) -> Option<Box<RawValue>> {
    match (kind, event) {
        (Kind::Heads, ChainEvent::Extended(block)) => raw(&HeadInfo::of(&block)),
        (Kind::Reorgs, ChainEvent::Reorg { ancestor, abandoned, adopted }) => {
            let ids = |list: Vec<opp2p_core::chain::BlockId>| list.into_iter().map(Into::into).collect();
            raw(&ReorgInfo { ancestor: ancestor.into(), abandoned: ids(abandoned), adopted: ids(adopted) })
        }
        (Kind::Gaps, ChainEvent::GapOpened(gap)) => raw(&GapNews::Opened(gap.into())),
        (Kind::Gaps, ChainEvent::GapChanged(gap)) => raw(&GapNews::Changed(gap.into())),
        (Kind::Gaps, ChainEvent::GapClosed { id, .. }) => raw(&GapNews::Closed { id: id.number() }),
        (Kind::Gaps, ChainEvent::Skipped { from, to, .. }) => {
            raw(&GapNews::Skipped { from: from.into(), to: to.into() })
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
    use serde_json::{Value, json};

    #[test]
    fn four_kinds_are_known() {
        assert_eq!(kind(Some(r#"["heads"]"#)), Ok(Kind::Heads));
        assert_eq!(kind(Some(r#"["reorgs"]"#)), Ok(Kind::Reorgs));
        assert_eq!(kind(Some(r#"["gaps"]"#)), Ok(Kind::Gaps));
        assert_eq!(kind(Some(r#"["feed"]"#)), Ok(Kind::Feed(None)));
        let from = Position::Start { from: Some(7) };
        assert_eq!(kind(Some(r#"["feed",{"from":7}]"#)), Ok(Kind::Feed(Some(from))));
        let id = BlockId::new(6, [6; 32].into());
        let after = format!(r#"["feed",{{"after":{{"number":6,"hash":"{}"}}}}]"#, id.hash);
        assert_eq!(kind(Some(&after)), Ok(Kind::Feed(Some(Position::At(Tip::new(id))))));
        for wrong in [r#"["feed",7]"#, r#"["feed",{"from":-1}]"#, r#"["feed",{}]"#, r#"["feed",{"after":6}]"#]
        {
            assert_eq!(kind(Some(wrong)).unwrap_err().code(), -32602, "{wrong}");
        }
        for wrong in [None, Some("[]"), Some("[7]"), Some(r#"["head"]"#), Some(r#"["heads","gaps"]"#)] {
            assert_eq!(kind(wrong).unwrap_err().code(), -32602, "{wrong:?}");
        }
    }

    #[test]
    fn news_have_their_shapes_and_go_to_those_who_asked_for_them() {
        let id = |number: u8| BlockId::new(number.into(), [number; 32].into());
        let shown = |number: u8| json!({"number": number, "hash": format!("0x{}", format!("{number:02x}").repeat(32))});
        let value =
            |kind, event| news(kind, event).map(|raw| serde_json::from_str::<Value>(raw.get()).unwrap());
        let reorg =
            || ChainEvent::Reorg { ancestor: id(1), abandoned: vec![id(2)], adopted: vec![id(3), id(4)] };
        let expected =
            json!({"ancestor": shown(1), "abandoned": [shown(2)], "adopted": [shown(3), shown(4)]});
        assert_eq!(value(Kind::Reorgs, reorg()), Some(expected));
        assert_eq!(value(Kind::Heads, reorg()), None);
        assert_eq!(value(Kind::Gaps, reorg()), None);
        let skipped = ChainEvent::Skipped { from: id(1), to: id(9), reason: SkipReason::Patience };
        let expected = json!({"event": "skipped", "from": shown(1), "to": shown(9)});
        assert_eq!(value(Kind::Gaps, skipped), Some(expected));
    }
}
