//! Nodes of kona: its own p2p crate, in the program of the folder `kona`.
//!
//! The newest of it that the registry has is 0.1.2, of the summer of 2025. Where it differs from the reference we are
//! on the reference's side, and what it does is asserted here, so that a newer one that does better is noticed.

use crate::foreign::{self, Foreign};
use crate::gossip::{NARROW, parted};
use crate::op_node::{OpNode, OpNodes, Setup, encoded};
use crate::ours::{self, PATIENCE, chain, chain_of, config, message, padded, signed, until, verdict};
use crate::stranger::Stranger;
use crate::verdicts::bad_messages;
use alloy_primitives::{Address, B256, U256, hex};
use libp2p::{Multiaddr, PeerId};
use opp2p::devnet::{BlockMaker, unix_seconds};
use opp2p::discovery::DiscoveryConfig;
use opp2p::host::{Host, HostConfig, HostEventKind};
use opp2p::swarm::from_libp2p;
use opp2p_core::chain::{ChainConfig, Fork, ForkSchedule};
use opp2p_core::discovery::PaceConfig;
use opp2p_core::fixtures;
use opp2p_core::gossip::{
    MAX_MESSAGE_SIZE, Reason, Rules, SIGNATURE_SIZE, SeenBlocks, Signers, TIMESTAMP_THRESHOLD, Unpacked,
    block_topic, validate,
};
use opp2p_core::node::Event;
use opp2p_core::payload::{Envelope, PayloadVersion, Withdrawal, snappy};
use opp2p_core::sequencer::LocalSigner;
use opp2p_core::sync::{AnswerError, RequestFailure, SyncEvent};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::process::Command;
use tokio::sync::broadcast;
use tokio::time::{sleep, timeout};

/// How often is looked for what takes a moment.
const LOOK: Duration = Duration::from_millis(50);

/// The program, if it is built.
pub(crate) fn program() -> Option<PathBuf> {
    let name = format!("kona{}", std::env::consts::EXE_SUFFIX);
    foreign::programs().map(|folder| folder.join(name)).filter(|program| program.exists())
}

/// A process in which nodes of kona run.
#[derive(Clone, Debug)]
struct Konas(Arc<Foreign>);

/// What a node is started with, beside its chain.
#[derive(Debug, Default)]
struct Start {
    /// Whose blocks it takes, if not the chain's signer's.
    signer: Option<Address>,
    /// Whether it scores by topic, which kona's node does only if it is told to.
    topic_scores: bool,
    /// Whether it scores nobody.
    scoreless: bool,
    /// The most peers that it has in a mesh, if not as many as everybody.
    mesh: Option<usize>,
    /// Whom to ask for peers, and the folder where it remembers them; `None`: it looks for nobody.
    discovery: Option<(Vec<String>, PathBuf)>,
}

/// A running node of kona.
#[derive(Debug)]
struct Kona {
    konas: Konas,
    number: u64,
    id: PeerId,
    address: Multiaddr,
    enr: Option<String>,
}

#[derive(Deserialize)]
struct Started {
    node: u64,
    peer_id: String,
    addresses: Vec<Multiaddr>,
    enr: Option<String>,
}

/// What a node of kona knows of somebody who is connected.
#[derive(Debug, Deserialize)]
struct Peer {
    agent: Option<String>,
    protocols: Option<Vec<String>>,
    topics: Vec<String>,
    score: Option<f64>,
    /// The time that a ping took, in seconds.
    ping: Option<f64>,
}

/// A block as kona published it.
#[derive(Debug, Deserialize)]
struct Published {
    hash: B256,
    topic: String,
    /// The message's id.
    id: String,
}

/// What kona's validator says of a message, and why.
#[derive(Debug, Deserialize)]
struct Judged {
    verdict: String,
    why: String,
}

/// What a node of kona made of a message that came.
#[derive(Debug, Deserialize)]
struct Told {
    event: String,
    from: String,
    topic: String,
    hash: Option<B256>,
}

impl Konas {
    fn start() -> Self {
        let program = program().expect("main has looked");
        Self(Arc::new(Foreign::start("kona", &mut Command::new(program))))
    }

    async fn call<R: DeserializeOwned>(&self, method: &str, params: Value) -> R {
        let answer = self.0.call(method, params).await;
        serde_json::from_value(answer.clone())
            .unwrap_or_else(|error| panic!("kona answers to {method}: {answer}: {error}"))
    }

    async fn node(&self, chain: &ChainConfig, start: Start) -> Kona {
        let params = json!({
            "rollup": rollup(chain), "key": hex::encode(ours::SIGNER), "topic_scores": start.topic_scores,
            "scores": !start.scoreless,
            "signer": start.signer.or(chain.unsafe_block_signer).unwrap_or_default(),
            "mesh": start.mesh,
            "discovery": start.discovery.map(|(bootnodes, store)| json!({ "bootnodes": bootnodes, "store": store })),
        });
        let started: Started = self.call("start", params).await;
        Kona {
            konas: self.clone(),
            number: started.node,
            id: started.peer_id.parse().unwrap(),
            address: started.addresses.into_iter().next().expect("it listens"),
            enr: started.enr,
        }
    }

