//! The methods by name: what each takes, whether it changes something, and what it does.

use super::access::Caller;
use super::params::{Arguments, failed};
use super::recent::{Recent, VERDICTS};
use super::{RpcObserver, blocks, eth, peers, status, subscribe};
use crate::host::{ConnectError, HostHandle, Stopped};
use futures::FutureExt;
use futures::future::BoxFuture;
use jsonrpsee::core::middleware::Extensions;
use jsonrpsee::server::{Methods, RegisterMethodError, ResponsePayload, RpcModule};
use jsonrpsee::types::ErrorObjectOwned;
use opp2p_core::peers::{BlockEntry, PeerCommand};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Large answers that are made or wait to be sent at once.
const LARGE_AT_ONCE: usize = 4;
/// Calls that wait to make one. One more is refused.
const LARGE_WAITING: usize = 64;
/// The same of those that read blocks: web3 clients ask for a hundred at once. Each holds its request.
const BLOCKS_WAITING: usize = 256;
/// The code of that refusal, which is JSON-RPC's for a limit.
const BUSY: i32 = -32005;

/// What the methods work on.
#[derive(Clone, Debug)]
pub(super) struct Rpc {
    pub(super) host: HostHandle,
    pub(super) recent: Recent,
    pub(super) observer: Option<Arc<dyn RpcObserver>>,
    pub(super) eth: eth::Eth,
    large: Places,
    blocks: Places,
}

/// Places for answers that take long or are large, and for those who wait for one.
#[derive(Clone, Debug)]
struct Places {
    places: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

impl Places {
    fn new(waiting: usize) -> Self {
        let [places, waiting] = [LARGE_AT_ONCE, waiting].map(|places| Arc::new(Semaphore::new(places)));
        Self { places, waiting }
    }

