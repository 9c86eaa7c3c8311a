//! Any sequence of inputs keeps all bounds and laws.

use super::*;
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::BTreeMap;

#[derive(Clone, Debug)]
enum Step {
    Connect(u16, u8, bool),
    Disconnect(u16),
    WriterOpened(u16, u8),
    WriterClosed(u16, bool),
    ReaderOpened(u16),
    Bytes(u16, Vec<u8>),
    Words(u16, Vec<(u8, u8, u64)>),
    Message(u16, u8),
    Publish(u8),
    Join(usize),
    Leave(usize),
    Score(u16, i8),
    Name(prop::sample::Index),
    Judge(prop::sample::Index, u8),
    Pull(u16, u32),
    Write(u16, u32),
    Pass(u32),
}

fn step() -> impl Strategy<Value = Step> {
    let who = || 0_u16..6;
    prop_oneof![
        3 => (who(), 0_u8..3, any::<bool>()).prop_map(|(a, b, c)| Step::Connect(a, b, c)),
        1 => who().prop_map(Step::Disconnect),
        3 => (who(), 0_u8..5).prop_map(|(a, b)| Step::WriterOpened(a, b)),
        1 => (who(), any::<bool>()).prop_map(|(a, b)| Step::WriterClosed(a, b)),
        1 => who().prop_map(Step::ReaderOpened),
        1 => (who(), vec(any::<u8>(), 0..30)).prop_map(|(a, b)| Step::Bytes(a, b)),
        9 => (who(), vec((0_u8..10, 0_u8..12, any::<u64>()), 1..6))
            .prop_map(|(a, b)| Step::Words(a, b)),
        9 => (who(), 0_u8..12).prop_map(|(a, b)| Step::Message(a, b)),
        2 => (0_u8..12).prop_map(Step::Publish),
        1 => (0_usize..3).prop_map(Step::Join),
        1 => (0_usize..3).prop_map(Step::Leave),
        1 => (who(), any::<i8>()).prop_map(|(a, b)| Step::Score(a, b)),
        6 => any::<prop::sample::Index>().prop_map(Step::Name),
        6 => (any::<prop::sample::Index>(), 0_u8..3).prop_map(|(a, b)| Step::Judge(a, b)),
        6 => (who(), 0_u32..100_000).prop_map(|(a, b)| Step::Pull(a, b)),
        4 => (who(), 0_u32..100_000).prop_map(|(a, b)| Step::Write(a, b)),
        4 => (0_u32..40_000).prop_map(Step::Pass),
    ]
}

/// Messages 9 to 11 are large; every third is compressed in another way, too.
fn data(number: u8) -> Bytes {
    block(u64::from(number), if number > 8 { 40_000 } else { 700 + 100 * usize::from(number) })
}

struct World {
    bench: Bench,
    /// What each connected peer was told last about the mesh, and until when it must not be
    /// grafted.
    backoffs: BTreeMap<u16, Instant>,
    judged: BTreeMap<Id, Instant>,
}

impl World {
    fn take(&mut self, step: Step) {
        let bench = &mut self.bench;
        match step {
            Step::Connect(n, class, is_outbound) => {
                let class = [Class::Node, Class::Static, Class::Browser][usize::from(class)];
                let ips = vec![std::net::IpAddr::from([10, 0, 0, 1])];
                bench.input(Input::Connected { peer: peer(n), class, is_outbound, ips });
            }
            Step::Disconnect(n) => bench.input(Input::Disconnected(peer(n))),
            Step::WriterOpened(n, version) => {
                let all =
                    [Version::Floodsub, Version::V1_0, Version::V1_1, Version::V1_2, Version::V1_3];
                bench.input(Input::WriterOpened(peer(n), all[usize::from(version)]));
            }
            Step::WriterClosed(n, is_refused) => {
                bench.input(Input::WriterClosed { peer: peer(n), is_refused });
            }
            Step::ReaderOpened(n) => bench.input(Input::ReaderOpened(peer(n))),
            Step::Bytes(n, bytes) => bench.input(Input::Frame(peer(n), bytes.into())),
            Step::Words(n, words) => bench.say(n, |writer| speak(writer, &words)),
            Step::Message(n, number) => bench.send(n, &data(number)),
            Step::Publish(number) => drop(bench.publish(&data(number))),
            Step::Join(t) => bench.input(Input::Join(topic(t))),
            Step::Leave(t) => bench.input(Input::Leave(topic(t))),
            Step::Score(n, score) => bench.input(Input::ApplicationScore(peer(n), score.into())),
            Step::Name(which) => {
                if !bench.jobs.is_empty() {
                    let job = bench.jobs.remove(which.index(bench.jobs.len()));
                    bench.input(Input::Named(job.run()));
                }
            }
            Step::Judge(which, verdict) => {
                if !bench.validations.is_empty() {
                    let at = which.index(bench.validations.len());
                    let (entry, ..) = bench.validations.remove(at);
                    let all = [Acceptance::Accept, Acceptance::Ignore, Acceptance::Reject];
                    bench.input(Input::Verdict(entry, all[usize::from(verdict)]));
                }
            }
            Step::Pull(n, window) => {
                let frame = bench.router.transmit(bench.now, &peer(n), window as usize);
                if let Some(frame) = frame {
                    self.hear(n, &frame);
                }
            }
            Step::Write(n, bytes) => bench.wrote(n, bytes as usize),
            Step::Pass(millis) => bench.pass(Duration::from_millis(millis.into())),
        }
        self.check();
    }

