//! Sybils: they speak gossipsub, answer at once, and have no limit of bandwidth.

use super::net::{Event, Net, index, number_in, peer, topic, without_prefix};
use super::plan::{Target, Trick};
use super::record::Sample;
use super::{MS, SECOND, TOPIC};
use alloy_primitives::Bytes;
use opp2p_core::mesh::wire::{Control, ControlWriter, Rpc, Transfer};
use opp2p_core::mesh::{Id, Input};
use std::collections::{BTreeMap, BTreeSet};

/// Time between two actions of a sybil on its own.
const TICK: u64 = 500 * MS;
/// Number of blocks that a sybil remembers.
const KEPT: usize = 64;

/// What a sybil knows of a victim.
#[derive(Clone, Copy, Debug, Default)]
struct Side {
    /// Whether it takes itself to be in the victim's mesh.
    is_meshed: bool,
    /// When the victim's back-off ends.
    again: u64,
}

#[derive(Debug, Default)]
pub(super) struct Bot {
    sides: BTreeMap<u32, Side>,
    is_there: bool,
    /// Recent blocks: number, frame as received.
    blocks: Vec<(u32, Bytes)>,
    seen: BTreeSet<u32>,
    /// Blocks that it announced, and does not send.
    announced: BTreeSet<u32>,
}

impl Net {
    fn bot(&mut self, who: u32) -> &mut Bot {
        let at = (who - self.plan.nodes) as usize;
        &mut self.bots[at]
    }

    /// A sybil comes, and connects to its targets.
    pub(super) fn appear(&mut self, who: u32) {
        self.bot(who).is_there = true;
        match self.plan.target {
            Target::One(victim) => self.connect_if_there(who, victim),
            Target::Any => {
                for _ in 0..self.plan.reach {
                    let victim = self.rng.range(0, u64::from(self.plan.nodes)) as u32;
                    self.connect_if_there(who, victim);
                }
            }
        }
        let lured = u64::from(self.plan.lured * self.plan.nodes);
        // Some honest nodes were told of it and dial it.
        for _ in 0..lured / u64::from(self.plan.sybils).max(1) {
            let victim = self.rng.range(0, u64::from(self.plan.nodes)) as u32;
            let is_free = self.members[victim as usize].since.is_some()
                && !self.bot(who).sides.contains_key(&victim);
            if is_free && self.plan.target == Target::Any {
                self.connect(victim, who);
            }
        }
        let when = self.now + self.rng.range(0, TICK);
        self.at(when, Event::Tick(who));
    }

    fn connect_if_there(&mut self, who: u32, victim: u32) {
        let is_there = self.members[victim as usize].since.is_some();
        if is_there && !self.bot(who).sides.contains_key(&victim) {
            self.connect(who, victim);
        }
    }

    /// A node starts during the attack: sybils connect to it first.
    pub(super) fn bots_find(&mut self, victim: u32) {
        if matches!(self.plan.target, Target::One(only) if only != victim) || self.bots.is_empty() {
            return;
        }
        let each = u64::from(self.plan.reach) * self.bots.len() as u64;
        for _ in 0..each / u64::from(self.plan.nodes) {
            let who = self.plan.nodes + self.rng.range(0, self.bots.len() as u64) as u32;
            if self.bot(who).is_there {
                self.connect_if_there(who, victim);
            }
        }
    }

    pub(super) fn bot_connects(&mut self, who: u32, victim: u32) {
        let side = Side { is_meshed: true, again: 0 };
        self.bot(who).sides.insert(victim, side);
        let when = self.now + self.latency(who, victim);
        self.later(when, victim, who, Input::ReaderOpened(peer(who)));
        let speaks = self.plan.trick == Trick::Notices;
        self.say(who, victim, |writer| {
            writer.subscription(TOPIC, true);
            writer.graft(TOPIC);
            if speaks {
                writer.speaks();
            }
        });
    }

    pub(super) fn bot_loses(&mut self, who: u32, victim: u32) {
        self.bot(who).sides.remove(&victim);
    }

    fn say(&mut self, who: u32, victim: u32, write: impl FnOnce(&mut ControlWriter)) {
        let mut writer = ControlWriter::default();
        write(&mut writer);
        if let Some(frame) = writer.finish() {
            self.throw(who, victim, without_prefix(&frame));
        }
    }