    /// What its validator says of messages, one after another.
    async fn judge(
        &self,
        chain: &ChainConfig,
        signer: Address,
        version: PayloadVersion,
        messages: &[Vec<u8>],
    ) -> Vec<Judged> {
        let messages: Vec<String> = messages.iter().map(hex::encode).collect();
        let params = json!({
            "rollup": rollup(chain), "signer": signer, "version": version.index(), "messages": messages,
        });
        self.call("judge", params).await
    }
}

fn rollup(chain: &ChainConfig) -> Value {
    serde_json::from_str(&chain.to_rollup_json()).unwrap()
}

impl Kona {
    async fn call<R: DeserializeOwned>(&self, method: &str, mut params: Value) -> R {
        params["node"] = self.number.into();
        self.konas.call(method, params).await
    }

    async fn connect(&self, address: &Multiaddr) {
        let _: Value = self.call("connect", json!({ "address": address })).await;
    }

    async fn publish(&self, block: &Envelope) -> Published {
        self.call("publish", json!({ "block": encoded(block) })).await
    }

    /// What it knows of a peer, once that is as wanted.
    async fn peer(&self, id: &PeerId, wanted: impl Fn(&Peer) -> bool) -> Peer {
        let known = async {
            loop {
                let mut peers: BTreeMap<String, Peer> = self.call("peers", json!({})).await;
                match peers.remove(&id.to_string()) {
                    Some(peer) if wanted(&peer) => break peer,
                    _ => sleep(LOOK).await,
                }
            }
        };
        timeout(PATIENCE, known).await.expect("kona knows the peer in time")
    }

    async fn score(&self, id: &PeerId) -> f64 {
        self.peer(id, |_| true).await.score.expect("kona scores its peers")
    }

    /// Waits until there are so many in its mesh of the version's topic.
    async fn meshed(&self, chain: &ChainConfig, version: PayloadVersion, size: usize) -> Vec<String> {
        let topic = block_topic(chain.chain_id, version);
        let meshed = async {
            loop {
                let mut meshes: BTreeMap<String, Vec<String>> = self.call("meshed", json!({})).await;
                match meshes.remove(&topic) {
                    Some(mesh) if mesh.len() >= size => break mesh,
                    _ => sleep(LOOK).await,
                }
            }
        };
        timeout(PATIENCE, meshed).await.expect("kona fills its mesh in time")
    }

    /// What it makes of messages from now on.
    fn heard(&self) -> Heard {
        Heard { number: self.number, events: self.konas.0.events() }
    }

    async fn stop(self) {
        let _: Value = self.call("stop", json!({})).await;
    }
}

/// What one node makes of messages.
struct Heard {
    number: u64,
    events: broadcast::Receiver<Value>,
}

impl Heard {
    async fn next(&mut self) -> Told {
        let next = async {
            loop {
                let event = self.events.recv().await.expect("kona runs, and its events are read in time");
                if event["node"] == self.number {
                    break serde_json::from_value(event).unwrap();
                }
            }
        };
        timeout(PATIENCE, next).await.expect("kona judges a message in time")
    }
}

/// The block as if it were made now: kona has no setting for how old a block may be.
fn of_now(mut block: Envelope) -> Envelope {
    block.payload.timestamp = unix_seconds();
    block.payload.seal(block.parent_beacon_block_root).unwrap();
    block
}

/// The block with its transactions again and again, up to about this many bytes: kona reads each of them.
fn grown(mut block: Envelope, bytes: usize) -> Envelope {
    let once = block.payload.transactions.clone();
    let size: usize = once.iter().map(|transaction| transaction.len() + 4).sum();
    block.payload.transactions =
        once.iter().cycle().take(once.len() * bytes.div_ceil(size)).cloned().collect();
    block.payload.seal(block.parent_beacon_block_root).unwrap();
    block
}

/// Blocks of the version, all of now: those that are bundled, one made up, and a large one.
fn blocks(chain: &ChainConfig, version: PayloadVersion) -> Vec<Envelope> {
    let real = fixtures::blocks().into_iter().filter(|block| block.version == version);
    let messages = fixtures::messages().into_iter().filter(|message| message.version == version);
    let messages = messages.map(|message| {
        let contents = snappy::decompress(&message.data, MAX_MESSAGE_SIZE, 0).unwrap();
        Envelope::decode(version, &contents[SIGNATURE_SIZE..]).unwrap()
    });
    let mut maker = BlockMaker::new(chain, 20);
    let made = [maker.next(unix_seconds()), grown(maker.next(unix_seconds()), 1 << 20)];
    real.map(|block| block.envelope).chain(messages).map(of_now).chain(made).collect()
}

