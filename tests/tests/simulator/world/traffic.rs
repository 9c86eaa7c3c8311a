//! What nodes, peers, disks and endpoints do with a node's outputs.

use super::super::chain;
use super::super::liar::{Asked, Liar};
use super::super::plan::{Endpoint, Serving};
use super::{DEADLINE, Happening, MS, World, index, peer};
use alloy_primitives::hex;
use opp2p_core::chain::BlockId;
use opp2p_core::gossip::{Acceptance, SIGNATURE_SIZE};
use opp2p_core::node::{Input, Output, SignRequest, StoreChange, StoreId};
use opp2p_core::payload::rebuild::to_rlp;
use opp2p_core::payload::{Block, PayloadVersion};
use opp2p_core::sequencer::SendOutcome;
use opp2p_core::sync::{RequestFailure, RequestId, ServeId, answer};
use std::rc::Rc;
use std::time::Duration;

/// The place of the sequencer as the sender of its blocks, which is not a peer.
const NOBODY: usize = 255;

impl World {
    pub(super) fn perform(&mut self, at: usize, output: Output) {
        let life = self.members[at].life;
        match output {
            Output::Job(job) => {
                let took = self.rng.range(0, self.plan.job * MS);
                let result = Box::new(job.run());
                self.at(self.now + took, Happening::Job { to: at, life, result });
            }
            Output::Verdict(verdict) => {
                self.note(at, verdict.result);
                match verdict.result {
                    Ok(id) => self.relay(at, index(&verdict.from), id),
                    // All messages are the sequencer's.
                    Err(reason) => assert_ne!(
                        reason.acceptance(),
                        Acceptance::Reject,
                        "node {at} rejects a message of node {}: {reason:?}",
                        index(&verdict.from)
                    ),
                }
            }
            Output::Store { id, change } => self.store(at, id, change),
            Output::Load(ids) => {
                let when = self.members[at].writes_until + self.rng.range(0, self.plan.write * MS);
                self.at(when, Happening::Read { to: at, life, ids });
            }
            Output::Request { id, to, number, limit } => {
                self.send_request(at, id, index(&to), number, limit);
            }
            Output::RequestRpc { id, endpoint, number, limit, .. } => {
                self.post(at, id, endpoint, number, limit);
            }
            Output::Serve { id, .. } if self.feed(at, id) => {}
            Output::Serve { id, number, held } => {
                let canonical = self.members[at].disk.canonical(number);
                let found = held.or_else(|| self.read(at, &BlockId::new(number, canonical?)));
                let (_, response) = answer::<()>(&Ok(found));
                self.respond(at, id, response);
            }
            Output::Refuse { id, code } => {
                if !self.feed(at, id) {
                    self.respond(at, id, vec![code.byte()]);
                }
            }
            Output::Range(output) => self.range(at, output),
            Output::Event(event) => self.event(at, event),
            Output::Disconnect(whom) if self.plan.is_observer(at) => {
                self.hang_up(at, index(&whom));
            }
            Output::Dial { peer: whom, .. } if self.plan.is_observer(at) => {
                let (to, when) = (index(&whom), self.now + 2 * self.latency());
                self.at(when, Happening::Dial { from: at, life, to });
            }
            Output::Disconnect(whom) => {
                let who = index(&whom);
                assert!(who >= self.plan.honest, "node {at} turns out the honest node {who}");
                self.members[at].connected.remove(&who);
                self.end_streams(at, who);
                self.tell(at, Input::Disconnected(whom));
            }
            Output::ReadSigner => self.read_signer(at),
            Output::Sign(request) => self.ask_signer(&request),
            Output::Send { id, contents, .. } => {
                let block =
                    Block::decode(PayloadVersion::V4, None, contents.slice(SIGNATURE_SIZE..));
                let block = block.expect("a block of ours");
                self.relay(at, NOBODY, BlockId::of(&block));
                self.tell(at, Input::Sent { id, outcome: SendOutcome::Sent });
            }
            Output::ApplicationScore(..)
            | Output::LiveTopics(_)
            | Output::TakeScores
            | Output::Remember(_) => {}
            Output::Dial { .. } | Output::Close(_) | Output::Mesh(_) | Output::Recall(_) => {
                panic!("unexpected: {output:?}")
            }
        }
    }