    /// Sends a frame.
    fn throw(&mut self, who: u32, victim: u32, frame: Bytes) {
        let when = self.now + self.latency(who, victim);
        self.at(when, Event::Frame { to: victim, from: who, frame });
    }

    const fn relays(&self) -> bool {
        matches!(self.plan.trick, Trick::Flash(until) if self.now < until)
    }

    const fn delivers(&self) -> bool {
        self.relays() || matches!(self.plan.trick, Trick::Censor)
    }

    pub(super) fn bot_hears(&mut self, who: u32, from: u32, frame: &Bytes) {
        if !self.bot(who).sides.contains_key(&from) {
            return;
        }
        let Ok(rpc) = Rpc::parse(frame) else { return };
        if let Some(number) = number_in(frame) {
            self.bot_receives(who, from, number, frame);
        }
        for transfer in rpc.transfers() {
            if let Transfer::Sending(id) | Transfer::Receiving(id) = transfer {
                self.announce(who, Id::new(id));
            }
        }
        for control in rpc.control() {
            match control {
                Control::IHave { ids, .. } | Control::IDontWant(ids)
                    if self.plan.trick == Trick::Notices =>
                {
                    self.announce(who, ids.filter_map(Id::new));
                }
                Control::Graft(_) => self.meshes(who, from, true, 0),
                Control::Prune { backoff, .. } => {
                    let again = self.now + backoff * SECOND + self.rng.range(SECOND, 15 * SECOND);
                    self.meshes(who, from, false, again);
                }
                Control::IWant(ids) if self.delivers() => {
                    let wanted: Vec<Id> = ids.filter_map(Id::new).collect();
                    self.bot_answers(who, from, &wanted);
                }
                Control::IHave { ids, .. } if self.delivers() => {
                    let wanted: Vec<Id> = ids.filter_map(Id::new).collect();
                    self.bot_asks(who, from, &wanted);
                }
                Control::IHave { .. } | Control::IWant(_) | Control::IDontWant(_) => {}
            }
        }
    }

    fn meshes(&mut self, who: u32, victim: u32, is_meshed: bool, again: u64) {
        if let Some(side) = self.bot(who).sides.get_mut(&victim) {
            *side = Side { is_meshed, again };
        }
    }

    fn bot_receives(&mut self, who: u32, from: u32, number: u32, frame: &Bytes) {
        let bot = self.bot(who);
        if !bot.seen.insert(number) {
            return;
        }
        if bot.blocks.len() == KEPT {
            bot.blocks.remove(0);
        }
        bot.blocks.push((number, frame.clone()));
        if self.plan.trick == Trick::Promises {
            self.promise(who, number);
        }
        self.announce(who, [self.recent[number as usize]]);
        if !self.relays() {
            return;
        }
        let sides = self.bot(who).sides.iter();
        let others: Vec<u32> =
            sides.filter(|(at, side)| side.is_meshed && **at != from).map(|(at, _)| *at).collect();
        for victim in others {
            self.throw(who, victim, frame.clone());
        }
    }

    /// Advertises a block at once to all, so that they ask this sybil rather than others.
    fn promise(&mut self, who: u32, number: u32) {
        let name = self.recent[number as usize];
        let victims: Vec<u32> = self.bot(who).sides.keys().copied().collect();
        for victim in victims {
            self.say(who, victim, |writer| writer.ihave(TOPIC, &[name]));
        }
    }

    /// Announces blocks to all, as if it began to send them, if that is its trick.
    fn announce(&mut self, who: u32, ids: impl IntoIterator<Item = Id>) {
        if self.plan.trick != Trick::Notices {
            return;
        }
        for id in ids {
            let Some(number) = self.number_of(&id) else { continue };
            if !self.bot(who).announced.insert(number) {
                continue;
            }
            let victims: Vec<u32> = self.bot(who).sides.keys().copied().collect();
            for victim in victims {
                self.say(who, victim, |writer| {
                    writer.sending([&id]);
                    // As if the victim's own copy had arrived at once.
                    writer.received([&id]);
                });
            }
        }
    }