/// A node of kona and one of ours in each other's mesh.
async fn pair(
    konas: &Konas,
    directory: &tempfile::TempDir,
    chain: &ChainConfig,
    version: PayloadVersion,
) -> (Kona, Host) {
    let theirs = konas.node(chain, Start::default()).await;
    let ours = HostConfig {
        static_peers: vec![theirs.address.clone()],
        sequencer: Some(ours::signer().into()),
        ..config(directory, chain)
    };
    let ours = Host::start(ours).await.unwrap();
    until(&ours, |status| status.mesh == 1).await;
    theirs.meshed(chain, version, 1).await;
    (theirs, ours)
}

fn our_score(host: &Host, peer: &PeerId) -> f64 {
    host.peers(|peers, now| peers.score(now, &from_libp2p(peer).unwrap()))
}

pub(crate) async fn every_version_of_ours_is_taken() {
    let (konas, directory) = (Konas::start(), tempfile::tempdir().unwrap());
    for version in PayloadVersion::ALL {
        let chain = chain_of(version);
        let (theirs, ours) = pair(&konas, &directory, &chain, version).await;
        let mut heard = theirs.heard();
        for block in blocks(&chain, version) {
            let hash = ours.publish(block).await.unwrap().unwrap();
            let told = heard.next().await;
            assert_eq!((told.event.as_str(), told.hash), ("block", Some(hash)), "{version:?}");
            assert_eq!((told.from, told.topic), (ours.peer_id().to_string(), block_topic(901, version)));
        }
        assert!(theirs.score(&ours.peer_id()).await >= 0.0);
        theirs.stop().await;
        ours.stop().await;
    }
}

pub(crate) async fn every_version_of_theirs_is_taken() {
    let (konas, directory) = (Konas::start(), tempfile::tempdir().unwrap());
    for version in PayloadVersion::ALL {
        let chain = chain_of(version);
        let (theirs, ours) = pair(&konas, &directory, &chain, version).await;
        let mut events = ours.events();
        for block in blocks(&chain, version) {
            let published = theirs.publish(&block).await;
            assert_eq!(
                (published.hash, published.topic),
                (block.payload.block_hash, block_topic(901, version))
            );
            assert_eq!(verdict(&mut events).await.map(|block| block.hash), Ok(published.hash), "{version:?}");
        }
        assert!(our_score(&ours, &theirs.id) >= 0.0);
        theirs.stop().await;
        ours.stop().await;
    }
}

pub(crate) async fn each_says_who_it_is_and_answers_pings() {
    let (chain, directory) = (chain_of(PayloadVersion::V4), tempfile::tempdir().unwrap());
    let theirs = Konas::start().node(&chain, Start::default()).await;
    let ours = Host::start(config(&directory, &chain)).await.unwrap();
    let mut events = ours.events();
    theirs.connect(&ours.address()).await;
    let identified = async {
        loop {
            if let HostEventKind::Identified { peer, agent } = events.recv().await.unwrap().kind {
                break (peer, agent);
            }
        }
    };
    let identified = timeout(PATIENCE, identified).await.expect("kona says who it is");
    assert_eq!(identified, (theirs.id, "kona".to_owned()));

    let known = theirs.peer(&ours.peer_id(), |peer| peer.agent.is_some() && peer.ping.is_some()).await;
    assert_eq!(known.agent.as_deref(), Some(ours.agent()));
    let mut protocols = known.protocols.unwrap();
    let mut all = ours.protocols().to_vec();
    protocols.sort();
    all.sort();
    assert_eq!(protocols, all);
    let topics =
        theirs.peer(&ours.peer_id(), |peer| peer.topics.len() == PayloadVersion::ALL.len()).await.topics;
    assert!(PayloadVersion::ALL.into_iter().all(|version| topics.contains(&block_topic(901, version))));
    ours.stop().await;
}

pub(crate) async fn each_refuses_what_a_stranger_signed() {
    let (version, directory) = (PayloadVersion::V4, tempfile::tempdir().unwrap());
    let chain = chain_of(version);
    let konas = Konas::start();
    let mut maker = BlockMaker::new(&chain, 1);

    // One who knows another sequencer than ours does, each way.
    let other = LocalSigner::from_bytes(&[8; 32]).unwrap().address();
    let theirs =
        konas.node(&chain, Start { signer: Some(other), topic_scores: true, ..Start::default() }).await;
    let sequencer = Some(ours::signer().into());
    let static_peers = vec![theirs.address.clone()];
    let ours =
        Host::start(HostConfig { sequencer, static_peers, ..config(&directory, &chain) }).await.unwrap();
    until(&ours, |status| status.mesh == 1).await;
    theirs.meshed(&chain, version, 1).await;
    let mut heard = theirs.heard();
    ours.publish(maker.next(unix_seconds())).await.unwrap().unwrap();
    let told = heard.next().await;
    assert_eq!((told.event.as_str(), told.from), ("refused", ours.peer_id().to_string()));
    theirs.peer(&ours.peer_id(), |peer| peer.score.is_some_and(|score| score < 0.0)).await;
    ours.stop().await;
    theirs.stop().await;

    let theirs = konas.node(&chain, Start::default()).await;
    let static_peers = vec![theirs.address.clone()];
    let ours = HostConfig { signer: Some(other), static_peers, ..config(&directory, &chain) };
    let ours = Host::start(ours).await.unwrap();
    until(&ours, |status| status.mesh == 1).await;
    theirs.meshed(&chain, version, 1).await;
    let mut events = ours.events();
    theirs.publish(&maker.next(unix_seconds())).await;
    assert_eq!(verdict(&mut events).await, Err(Reason::WrongSigner));
    ours.stop().await;
}