    fn hear(&mut self, n: u16, frame: &Frame) {
        let now = self.bench.now;
        for said in said_in(frame) {
            match said {
                Said::Graft(topic) if topic == BLOCKS => {
                    assert!(self.backoffs.get(&n).is_none_or(|end| *end <= now), "an early GRAFT");
                }
                Said::Prune(topic, seconds) if topic == BLOCKS => {
                    // The word may have waited.
                    let seconds = if seconds == 0 { 60 } else { seconds };
                    assert!(seconds == 10 || seconds == 60);
                }
                Said::IDontWant(ids) => assert!(ids.len() <= 10),
                Said::Message(data) => assert!(!data.is_empty()),
                _ => {}
            }
        }
    }

    fn check(&mut self) {
        let now = self.bench.now;
        // One validation for an id in 65 s.
        for (_, _, id) in &self.bench.validations {
            self.judged.entry(*id).or_insert(now);
        }
        let mut ids: Vec<Id> = self.bench.validations.iter().map(|(_, _, id)| *id).collect();
        let count = ids.len();
        ids.sort_unstable();
        ids.dedup();
        let is_old = self.judged.values().any(|at| now.since(*at) > crate::gossip::SEEN_TTL);
        assert!(ids.len() == count || is_old, "validated twice");
        let sizes = self.bench.router.sizes();
        assert!(sizes.peers <= 6 && sizes.scored <= 6);
        assert!(sizes.judging <= MAX_ENTRIES && sizes.judging_bytes <= MAX_BYTES);
        assert!(sizes.promises <= 6 * PROMISES_PER_PEER && sizes.held <= MAX_HELD);
        assert!(sizes.cached <= MAX_CACHED && sizes.cached_bytes <= MAX_CACHED_BYTES);
        assert!(sizes.backoffs <= 12 && sizes.unwanted <= MAX_UNWANTED);
        assert!(sizes.outbox <= crate::gossip::OUTBOUND_QUEUE);
        assert!(sizes.incoming <= send::NOTICES_PER_PEER * 6 && sizes.notices <= send::HEARD);
        assert!(sizes.mesh <= 6 && sizes.fanout <= 6 && sizes.turns <= 6);
        assert!(self.bench.router.next_wakeup(now) > now, "nothing is due any more");
        for member in self.bench.mesh() {
            assert!(member < 6);
        }
    }
}

fn speak(writer: &mut ControlWriter, words: &[(u8, u8, u64)]) {
    for (kind, about, number) in words {
        let topic = [BLOCKS, OTHER, "else"][usize::from(about % 3)];
        let ids = [name(&data(*about)), Id::from([*number as u8; 20])];
        match kind {
            0 => writer.subscription(topic, number % 4 > 0),
            1 => writer.graft(topic),
            2 => writer.prune(topic, Some(*number).filter(|number| number % 3 > 0)),
            3 => writer.ihave(topic, &ids),
            4 => writer.iwant(&ids),
            5 => writer.idontwant(&ids),
            6 => writer.speaks(),
            7 => writer.sending(&ids),
            8 => writer.receiving(&ids),
            _ => writer.received(&ids),
        }
    }
}

fn world() -> World {
    let mut bench = Bench::new();
    bench.names = false;
    bench.verdict = None;
    bench.reads = false;
    World { bench, backoffs: BTreeMap::new(), judged: BTreeMap::new() }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_sequence_keeps_all_bounds(steps in vec(step(), 0..150)) {
        let mut world = world();
        steps.into_iter().for_each(|step| world.take(step));
    }

    #[test]
    fn the_same_inputs_give_the_same_outputs(steps in vec(step(), 0..80)) {
        let run = |steps: Vec<Step>| {
            let mut world = world();
            steps.into_iter().for_each(|step| world.take(step));
            let mut frames = Vec::new();
            for number in 0..6 {
                while let Some(frame) = world.bench.pull(number) {
                    frames.push((number, frame));
                }
            }
            (format!("{:?}", world.bench.outputs), frames)
        };
        prop_assert_eq!(run(steps.clone()), run(steps));
    }

    #[test]
    fn a_peer_that_was_pruned_is_left_alone(
        before in vec(step(), 0..40), seconds in 1_u64..100, waits in vec(0_u32..9_000, 1..12)
    ) {
        let mut world = world();
        world.take(Step::Connect(0, 0, true));
        world.take(Step::WriterOpened(0, 3));
        before.into_iter().for_each(|step| world.take(step));
        // A peer that is graylisted is not heard.
        prop_assume!(world.bench.score(0) >= -40.0);
        world.bench.say(0, |writer| writer.prune(BLOCKS, Some(seconds)));
        prop_assert!(!world.bench.mesh().contains(&0));
        let end = world.bench.now + secs(seconds);
        world.backoffs.insert(0, end);
        for wait in waits {
            world.take(Step::Pass(wait));
            world.take(Step::Pull(0, 100_000));
        }
    }
}