    /// The operator's signer signs, fast or slowly.
    fn ask_signer(&mut self, request: &SignRequest) {
        let signing = self.plan.signing.expect("only then is there a signer");
        let is_slow = request.id.0.is_multiple_of(signing.every);
        let took = if is_slow { signing.slow } else { signing.usual };
        *self.signings.entry(request.id).or_default() += 1;
        let key = if self.rotated.is_some() { chain::next_signer() } else { chain::signer() };
        let signature = key.sign(&request.signing_hash);
        let life = self.members[0].life;
        let when = self.now + took * MS;
        self.at(when, Happening::Signed { life, id: request.id, signature });
    }

    /// Reads a block from a node's disk.
    pub(super) fn read(&self, node: usize, id: &BlockId) -> Option<Block> {
        let disk = &self.members[node].disk;
        let is_forgotten = self.plan.disks_forget && disk.has(&id.hash);
        disk.get(&id.hash).or_else(|| if is_forgotten { self.remake(id.number) } else { None })
    }

    /// Makes a block of the history again.
    fn remake(&self, number: u64) -> Option<Block> {
        let at = usize::try_from(number).ok()?.checked_sub(1)?;
        if at >= self.history.len() {
            let signed = self.branch.get(at - self.base)?;
            return Some(signed.block.clone());
        }
        let parent = at.checked_sub(1).map_or(chain::GENESIS_HASH, |below| self.history[below]);
        let id = BlockId::new(number, self.history[at]);
        Some(chain::block_again(self.plan.pace, id, parent, self.plan.block_bytes))
    }

    fn relay(&mut self, at: usize, from: usize, id: BlockId) {
        let block = self.made[&id.hash].clone();
        let place = (id.number as usize - 1).checked_sub(self.base);
        let signed = place
            .and_then(|at| self.branch.get(at))
            .filter(|signed| signed.block.hash() == id.hash);
        let signed = match signed {
            Some(signed) => Rc::clone(signed),
            None => Rc::new(self.sign(block)),
        };
        let is_gone = self.plan.gone.contains(&id.number);
        let others = (0..self.plan.honest).filter(|to| *to != at && *to != from && !is_gone);
        for to in others.filter(|to| self.is_linked(at, *to)).collect::<Vec<_>>() {
            let copies = 1 + u64::from(!self.is_calm && self.rng.chance(self.plan.doubled));
            for _ in 0..copies {
                if !self.is_lost(at, to) {
                    let when = self.now + self.latency();
                    self.at(when, Happening::Gossip { to, from: at, block: Rc::clone(&signed) });
                }
            }
        }
    }

    fn store(&mut self, at: usize, id: StoreId, change: StoreChange) {
        let took = self.rng.range(0, self.plan.write * MS);
        let member = &mut self.members[at];
        member.writes_until = member.writes_until.max(self.now) + took;
        let is_new = !matches!(change, StoreChange::Release(_));
        let done = !(is_new && self.now < member.full_until);
        let (when, life) = (member.writes_until, member.life);
        self.at(when, Happening::Written { to: at, life, id, change: Box::new(change), done });
    }

    pub(super) fn written(
        &mut self,
        to: usize,
        life: u64,
        id: StoreId,
        change: &StoreChange,
        done: bool,
    ) {
        if self.members[to].life != life {
            return;
        }
        if done {
            self.members[to].disk.apply(change);
        }
        self.members[to].refused += u64::from(!done);
        self.tell(to, Input::Stored { id, is_stored: done });
    }

    fn send_request(&mut self, at: usize, id: RequestId, to: usize, number: u64, limit: usize) {
        self.note(at, (id, to, number, limit));
        let life = self.members[at].life;
        self.members[at].asking.insert(id, (limit as u64, Some(to)));
        self.members[at].asked += 1;
        self.at(
            self.now + DEADLINE,
            Happening::Response { to: at, life, id, result: Err(RequestFailure::Timeout) },
        );
        if self.is_lost(at, to) {
            return;
        }
        let when = self.now + self.latency();
        self.at(when, Happening::Request { to, from: at, life, id, number });
    }