pub(crate) async fn they_refuse_what_we_refuse() {
    let version = PayloadVersion::V4;
    let chain = chain_of(version);
    let topic = block_topic(chain.chain_id, version);
    let theirs = Konas::start().node(&chain, Start::default()).await;
    let mut heard = theirs.heard();
    for (what, data, _) in bad_messages(&chain) {
        // Whatever it decompresses to, kona reads it.
        if what == "oversized" {
            continue;
        }
        let stranger = Stranger::meet(&theirs.address, &topic).await;
        stranger.send(data);
        let told = heard.next().await;
        assert_eq!((told.event.as_str(), told.from), ("refused", stranger.id.to_string()), "{what}");
    }
    let stranger = Stranger::meet(&theirs.address, &topic).await;
    let block = BlockMaker::new(&chain, 9).next(unix_seconds());
    stranger.send(message(&chain, &block));
    assert_eq!(heard.next().await.hash, Some(block.payload.block_hash));
}

/// Our validator with its memory.
struct Ours {
    rules: Rules,
    seen: SeenBlocks,
}

impl Ours {
    fn new(chain: &ChainConfig, signer: Address) -> Self {
        let current = Some(signer).filter(|signer| !signer.is_zero());
        let rules = Rules {
            chain_id: chain.chain_id,
            forks: chain.forks,
            signers: Signers { current, previous: None },
            timestamp_threshold: TIMESTAMP_THRESHOLD,
        };
        Self { rules, seen: SeenBlocks::default() }
    }

    fn judge(&mut self, version: PayloadVersion, data: &[u8]) -> Result<(), Reason> {
        let block = validate(&self.rules, version, Unpacked::new(data), unix_seconds())?.block;
        self.seen.admit(version, block.number(), block.hash())
    }
}

fn word(verdict: &Result<(), Reason>) -> &'static str {
    match verdict {
        Ok(()) => "accept",
        Err(reason) => reason.acceptance().name(),
    }
}

/// Numbers without end that are the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.roll() % end as u64) as usize
    }

    fn hash(&mut self) -> B256 {
        B256::from_slice(&[(); 4].map(|()| self.roll().to_be_bytes()).concat())
    }
}

/// The block with one field changed, and its hash true again.
fn changed(mut block: Envelope, dice: &mut Dice) -> Envelope {
    let payload = &mut block.payload;
    match dice.below(16) {
        0 => payload.parent_hash = dice.hash(),
        1 => payload.state_root = dice.hash(),
        2 => payload.block_number = dice.roll() >> 1,
        3 => payload.gas_limit = dice.roll(),
        4 => payload.gas_used = dice.roll(),
        5 => payload.timestamp = payload.timestamp - 40 + dice.roll() % 43,
        6 => payload.timestamp = dice.roll() >> dice.below(64),
        7 => payload.extra_data = dice.hash()[..dice.below(33)].to_vec().into(),
        8 => payload.base_fee_per_gas = U256::from(dice.roll() >> dice.below(64)),
        9 => payload.transactions.clear(),
        10 => payload.transactions.truncate(1),
        11 if payload.blob_gas_used.is_some() => payload.blob_gas_used = Some(dice.roll()),
        12 if payload.excess_blob_gas.is_some() => payload.excess_blob_gas = Some(dice.roll()),
        13 if payload.withdrawals.is_some() => payload.withdrawals = Some(vec![Withdrawal::default()]),
        14 if payload.withdrawals_root.is_some() => payload.withdrawals_root = Some(dice.hash()),
        15 if block.parent_beacon_block_root.is_some() => block.parent_beacon_block_root = Some(B256::ZERO),
        _ => payload.prev_randao = dice.hash(),
    }
    block.payload.seal(block.parent_beacon_block_root).unwrap();
    block
}