    /// A place, unless too many wait for one.
    async fn take(&self) -> Option<OwnedSemaphorePermit> {
        let waiting = self.waiting.try_acquire().ok()?;
        let place = Arc::clone(&self.places).acquire_owned().await.ok();
        drop(waiting);
        place
    }
}

pub(super) type Answer = Result<Box<RawValue>, ErrorObjectOwned>;
pub(super) type Look = fn(&Rpc, &Arguments) -> Answer;
/// Name, most arguments, work.
pub(super) type Method = (&'static str, usize, Work);

/// How a method's answer comes about.
#[derive(Clone, Copy)]
pub(super) enum Work {
    /// A look that takes no time.
    Look(Look),
    /// One that takes long enough to be kept from the other tasks, and whose answer may be megabytes.
    Large(Look),
    /// The same for those who read blocks: however many they are, the operator's answers have places of their own.
    Block(Look),
    /// A change, for those who may make one.
    Change(fn(Rpc, Arguments) -> BoxFuture<'static, Answer>),
}

/// The methods: name, most arguments, work.
const METHODS: [Method; 31] = [
    ("opp2p_self", 0, Work::Look(|rpc, _| raw(&peers::own(&rpc.host)))),
    ("opp2p_peers", 1, Work::Large(|rpc, given| raw(&peers::dump(&rpc.host, given.bool(0)?)))),
    ("opp2p_peerStats", 0, Work::Look(|rpc, _| raw(&peers::stats(&rpc.host)))),
    ("opp2p_peerCount", 0, Work::Look(|rpc, _| raw(&peers::peer_count(&rpc.host)))),
    ("opp2p_discoveryTable", 0, Work::Look(discovery_table)),
    ("opp2p_listBlockedPeers", 0, Work::Look(|rpc, _| raw(&peers::Blocked::look(&rpc.host).peer_names()))),
    ("opp2p_listBlockedAddrs", 0, Work::Look(|rpc, _| raw(&peers::Blocked::look(&rpc.host).ips))),
    ("opp2p_listBlockedSubnets", 0, Work::Look(|rpc, _| raw(&peers::Blocked::look(&rpc.host).subnets))),
    (
        "opp2p_blockPeer",
        1,
        Work::Change(|rpc, given| {
            command(rpc, given.peer(0).map(|peer| PeerCommand::Block(BlockEntry::Peer(peer))))
        }),
    ),
    (
        "opp2p_unblockPeer",
        1,
        Work::Change(|rpc, given| {
            command(rpc, given.peer(0).map(|peer| PeerCommand::Unblock(BlockEntry::Peer(peer))))
        }),
    ),
    (
        "opp2p_blockAddr",
        1,
        Work::Change(|rpc, given| command(rpc, given.ip(0).map(|ip| PeerCommand::Block(BlockEntry::Ip(ip))))),
    ),
    (
        "opp2p_unblockAddr",
        1,
        Work::Change(|rpc, given| {
            command(rpc, given.ip(0).map(|ip| PeerCommand::Unblock(BlockEntry::Ip(ip))))
        }),
    ),
    (
        "opp2p_blockSubnet",
        1,
        Work::Change(|rpc, given| {
            command(rpc, given.subnet(0).map(|subnet| PeerCommand::Block(BlockEntry::Subnet(subnet))))
        }),
    ),
    (
        "opp2p_unblockSubnet",
        1,
        Work::Change(|rpc, given| {
            command(rpc, given.subnet(0).map(|subnet| PeerCommand::Unblock(BlockEntry::Subnet(subnet))))
        }),
    ),
    (
        "opp2p_protectPeer",
        1,
        Work::Change(|rpc, given| command(rpc, given.peer(0).map(|peer| PeerCommand::Protect(peer, true)))),
    ),
    (
        "opp2p_unprotectPeer",
        1,
        Work::Change(|rpc, given| command(rpc, given.peer(0).map(|peer| PeerCommand::Protect(peer, false)))),
    ),
    ("opp2p_publishPayload", 1, Work::Change(blocks::publish)),
    ("admin_postUnsafePayload", 1, Work::Change(blocks::post_unsafe)),
    ("opp2p_connectPeer", 1, Work::Change(connect)),
    (
        "opp2p_disconnectPeer",
        1,
        Work::Change(|rpc, given| command(rpc, given.peer(0).map(PeerCommand::Disconnect))),
    ),
    (
        "opp2p_banPeer",
        2,
        Work::Change(|rpc, given| {
            let wish = given.peer(0).and_then(|peer| Ok(PeerCommand::BanPeer(peer, given.seconds(1)?)));
            command(rpc, wish)
        }),
    ),
    (
        "opp2p_unbanPeer",
        1,
        Work::Change(|rpc, given| command(rpc, given.peer(0).map(PeerCommand::UnbanPeer))),
    ),
    (
        "opp2p_banAddr",
        2,
        Work::Change(|rpc, given| {
            let wish = given.ip(0).and_then(|ip| Ok(PeerCommand::BanIp(ip, given.seconds(1)?)));
            command(rpc, wish)
        }),
    ),
    ("opp2p_unbanAddr", 1, Work::Change(|rpc, given| command(rpc, given.ip(0).map(PeerCommand::UnbanIp)))),
    ("opp2p_bans", 0, Work::Large(|rpc, _| raw(&peers::bans(&rpc.host)))),
    ("opp2p_scoreBook", 0, Work::Large(|rpc, _| raw(&peers::score_book(&rpc.host)))),
    ("opp2p_nodeStatus", 0, Work::Look(|rpc, _| raw(&status::status(&rpc.host, &rpc.recent)))),
    (
        "opp2p_recentVerdicts",
        1,
        Work::Look(|rpc, given| {
            let most = given.number(0)?.map_or(VERDICTS, |most| usize::try_from(most).unwrap_or(VERDICTS));
            raw(&rpc.recent.verdicts(most))
        }),
    ),
    ("optimism_version", 0, Work::Look(|_, _| raw(&env!("CARGO_PKG_VERSION")))),
    ("health_status", 0, Work::Look(|_, _| raw(&env!("CARGO_PKG_VERSION")))),
    ("rpc_modules", 0, Work::Look(|_, _| raw(&MODULES))),
];

/// The names of all methods, subscriptions apart: the values that the label of a metric may have.
pub fn names() -> impl Iterator<Item = &'static str> {
    all().map(|(name, ..)| name)
}

fn all() -> impl Iterator<Item = Method> {
    METHODS.into_iter().chain(eth::METHODS)
}

impl Rpc {
    pub(super) fn new(
        host: HostHandle,
        recent: Recent,
        observer: Option<Arc<dyn RpcObserver>>,
        eth: eth::Eth,
    ) -> Self {
        Self {
            host,
            recent,
            observer,
            eth,
            large: Places::new(LARGE_WAITING),
            blocks: Places::new(BLOCKS_WAITING),
        }
    }

    /// All methods and subscriptions.
    pub(super) fn methods(self) -> Result<Methods, RegisterMethodError> {
        let mut module = RpcModule::new(self);
        for (name, most, work) in all() {
            module.register_async_method(name, move |params, rpc: Arc<Self>, extensions| async move {
                let start = Instant::now();
                let may_change = extensions.get().is_some_and(|caller: &Caller| caller.may_change);
                let (answer, place) = rpc.answer(params.as_str(), most, work, may_change).await;
                if let Some(observer) = &rpc.observer {
                    observer.answered(name, start.elapsed(), answer.is_ok());
                }
                respond(answer, place)
            })?;
        }
        module.register_subscription(
            "opp2p_subscribe",
            "opp2p_subscription",
            "opp2p_unsubscribe",
            |params, pending, rpc, _: Extensions| async move {
                subscribe::serve(params.as_str(), pending, rpc.host.clone()).await
            },
        )?;
        module.register_subscription(
            "eth_subscribe",
            "eth_subscription",
            "eth_unsubscribe",
            |params, pending, rpc, _: Extensions| async move {
                rpc.eth.heads.clone().serve(params.as_str(), pending).await
            },
        )?;
        Ok(module.into())
    }

    async fn answer(
        &self,
        params: Option<&str>,
        most: usize,
        work: Work,
        may_change: bool,
    ) -> (Answer, Option<OwnedSemaphorePermit>) {
        // Who may not change anything does not learn either what a change would look like.
        if matches!(work, Work::Change(_)) && !may_change {
            return (Err(failed(NOT_ALLOWED)), None);
        }
        let given = match Arguments::read(params, most) {
            Ok(given) => given,
            Err(error) => return (Err(error), None),
        };
        match work {
            Work::Look(look) => (look(self, &given), None),
            Work::Change(change) => (change(self.clone(), given).await, None),
            Work::Large(look) => self.apart(&self.large, look, given).await,
            Work::Block(look) => self.apart(&self.blocks, look, given).await,
        }
    }

    /// Has the answer made on a thread that may wait, in its turn.
    async fn apart(
        &self,
        places: &Places,
        look: Look,
        given: Arguments,
    ) -> (Answer, Option<OwnedSemaphorePermit>) {
        let Some(place) = places.take().await else {
            let text = "too many calls with large answers at once: try again";
            return (Err(ErrorObjectOwned::owned(BUSY, text, None::<()>)), None);
        };
        let rpc = self.clone();
        let answer = tokio::task::spawn_blocking(move || look(&rpc, &given)).await;
        (answer.unwrap_or_else(|_| Err(failed("the call failed unexpectedly"))), Some(place))
    }
}

/// The sentence for those who may only look.
const NOT_ALLOWED: &str = "this method changes the node, and you may only look: start the node with \
    --rpc.enable-admin, or with --rpc.token.path and send its token as Authorization: Bearer TOKEN";

/// What a JSON-RPC client may ask before it begins.
const MODULES: Modules = Modules {
    admin: "1.0",
    eth: "1.0",
    health: "1.0",
    net: "1.0",
    opp2p: "1.0",
    optimism: "1.0",
    rpc: "1.0",
    web3: "1.0",
};

#[derive(Serialize)]
struct Modules {
    admin: &'static str,
    eth: &'static str,
    health: &'static str,
    net: &'static str,
    opp2p: &'static str,
    optimism: &'static str,
    rpc: &'static str,
    web3: &'static str,
}

pub(super) fn raw(value: &impl Serialize) -> Answer {
    to_raw_value(value).map_err(failed)
}

/// A large answer keeps its place until it is on its way.
fn respond(answer: Answer, place: Option<OwnedSemaphorePermit>) -> ResponsePayload<'static, Box<RawValue>> {
    let payload = match answer {
        Ok(value) => ResponsePayload::success(value),
        Err(error) => ResponsePayload::error(error),
    };
    let Some(place) = place else { return payload };
    let (payload, sent) = payload.notify_on_completion();
    tokio::spawn(async move {
        // That it can't be sent is as good.
        let _ = sent.await;
        drop(place);
    });
    payload
}

fn discovery_table(rpc: &Rpc, _: &Arguments) -> Answer {
    match rpc.host.discovery_table() {
        Some(table) => raw(&table),
        None => Err(failed("discovery disabled")),
    }
}

fn command(rpc: Rpc, wish: Result<PeerCommand, ErrorObjectOwned>) -> BoxFuture<'static, Answer> {
    async move {
        rpc.host.command(wish?).await.map_err(stopped)?.map_err(failed)?;
        raw(&())
    }
    .boxed()
}

fn connect(rpc: Rpc, given: Arguments) -> BoxFuture<'static, Answer> {
    async move {
        let connected = rpc.host.connect(given.address(0)?).await.map_err(stopped)?;
        connected.map_err(|error| match error {
            ConnectError::NoPeerId(_) => failed(format_args!("bad peer address: {error}")),
            ConnectError::Failed(_) | ConnectError::Timeout => {
                failed(format_args!("failed to dial: {error}"))
            }
        })?;
        raw(&())
    }
    .boxed()
}

pub(super) fn stopped(error: Stopped) -> ErrorObjectOwned {
    failed(error)
}