    fn bot_answers(&mut self, who: u32, from: u32, wanted: &[Id]) {
        for id in wanted {
            let Some(number) = self.number_of(id) else { continue };
            let blocks = &self.bot(who).blocks;
            let found = blocks.iter().find(|(known, _)| *known == number);
            if let Some(frame) = found.map(|(_, frame)| frame.clone()) {
                self.throw(who, from, frame);
            }
        }
    }

    fn bot_asks(&mut self, who: u32, from: u32, advertised: &[Id]) {
        let missing: Vec<Id> = advertised
            .iter()
            .filter(|id| self.number_of(id).is_some_and(|n| !self.has_seen(who, n)))
            .copied()
            .collect();
        self.say(who, from, |writer| writer.iwant(&missing));
    }

    fn has_seen(&self, who: u32, number: u32) -> bool {
        self.bots[(who - self.plan.nodes) as usize].seen.contains(&number)
    }

    /// A sybil acts on its own.
    pub(super) fn bot_ticks(&mut self, who: u32) {
        let victims: Vec<(u32, Side)> =
            self.bot(who).sides.iter().map(|(at, side)| (*at, *side)).collect();
        let latest: Vec<Id> = self.recent.iter().rev().take(8).copied().collect();
        for (victim, side) in victims {
            if !side.is_meshed && side.again <= self.now {
                self.meshes(who, victim, true, 0);
                self.say(who, victim, |writer| writer.graft(TOPIC));
            }
            match self.plan.trick {
                Trick::Promises => self.say(who, victim, |writer| writer.ihave(TOPIC, &latest)),
                Trick::Censor => self.advertise(who, victim),
                Trick::Grafts => {
                    for _ in 0..10 {
                        self.say(who, victim, |writer| writer.graft(TOPIC));
                    }
                }
                Trick::Control => self.bot_floods(who, victim, &latest),
                Trick::Silence | Trick::Flash(_) | Trick::Notices => {}
            }
        }
        if !self.bot(who).sides.is_empty() || self.plan.churn.is_some() {
            self.at(self.now + TICK, Event::Tick(who));
        }
    }

    /// Advertises what it has, as an honest peer outside the mesh does.
    fn advertise(&mut self, who: u32, victim: u32) {
        let numbers: Vec<u32> =
            self.bot(who).blocks.iter().rev().take(4).map(|(number, _)| *number).collect();
        let ids: Vec<Id> = numbers.iter().map(|number| self.recent[*number as usize]).collect();
        self.say(who, victim, |writer| writer.ihave(TOPIC, &ids));
    }

    /// Sends three full frames of each kind of control.
    fn bot_floods(&mut self, who: u32, victim: u32, latest: &[Id]) {
        for round in 0..3 {
            let mut id = || {
                let mut bytes = [0; 20];
                bytes[..8].copy_from_slice(&self.rng.next().to_be_bytes());
                Id::new(&bytes).expect("20 bytes")
            };
            let unknown: Vec<Id> = (0..700).map(|_| id()).collect();
            self.say(who, victim, |writer| writer.ihave(TOPIC, &unknown));
            self.say(who, victim, |writer| writer.idontwant(&unknown));
            self.say(who, victim, |writer| {
                writer.iwant(latest);
                writer.iwant(&unknown[..600]);
            });
            self.say(who, victim, |writer| {
                for _ in 0..300 {
                    writer.subscription(TOPIC, round % 2 == 1);
                }
            });
        }
    }

    fn number_of(&self, id: &Id) -> Option<u32> {
        self.names.get(id).copied()
    }

    /// Counts the sybils in the meshes of the honest nodes.
    pub(super) fn sample(&mut self) {
        let mut sample = Sample { at: self.now, least: u32::MAX, ..Sample::default() };
        for member in self.members.iter().filter(|member| member.since.is_some()) {
            let (mut honest, mut sybils) = (0, 0);
            for peer in member.router.mesh_of(topic()) {
                let is_honest = self.is_honest(index(peer));
                *(if is_honest { &mut honest } else { &mut sybils }) += 1;
            }
            sample.sybils += sybils;
            sample.places += honest + sybils;
            sample.touched += u32::from(sybils > 0);
            sample.least = sample.least.min(honest);
        }
        self.record.samples.push(sample);
        self.trace_scores();
        self.at(self.now + SECOND, Event::Sample);
    }
}