/// Messages of the version, good ones and others, with what each is.
fn samples(chain: &ChainConfig, version: PayloadVersion, dice: &mut Dice) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for (at, block) in blocks(chain, version).iter().enumerate() {
        let message = message(chain, block);
        all.push((format!("block {at}"), message.clone()));
        all.push((format!("block {at} again"), message));
    }
    for (what, data, _) in bad_messages(chain) {
        if what != "oversized" {
            all.push((what.to_owned(), data));
        }
    }
    let mut maker = BlockMaker::new(chain, 21);
    let block = maker.next(unix_seconds());
    for at in 0..8 {
        let mut other = block.clone();
        other.payload.gas_used -= at;
        other.payload.seal(other.parent_beacon_block_root).unwrap();
        all.push((format!("number {at} of one height"), message(chain, &other)));
    }
    for at in 0..100 {
        let block = changed(maker.next(unix_seconds()), dice);
        all.push((format!("change {at}: {}", block.payload.block_hash), message(chain, &block)));
    }
    // Anything anywhere: in the head, where the layout is, and in the signature now and then.
    for at in 0..200 {
        let block = maker.next(unix_seconds());
        let mut body = Vec::new();
        block.encode(&mut body).unwrap();
        let end = if dice.below(2) == 0 { body.len().min(600) } else { body.len() };
        match dice.below(4) {
            0 => body.truncate(dice.below(body.len())),
            1 => body.insert(dice.below(end), dice.roll() as u8),
            _ => body[dice.below(end)] ^= 1 << dice.below(8),
        }
        let message = snappy::compress(&ours::signed_bytes(chain, &body));
        all.push((format!("damage {at}"), message));
    }
    all
}

pub(crate) async fn its_validator_and_ours_agree() {
    let konas = Konas::start();
    let mut dice = Dice(1);
    for version in PayloadVersion::ALL {
        let chain = chain_of(version);
        let signer = ours::signer().address();
        let (names, messages): (Vec<_>, Vec<_>) = samples(&chain, version, &mut dice).into_iter().unzip();
        let mut ours = Ours::new(&chain, signer);
        let ours: Vec<_> = messages.iter().map(|message| ours.judge(version, message)).collect();
        let theirs = konas.judge(&chain, signer, version, &messages).await;
        assert_eq!(theirs.len(), ours.len());
        let differing: Vec<_> = names.iter().zip(ours.iter().zip(&theirs)).collect();
        let differing: Vec<_> =
            differing.iter().filter(|(_, (ours, theirs))| word(ours) != theirs.verdict).collect();
        assert!(differing.is_empty(), "{version:?}: {differing:?}");
        let accepted = ours.iter().filter(|verdict| verdict.is_ok()).count();
        assert!((40..ours.len() - 100).contains(&accepted), "{accepted} of {} are accepted", ours.len());
    }
}

/// What kona's validator says otherwise than ours, which says what the reference's does.
struct Difference {
    what: &'static str,
    chain: ChainConfig,
    signer: Address,
    version: PayloadVersion,
    /// What comes before, and the message that it is about.
    messages: Vec<Vec<u8>>,
    ours: Result<(), Reason>,
    /// Kona's word, and what it says in words.
    theirs: (&'static str, &'static str),
}

fn differences() -> Vec<Difference> {
    let version = PayloadVersion::V4;
    let chain = chain_of(version);
    let signer = ours::signer().address();
    let good = BlockMaker::new(&chain, 30).next(unix_seconds());
    let one = |what, data: Vec<u8>, ours, theirs| Difference {
        what,
        chain: chain.clone(),
        signer,
        version,
        messages: vec![data],
        ours,
        theirs,
    };
    let with = |change: fn(&mut Envelope)| {
        let mut block = good.clone();
        change(&mut block);
        block.payload.seal(block.parent_beacon_block_root).unwrap();
        message(&chain, &block)
    };
    let ending = |add: u8| {
        let mut contents = signed(&chain, &good);
        contents[SIGNATURE_SIZE - 1] += add;
        snappy::compress(&contents)
    };
    let mut forged = signed(&chain, &good);
    forged[..SIGNATURE_SIZE].copy_from_slice(&LocalSigner::from_bytes(&[8; 32]).unwrap().sign(&B256::ZERO));

    let of = |version| BlockMaker::new(&chain_of(version), 31).next(unix_seconds());
    let jovian = self::chain(ForkSchedule::up_to(Fork::Jovian));
    let mut footprint = BlockMaker::new(&jovian, 32).next(unix_seconds());
    footprint.payload.blob_gas_used = Some(40_000);
    footprint.payload.seal(footprint.parent_beacon_block_root).unwrap();

    vec![
        // The signature's last byte is 0 or 1. Kona reads it as Ethereum's transactions have it, so that each of its
        // blocks travels in many forms.
        one("a last byte of 27", ending(27), Err(Reason::Signature), ("accept", "")),
        one("a last byte of 35", ending(35), Err(Reason::Signature), ("accept", "")),
        // A sequencer that is not known yet is nobody's fault.
        Difference {
            signer: Address::ZERO,
            ..one("no signer", message(&chain, &good), Err(Reason::NoSigner), ("reject", "Invalid signer"))
        },
        // Kona looks for repeats before it looks at the signature.
        Difference {
            messages: vec![message(&chain, &good), snappy::compress(&forged)],
            ..one("a repeat by another", vec![], Err(Reason::WrongSigner), ("ignore", "Block seen before"))
        },
        // What it decompresses to has no end.
        one(
            "more than 10 MiB",
            message(&chain, &grown(good.clone(), MAX_MESSAGE_SIZE)),
            Err(Reason::AnnouncedTooLong),
            ("accept", ""),
        ),
        // In the reference such a number is negative.
        one(
            "a number of 2^63",
            with(|block| block.payload.block_number = 1 << 63),
            Err(Reason::BlockHash),
            ("accept", ""),
        ),
        // The reference hashes transactions without reading them, and kona reads every one.
        one("no transaction", message(&chain, &padded(good.clone(), 100)), Ok(()), ("reject", "unexpected")),
        // A field of 256 bits, of which kona takes 64.
        one(
            "a base fee of 2^64",
            with(|block| block.payload.base_fee_per_gas = U256::from(1) << 64),
            Ok(()),
            ("reject", "base fee"),
        ),
        // This kona is older than Jovian's footprint.
        Difference {
            chain: jovian.clone(),
            ..one("Jovian", message(&jovian, &footprint), Ok(()), ("reject", "non-zero blob gas used"))
        },
        // Requests are part of the hash by the fork's time in kona, by the payload's version in the reference.
        Difference {
            chain: chain_of(PayloadVersion::V3),
            ..one("v4 before Isthmus", message(&chain, &good), Ok(()), ("reject", "Invalid block hash"))
        },
        Difference {
            version: PayloadVersion::V3,
            ..one(
                "v3 after Isthmus",
                message(&chain, &of(PayloadVersion::V3)),
                Ok(()),
                ("reject", "Invalid block hash"),
            )
        },
    ]
}