    /// Sends a request to an endpoint, over a network without losses.
    fn post(&mut self, at: usize, id: RequestId, endpoint: usize, number: u64, limit: usize) {
        self.note(at, (id, endpoint, number, limit));
        let life = self.members[at].life;
        self.members[at].asking.insert(id, (limit as u64, None));
        self.members[at].posted += 1;
        let place = usize::try_from(number).ok().and_then(|at| at.checked_sub(1 + self.base));
        let block = place.and_then(|at| self.branch.get(at)).map(|signed| signed.block.clone());
        let (when, result) = match self.plan.endpoints[endpoint] {
            Endpoint::Silent => (self.now + DEADLINE, Err(RequestFailure::Timeout)),
            kind => {
                let (is_lie, bytes) = (kind == Endpoint::Lies, self.plan.block_bytes);
                let parent = block.as_ref().map(Block::parent_hash).unwrap_or_default();
                let block = if is_lie {
                    Some(chain::block(self.plan.pace, number, parent, u64::MAX, bytes))
                } else {
                    block
                };
                let result = block.map_or("null".into(), |block| {
                    format!("\"0x{}\"", hex::encode(to_rlp(&block)))
                });
                let answer = format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{result}}}");
                assert!(answer.len() <= limit, "the limit is too small: {limit}");
                (self.now + 2 * self.latency(), Ok(answer.into_bytes()))
            }
        };
        self.at(when, Happening::Response { to: at, life, id, result });
    }

    pub(super) fn request(
        &mut self,
        to: usize,
        from: usize,
        life: u64,
        id: RequestId,
        number: u64,
    ) {
        let refusal = match self.plan.serving {
            Serving::Unsupported => Some(Err(RequestFailure::Unsupported)),
            Serving::NotFound => Some(Ok(vec![1])),
            Serving::All if self.plan.gone.contains(&number) => Some(Ok(vec![1])),
            Serving::All => None,
        };
        if let Some(result) = refusal {
            return self.send_response(to, from, life, id, result, Duration::ZERO);
        }
        if let Some(liar) =
            to.checked_sub(self.plan.honest).and_then(|at| self.plan.liars.get(at)).copied()
        {
            return self.lie(liar, to, from, life, id, number);
        }
        if self.members[to].node.is_none() {
            let result = Err(RequestFailure::Closed);
            let when = self.now + self.latency();
            return self.at(when, Happening::Response { to: from, life, id, result });
        }
        let serve = ServeId(self.next_serve);
        self.next_serve += 1;
        self.members[to].serving.insert(serve, (from, life, id));
        // The requester closes the stream after the time limit.
        let (when, server_life) = (self.now + DEADLINE, self.members[to].life);
        self.at(when, Happening::Responded { to, life: server_life, id: serve });
        self.tell(to, Input::Requested { from: peer(from), id: serve, number });
    }

    fn lie(&mut self, liar: Liar, to: usize, from: usize, life: u64, id: RequestId, number: u64) {
        let (branch, base) = (&self.branch, self.base);
        let real = |number: u64| {
            let signed = branch.get(usize::try_from(number).ok()?.checked_sub(1 + base)?)?;
            Some(signed.block.clone())
        };
        let limit = self.members[from].asking.get(&id).map_or(0, |(limit, _)| *limit);
        let asked = Asked { pace: self.plan.pace, number, limit };
        let (after, result) = liar.answer(&mut self.rng, asked, real);
        self.send_response(to, from, life, id, result, after);
    }

    fn respond(&mut self, at: usize, id: ServeId, response: Vec<u8>) {
        let life = self.members[at].life;
        let Some((from, from_life, request)) = self.members[at].serving.get(&id).copied() else {
            return;
        };
        self.note(at, (id, response.len()));
        self.send_response(at, from, from_life, request, Ok(response), Duration::ZERO);
        self.at(self.now + MS, Happening::Responded { to: at, life, id });
    }

    fn send_response(
        &mut self,
        at: usize,
        to: usize,
        life: u64,
        id: RequestId,
        result: Result<Vec<u8>, RequestFailure>,
        after: Duration,
    ) {
        if self.is_lost(at, to) || self.members[to].life != life {
            return;
        }
        let limit = self.members[to].asking.get(&id).map_or(0, |(limit, _)| *limit);
        let result = result.and_then(|bytes| {
            if bytes.len() as u64 > limit { Err(RequestFailure::TooLong) } else { Ok(bytes) }
        });
        let when = self.now + self.latency() + after.as_nanos() as u64;
        self.at(when, Happening::Response { to, life, id, result });
    }
}