pub(crate) async fn its_validator_differs_from_the_references_as_is_known() {
    let (konas, nodes) = (Konas::start(), OpNodes::start());
    for Difference { what, chain, signer, version, messages, ours, theirs } in differences() {
        let mut validator = Ours::new(&chain, signer);
        let our = messages.iter().map(|message| validator.judge(version, message)).next_back().unwrap();
        assert_eq!(our, ours, "{what}");

        let kona = konas.judge(&chain, signer, version, &messages).await.pop().unwrap();
        assert_eq!(kona.verdict, theirs.0, "{what}: {}", kona.why);
        let why = kona.why.to_lowercase();
        assert!(
            why.contains(&theirs.1.to_lowercase()) && why.is_empty() == theirs.1.is_empty(),
            "{what}: {why}"
        );

        let params = json!({
            "rollup": rollup(&chain), "signer": signer, "previous": Address::ZERO, "version": version.index(),
            "now": unix_seconds(), "threshold": TIMESTAMP_THRESHOLD.as_secs(),
            "messages": messages.iter().map(hex::encode).collect::<Vec<_>>(),
        });
        let reference: Vec<String> = nodes.call("judge", params).await;
        assert_eq!(
            reference.last().map(String::as_str),
            Some(word(&our)),
            "{what}: the reference is with us"
        );
    }
}

pub(crate) async fn its_message_ids_lack_the_topic() {
    let (version, directory) = (PayloadVersion::V4, tempfile::tempdir().unwrap());
    let chain = chain_of(version);
    let (theirs, ours) = pair(&Konas::start(), &directory, &chain, version).await;
    let block = BlockMaker::new(&chain, 40).next(unix_seconds());
    let published = theirs.publish(&block).await;
    // The topic is in the reference's, and in kona's it is not, as in the public text.
    let signed = signed(&chain, &block);
    let id = Unpacked::from_contents(&signed).message_id(&published.topic);
    assert_eq!(published.topic, block_topic(chain.chain_id, version));
    assert_ne!(published.id, hex::encode(id));
    ours.stop().await;
}

/// Blocks that are heard of and asked for before somebody who counts broken promises says so: six are forgiven.
const FORGIVEN: usize = 6;

pub(crate) async fn it_takes_what_it_hears_of_and_holds_our_ids_against_us() {
    let (version, directory) = (PayloadVersion::V4, tempfile::tempdir().unwrap());
    let chain = chain_of(version);
    let konas = Konas::start();
    // One of ours with room for one in its mesh, and two of theirs, one of which is left out.
    let config =
        HostConfig { mesh: NARROW, sequencer: Some(ours::signer().into()), ..config(&directory, &chain) };
    let ours = Host::start(config).await.unwrap();
    let theirs = [konas.node(&chain, Start::default()).await, konas.node(&chain, Start::default()).await];
    for node in &theirs {
        node.connect(&ours.address()).await;
    }
    let all: Vec<&Kona> = theirs.iter().collect();
    let is_in_mesh = |node: &&Kona| {
        let id = from_libp2p(&node.id).unwrap();
        ours.peers(|peers, _| peers.is_in_mesh(&id, version))
    };
    let (_, lazy) = loop {
        match parted(&all, is_in_mesh) {
            Some(parted) => break parted,
            None => sleep(LOOK).await,
        }
    };
    let mut heard = lazy.heard();
    let mut maker = BlockMaker::new(&chain, 41);
    for _ in 0..FORGIVEN {
        let hash = ours.publish(maker.next(unix_seconds())).await.unwrap().unwrap();
        let told = heard.next().await;
        assert_eq!((told.event.as_str(), told.hash), ("block", Some(hash)));
    }
    // It asked by our ids, and calls what came by others, so that it still waits.
    let offended = async {
        while lazy.score(&ours.peer_id()).await >= 0.0 {
            ours.publish(maker.next(unix_seconds())).await.unwrap().unwrap();
            sleep(10 * LOOK).await;
        }
    };
    timeout(PATIENCE, offended).await.expect("kona holds it against ours");
    ours.stop().await;
}

// In the next two kona has no scores: else it soon tells nothing any more to those whose ids it holds against them.

pub(crate) async fn we_take_what_we_hear_of_and_hold_its_ids_against_it() {
    let (version, directory) = (PayloadVersion::V4, tempfile::tempdir().unwrap());
    let chain = chain_of(version);
    let theirs =
        Konas::start().node(&chain, Start { mesh: Some(1), scoreless: true, ..Start::default() }).await;
    let ours = [(); 2].map(|()| Host::start(config(&directory, &chain)));
    let ours: Vec<Host> = futures::future::join_all(ours).await.into_iter().map(Result::unwrap).collect();
    for host in &ours {
        theirs.connect(&host.address()).await;
        until(host, |status| status.subscribers == 1).await;
    }
    let all: Vec<&Host> = ours.iter().collect();
    let (_, lazy) = loop {
        let mesh = theirs.meshed(&chain, version, 1).await;
        match parted(&all, |host| mesh.contains(&host.peer_id().to_string())) {
            Some(parted) => break parted,
            None => sleep(LOOK).await,
        }
    };
    let mut events = lazy.events();
    let mut maker = BlockMaker::new(&chain, 42);
    for _ in 0..FORGIVEN {
        let hash = theirs.publish(&maker.next(unix_seconds())).await.hash;
        assert_eq!(verdict(&mut events).await.map(|block| block.hash), Ok(hash));
    }
    // Gossip's scores are read every fifteen seconds.
    let offended = async {
        while our_score(lazy, &theirs.id) >= 0.0 {
            theirs.publish(&maker.next(unix_seconds())).await;
            sleep(10 * LOOK).await;
        }
    };
    timeout(2 * PATIENCE, offended).await.expect("ours holds it against kona");
    for host in ours {
        host.stop().await;
    }
}

pub(crate) async fn the_reference_holds_its_ids_against_it_too() {
    let version = PayloadVersion::V4;
    let chain = chain_of(version);
    let (konas, nodes) = (Konas::start(), OpNodes::start());
    let theirs = konas.node(&chain, Start { mesh: Some(1), scoreless: true, ..Start::default() }).await;
    let references = [nodes.node(&chain, Setup::default()).await, nodes.node(&chain, Setup::default()).await];
    for node in &references {
        node.connect(&theirs.address).await;
    }
    let all: Vec<&OpNode> = references.iter().collect();
    let (_, lazy) = loop {
        let mesh = theirs.meshed(&chain, version, 1).await;
        match parted(&all, |node| mesh.contains(&node.id.to_string())) {
            Some(parted) => break parted,
            None => sleep(LOOK).await,
        }
    };
    let mut maker = BlockMaker::new(&chain, 43);
    let offended = async {
        while lazy.scores(&theirs.id).await.scores.gossip.behavioral_penalty == 0.0 {
            theirs.publish(&maker.next(unix_seconds())).await;
            sleep(10 * LOOK).await;
        }
    };
    timeout(2 * PATIENCE, offended).await.expect("the reference holds it against kona");
}

pub(crate) async fn in_a_mesh_of_three_implementations_every_block_reaches_all() {
    let (version, directory) = (PayloadVersion::V4, tempfile::tempdir().unwrap());
    let chain = chain_of(version);
    let (konas, nodes) = (Konas::start(), OpNodes::start());
    let kona = konas.node(&chain, Start::default()).await;
    let reference = nodes.node(&chain, Setup { sequencer: true, ..Setup::default() }).await;
    reference.connect(&kona.address).await;
    let config = HostConfig {
        static_peers: vec![kona.address.clone(), reference.address.clone()],
        sequencer: Some(ours::signer().into()),
        ..config(&directory, &chain)
    };
    let ours = Host::start(config).await.unwrap();
    until(&ours, |status| status.mesh == 2).await;
    kona.meshed(&chain, version, 2).await;
    while !reference.meshed(&chain, version, &ours.peer_id()).await
        || !reference.meshed(&chain, version, &kona.id).await
    {
        sleep(LOOK).await;
    }

    let (mut events, mut heard, mut taken) = (ours.events(), kona.heard(), reference.taken());
    let mut maker = BlockMaker::new(&chain, 50);
    for round in 0..12 {
        let block = maker.next(unix_seconds());
        let publisher = round % 3;
        let hash = match publisher {
            0 => ours.publish(block).await.unwrap().unwrap(),
            1 => kona.publish(&block).await.hash,
            _ => reference.publish(&block).await,
        };
        // Who publishes doesn't hear of it.
        if publisher != 0 {
            assert_eq!(verdict(&mut events).await.map(|block| block.hash), Ok(hash));
        }
        if publisher != 1 {
            assert_eq!(heard.next().await.hash, Some(hash));
        }
        if publisher != 2 {
            assert_eq!(taken.next().await.hash, hash);
        }
    }
    for peer in [&kona.id, &reference.id] {
        assert!(our_score(&ours, peer) >= 0.0);
    }
    for peer in [&ours.peer_id(), &reference.id] {
        assert!(kona.score(peer).await >= 0.0);
    }
    for peer in [&ours.peer_id(), &kona.id] {
        assert!(reference.scores(peer).await.total >= 0.0);
    }
    ours.stop().await;
}

pub(crate) async fn each_finds_the_other_by_discovery() {
    let (chain, directory) = (chain_of(PayloadVersion::V4), tempfile::tempdir().unwrap());
    let konas = Konas::start();
    let looking = |bootnodes: Vec<_>| HostConfig {
        discovery: Some(DiscoveryConfig {
            bootnodes: Some(bootnodes),
            pace: PaceConfig { fast: Duration::from_millis(500), slow: Duration::from_secs(2) },
            ..DiscoveryConfig::default()
        }),
        ..config(&directory, &chain)
    };
    // A node of ours that knows nobody, one of theirs that knows it, and one more of each that know one of the others.
    let first = Host::start(looking(vec![])).await.unwrap();
    let knowing = |record: String, store: &str| Start {
        discovery: Some((vec![record], directory.path().join(store))),
        ..Start::default()
    };
    let second = konas.node(&chain, knowing(first.local_enr().unwrap(), "second")).await;
    let record = second.enr.as_ref().unwrap();
    let third = Host::start(looking(vec![record.parse().unwrap()])).await.unwrap();
    let fourth = konas.node(&chain, knowing(third.local_enr().unwrap(), "fourth")).await;
    for host in [&first, &third] {
        until(host, |status| status.peers == 3).await;
    }
    for node in [&second, &fourth] {
        for host in [&first, &third] {
            node.peer(&host.peer_id(), |_| true).await;
        }
        let table: Vec<String> = node.call("table", json!({})).await;
        assert!(table.contains(&first.local_enr().unwrap()) && table.contains(&third.local_enr().unwrap()));
    }
    first.stop().await;
    third.stop().await;
}

pub(crate) async fn that_it_serves_no_blocks_is_not_held_against_it() {
    let (version, directory) = (PayloadVersion::V4, tempfile::tempdir().unwrap());
    let chain = chain_of(version);
    let (theirs, ours) = pair(&Konas::start(), &directory, &chain, version).await;
    let mut events = ours.events();
    let mut maker = BlockMaker::new(&chain, 60);
    let first = theirs.publish(&maker.next(unix_seconds())).await.hash;
    assert_eq!(verdict(&mut events).await.map(|block| block.hash), Ok(first));
    // Of ten blocks the last comes: the others would have to be asked for.
    let skipped: Vec<Envelope> = (0..10).map(|_| maker.next(unix_seconds())).collect();
    let last = theirs.publish(&skipped[9]).await.hash;
    assert_eq!(verdict(&mut events).await.map(|block| block.hash), Ok(last));
    let answered = async {
        loop {
            if let HostEventKind::Core(Event::Sync(SyncEvent::Answered(answered))) =
                events.recv().await.unwrap().kind
            {
                break answered;
            }
        }
    };
    let answered = timeout(PATIENCE, answered).await.expect("kona is asked");
    assert_eq!(answered.peer, from_libp2p(&theirs.id).unwrap());
    // It would say that it has none, under the name that the public text has for the protocol, and nobody else.
    let unsupported = AnswerError::Request(RequestFailure::Unsupported);
    assert_eq!(answered.result.unwrap_err().to_string(), unsupported.to_string());

    // Nor does that keep ours from asking others.
    let reference = OpNodes::start().node(&chain, Setup::default()).await;
    reference.hold(&skipped).await;
    ours.connect(reference.address.clone()).await.unwrap().unwrap();
    until(&ours, |status| status.head.is_some_and(|head| head.hash == last)).await;
    assert!(our_score(&ours, &theirs.id) >= 0.0);
    assert_eq!(ours.status().borrow().peers, 2);
    ours.stop().await;
}
