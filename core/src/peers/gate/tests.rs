//! Scenarios for the gate, including those of the reference (`op-node/p2p/gating/expiry_test.go`).

use super::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const GOOD: PeerStanding = PeerStanding { score: 0.0, is_exempt: false };
/// Ends of the bans in these tests: one in the past, one in the future.
const OVER: u64 = 999;
const RUNS: u64 = 1001;

fn peer(number: u32) -> PeerId {
    PeerId::try_from(&number.to_be_bytes()[..]).expect("4 bytes")
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect(text)
}

fn now() -> Now {
    Now::new(Duration::ZERO, Duration::from_secs(1000))
}

fn changes(gate: &mut Gate) -> Vec<GateChange> {
    std::iter::from_fn(|| gate.poll_change()).collect()
}

/// Returns a gate with these bans, which it does not report as changes.
fn gate(peer_ban: Option<u64>, ip_ban: Option<u64>) -> Gate {
    let mut gate = Gate::default();
    let peer_ban = peer_ban.map(|until| (BanEntry::Peer(peer(1)), until));
    let ip_ban = ip_ban.map(|until| (BanEntry::Ip(ip("1.2.3.4")), until));
    assert_eq!(gate.restore([], peer_ban.into_iter().chain(ip_ban)), 0);
    gate
}

const PEER_UNBANNED: fn() -> GateChange = || GateChange::Unban(BanEntry::Peer(peer(1)));
const IP_UNBANNED: fn() -> GateChange = || GateChange::Unban(BanEntry::Ip(ip("1.2.3.4")));

#[test]
fn a_peer_is_dialled_unless_it_is_blocked_or_banned() {
    let mut expired = gate(Some(OVER), None);
    assert_eq!(expired.dial_peer(now(), &peer(1), GOOD), Ok(()));
    assert_eq!((expired.ban_of(&peer(1)), changes(&mut expired)), (None, vec![PEER_UNBANNED()]));
    assert_eq!(expired.counts().peer_unbans, 1);

    let mut active = gate(Some(RUNS), None);
    assert_eq!(active.dial_peer(now(), &peer(1), GOOD), Err(Denied::PeerBanned { until: RUNS }));
    assert_eq!((active.ban_of(&peer(1)), changes(&mut active)), (Some(RUNS), vec![]));

    let mut unknown = gate(None, None);
    assert_eq!(unknown.dial_peer(now(), &peer(1), GOOD), Ok(()));

    // The ban is not even checked.
    let mut inner = gate(Some(OVER), None);
    inner.block_peer(peer(1)).expect("room");
    assert_eq!(inner.dial_peer(now(), &peer(1), GOOD), Err(Denied::PeerBlocked));
    assert_eq!(inner.ban_of(&peer(1)), Some(OVER));
}

#[test]
fn configured_entries_are_blocked_until_they_are_removed() {
    let mut gate = Gate::default();
    gate.block_ip(ip("9.9.9.9")).expect("room");
    assert_eq!(changes(&mut gate).len(), 1);
    let net = |text: &str| BlockEntry::Subnet(text.parse().expect(text));
    let peer_1 = BlockEntry::Peer(peer(1));
    let entries = [peer_1, BlockEntry::Ip(ip("::ffff:1.2.3.4")), net("10.0.0.0/8")];
    assert_eq!(gate.configure(entries), Ok((3, 0)));
    // They are read at each start, so they are not stored.
    assert_eq!(changes(&mut gate), []);
    assert_eq!(gate.dial_peer(now(), &peer(1), GOOD), Err(Denied::PeerBlocked));
    let blocked = Denied::AddressBlocked(ip("1.2.3.4"));
    assert_eq!(gate.accept(now(), Some(ip("1.2.3.4"))), Err(blocked));
    let around = Denied::SubnetBlocked("10.0.0.0/8".parse().expect("a network"));
    assert_eq!(gate.accept(now(), Some(ip("10.1.1.1"))), Err(around));
    assert!(gate.holds(now(), &peer(1), &[]) && gate.is_configured(&peer_1));
    assert_eq!(gate.blocked_ips().collect::<Vec<_>>(), [ip("9.9.9.9"), ip("1.2.3.4")]);

    // The entry blocked by a command remains.
    assert_eq!(gate.configure([net("10.1.0.0/16"), BlockEntry::Ip(ip("9.9.9.9"))]), Ok((2, 3)));
    assert_eq!(gate.accept(now(), Some(ip("10.2.1.1"))), Ok(()));
    assert_eq!(gate.configure([]), Ok((0, 2)));
    assert_eq!(gate.blocked_ips().collect::<Vec<_>>(), [ip("9.9.9.9")]);
    assert_eq!(gate.accept(now(), Some(ip("10.1.1.1"))), Ok(()));
}

#[test]
fn a_command_lifts_a_configured_block_and_too_many_entries_change_nothing() {
    let mut gate = Gate::new(GateConfig { blocks_per_list: 2, ..GateConfig::default() });
    assert_eq!(gate.configure([BlockEntry::Peer(peer(1))]), Ok((1, 0)));
    let three = [2, 3, 4].map(|number| BlockEntry::Peer(peer(number)));
    assert_eq!(gate.configure(three), Err(ListFull(2)));
    assert_eq!(gate.blocked_peers().collect::<Vec<_>>(), [peer(1)]);
    assert!(gate.unblock_peer(&peer(1)) && !gate.unblock_peer(&peer(1)));
    assert_eq!((changes(&mut gate), gate.blocked_peers().count()), (vec![], 0));
    gate.configure_first(three);
    assert_eq!(gate.blocked_peers().collect::<Vec<_>>(), [peer(2), peer(3)]);
}

#[test]
fn a_ban_ends_at_its_expiry_second() {
    assert_eq!(gate(Some(1000), None).dial_peer(now(), &peer(1), GOOD), Ok(()));
    assert_eq!(gate(None, Some(1000)).accept(now(), Some(ip("1.2.3.4"))), Ok(()));
}

#[test]
fn an_address_is_dialled_unless_it_or_its_peer_is_blocked_or_banned() {
    let peer_banned = Err(Denied::PeerBanned { until: RUNS });
    let ip_banned = Err(Denied::AddressBanned { ip: ip("1.2.3.4"), until: RUNS });
    for (peer_ban, ip_ban, decision, reported) in [
        (None, Some(OVER), Ok(()), vec![IP_UNBANNED()]),
        (None, Some(RUNS), ip_banned, vec![]),
        (None, None, Ok(()), vec![]),
        (Some(OVER), Some(RUNS), ip_banned, vec![PEER_UNBANNED()]),
        // The ban of the IP address is not checked.
        (Some(RUNS), Some(OVER), peer_banned, vec![]),
        (Some(OVER), Some(OVER), Ok(()), vec![PEER_UNBANNED(), IP_UNBANNED()]),
    ] {
        for text in ["1.2.3.4", "::ffff:1.2.3.4"] {
            let mut gate = gate(peer_ban, ip_ban);
            assert_eq!(gate.dial_address(now(), Some(&peer(1)), Some(ip(text))), decision);
            assert_eq!(changes(&mut gate), reported);
        }
    }
    let mut inner = gate(Some(OVER), Some(OVER));
    inner.block_subnet("1.2.0.0/16".parse().expect("subnet")).expect("room");
    changes(&mut inner);
    let denied = Err(Denied::SubnetBlocked("1.2.0.0/16".parse().expect("subnet")));
    assert_eq!(inner.dial_address(now(), Some(&peer(1)), Some(ip("1.2.3.4"))), denied);
    assert_eq!(changes(&mut inner), []);
    assert_eq!(inner.dial_address(now(), None, Some(ip("1.3.0.0"))), Ok(()));
}

#[test]
fn an_address_without_an_ip_is_dialled_unless_its_peer_is_banned() {
    let mut gate = gate(Some(RUNS), Some(RUNS));
    gate.block_subnet("0.0.0.0/0".parse().expect("subnet")).expect("room");
    assert_eq!(gate.dial_address(now(), None, None), Ok(()));
    assert_eq!(gate.dial_address(now(), Some(&peer(2)), None), Ok(()));
    assert!(gate.dial_address(now(), Some(&peer(1)), None).is_err());
    assert_eq!(gate.accept(now(), None), Ok(()));
}

#[test]
fn a_connection_is_accepted_unless_its_address_is_blocked_or_banned() {
    for text in ["1.2.3.4", "::ffff:1.2.3.4"] {
        let from = Some(ip(text));
        let mut expired = gate(None, Some(OVER));
        assert_eq!(
            (expired.accept(now(), from), changes(&mut expired)),
            (Ok(()), vec![IP_UNBANNED()])
        );
        let denied = Err(Denied::AddressBanned { ip: ip("1.2.3.4"), until: RUNS });
        assert_eq!(gate(None, Some(RUNS)).accept(now(), from), denied);
        assert_eq!(gate(None, None).accept(now(), from), Ok(()));
        let mut inner = gate(None, Some(OVER));
        inner.block_ip(ip(text)).expect("room");
        assert_eq!(inner.accept(now(), from), Err(Denied::AddressBlocked(ip("1.2.3.4"))));
        assert_eq!(inner.ban_of_ip(ip(text)), Some(OVER));
    }
}

#[test]
fn a_secured_connection_is_checked_in_both_directions() {
    for inbound in [true, false] {
        let mut expired = gate(Some(OVER), None);
        assert_eq!(expired.secured(now(), &peer(1), None, inbound, GOOD), Ok(()));
        assert_eq!(changes(&mut expired), [PEER_UNBANNED()]);
        let denied = Err(Denied::PeerBanned { until: RUNS });
        assert_eq!(gate(Some(RUNS), None).secured(now(), &peer(1), None, inbound, GOOD), denied);
        assert_eq!(gate(None, None).secured(now(), &peer(1), None, inbound, GOOD), Ok(()));
        let mut inner = gate(Some(OVER), None);
        inner.block_peer(peer(1)).expect("room");
        assert_eq!(inner.secured(now(), &peer(1), None, inbound, GOOD), Err(Denied::PeerBlocked));
        let denied = Err(Denied::AddressBanned { ip: ip("1.2.3.4"), until: RUNS });
        let from = Some(ip("::ffff:1.2.3.4"));
        assert_eq!(gate(None, Some(RUNS)).secured(now(), &peer(1), from, inbound, GOOD), denied);
    }
}

#[test]
fn a_low_score_is_refused_unless_the_peer_is_exempt() {
    let mut gate = Gate::new(GateConfig { min_score: Some(-10.0), ..GateConfig::default() });
    let bad = PeerStanding { score: -10.5, is_exempt: false };
    let denied = Err(Denied::LowScore { score: -10.5, min: -10.0 });
    assert_eq!(gate.dial_peer(now(), &peer(1), bad), denied);
    assert_eq!(gate.secured(now(), &peer(1), None, true, bad), denied);
    assert_eq!(
        gate.dial_peer(now(), &peer(1), PeerStanding { score: -10.0, is_exempt: false }),
        Ok(())
    );
    let exempt = PeerStanding { is_exempt: true, ..bad };
    assert_eq!(gate.secured(now(), &peer(1), None, true, exempt), Ok(()));
    gate.ban_peer(peer(1), RUNS);
    assert_eq!(gate.dial_peer(now(), &peer(1), exempt), Err(Denied::PeerBanned { until: RUNS }));
    gate.block_peer(peer(1)).expect("room");
    assert_eq!(gate.dial_peer(now(), &peer(1), exempt), Err(Denied::PeerBlocked));
}

#[test]
fn block_lists_are_checked_before_bans_and_bans_before_the_score() {
    let mut gate = Gate::new(GateConfig { min_score: Some(0.0), ..GateConfig::default() });
    let subnet = "1.2.3.0/24".parse().expect("subnet");
    gate.block_peer(peer(1)).expect("room");
    gate.block_ip(ip("1.2.3.4")).expect("room");
    gate.block_subnet(subnet).expect("room");
    gate.block_subnet("1.0.0.0/8".parse().expect("subnet")).expect("room");
    let mut check = |undo: fn(&mut Gate)| {
        let bad = PeerStanding { score: -1.0, is_exempt: false };
        let decision = gate.secured(now(), &peer(1), Some(ip("1.2.3.4")), true, bad);
        undo(&mut gate);
        decision
    };
    assert_eq!(check(|gate| assert!(gate.unblock_peer(&peer(1)))), Err(Denied::PeerBlocked));
    let denied = Err(Denied::AddressBlocked(ip("1.2.3.4")));
    assert_eq!(check(|gate| assert!(gate.unblock_ip(ip("::ffff:1.2.3.4")))), denied);
    let unblock: fn(&mut Gate) = |gate| {
        let all: Vec<_> = gate.blocked_subnets().collect();
        assert!(all.iter().all(|subnet| gate.unblock_subnet(subnet)));
        assert!(gate.ban_peer(peer(1), RUNS) && gate.ban_ip(ip("1.2.3.4"), RUNS));
    };
    assert_eq!(check(unblock), Err(Denied::SubnetBlocked(subnet)));
    let denied = Err(Denied::PeerBanned { until: RUNS });
    assert_eq!(check(|gate| assert!(gate.lift_peer_ban(&peer(1)))), denied);
    let denied = Err(Denied::AddressBanned { ip: ip("1.2.3.4"), until: RUNS });
    assert_eq!(check(|gate| assert!(gate.lift_ip_ban(ip("::ffff:1.2.3.4")))), denied);
    assert_eq!(check(|_| ()), Err(Denied::LowScore { score: -1.0, min: 0.0 }));
}

#[test]
fn reported_changes_apply_again_after_a_restart() {
    let mut gate = Gate::default();
    let subnet = "2001:db8::/32".parse().expect("subnet");
    gate.block_peer(peer(1)).expect("room");
    gate.block_peer(peer(1)).expect("room");
    gate.block_peer(peer(2)).expect("room");
    gate.block_ip(ip("::ffff:9.9.9.9")).expect("room");
    gate.block_subnet(subnet).expect("room");
    gate.ban_peer(peer(3), RUNS);
    gate.ban_ip(ip("::ffff:1.2.3.4"), RUNS);
    gate.unblock_peer(&peer(2));
    let who = BanEntry::Ip(ip("1.2.3.4"));
    let reported = changes(&mut gate);
    assert_eq!(
        reported,
        [
            GateChange::Block(BlockEntry::Peer(peer(1))),
            GateChange::Block(BlockEntry::Peer(peer(2))),
            GateChange::Block(BlockEntry::Ip(ip("9.9.9.9"))),
            GateChange::Block(BlockEntry::Subnet(subnet)),
            GateChange::Ban { who: BanEntry::Peer(peer(3)), until: RUNS },
            GateChange::Ban { who, until: RUNS },
            GateChange::Unblock(BlockEntry::Peer(peer(2))),
        ]
    );
    let (mut blocks, mut bans) = (BTreeSet::new(), BTreeMap::new());
    for change in reported {
        match change {
            GateChange::Block(entry) => assert!(blocks.insert(entry)),
            GateChange::Unblock(entry) => assert!(blocks.remove(&entry)),
            GateChange::Ban { who, until } => assert_eq!(bans.insert(who, until), None),
            GateChange::Unban(who) => assert!(bans.remove(&who).is_some()),
        }
    }
    let mut again = Gate::default();
    assert_eq!(again.restore(blocks, bans), 0);
    assert_eq!(again.poll_change(), None);
    assert_eq!(again.dial_peer(now(), &peer(1), GOOD), Err(Denied::PeerBlocked));
    assert_eq!(again.dial_peer(now(), &peer(2), GOOD), Ok(()));
    assert_eq!(again.dial_peer(now(), &peer(3), GOOD), Err(Denied::PeerBanned { until: RUNS }));
    assert!(again.accept(now(), Some(ip("9.9.9.9"))).is_err());
    assert!(again.accept(now(), Some(ip("1.2.3.4"))).is_err());
    assert!(again.accept(now(), Some(ip("2001:db8::5"))).is_err());
    assert_eq!(again.blocked_peers().collect::<Vec<_>>(), [peer(1)]);
    assert_eq!(again.blocked_ips().collect::<Vec<_>>(), [ip("9.9.9.9")]);
    assert_eq!(again.peer_bans().collect::<Vec<_>>(), [(peer(3), RUNS)]);
    assert_eq!(again.ip_bans().collect::<Vec<_>>(), [(ip("1.2.3.4"), RUNS)]);
}

#[test]
fn only_set_ban_shortens_a_ban() {
    let mut gate = Gate::default();
    assert!(gate.ban_peer(peer(1), 2000) && gate.ban_ip(ip("::1"), 2000));
    assert!(gate.ban_peer(peer(1), 1500) && gate.ban_ip(ip("::1"), 1500));
    assert_eq!((gate.ban_of(&peer(1)), gate.ban_of_ip(ip("::1"))), (Some(2000), Some(2000)));
    assert_eq!(changes(&mut gate).len(), 2);
    assert!(gate.set_peer_ban(peer(1), 1500) && gate.set_ip_ban(ip("::1"), 1500));
    assert_eq!((gate.ban_of(&peer(1)), gate.ban_of_ip(ip("::1"))), (Some(1500), Some(1500)));
    assert_eq!(
        changes(&mut gate)[0],
        GateChange::Ban { who: BanEntry::Peer(peer(1)), until: 1500 }
    );
    // A ban may be arbitrarily long, whereas the reference forgets it after seven days.
    gate.ban_peer(peer(1), u64::MAX);
    let late = Now::new(Duration::ZERO, Duration::from_secs(1 << 40));
    assert!(gate.dial_peer(late, &peer(1), GOOD).is_err());
}

#[test]
fn unblocking_a_peer_also_ends_its_ban() {
    let mut gate = Gate::default();
    gate.ban_peer(peer(1), RUNS);
    gate.block_peer(peer(1)).expect("room");
    changes(&mut gate);
    assert!(gate.unblock_peer(&peer(1)));
    assert_eq!(
        changes(&mut gate),
        [GateChange::Unblock(BlockEntry::Peer(peer(1))), PEER_UNBANNED()]
    );
    assert_eq!(gate.dial_peer(now(), &peer(1), GOOD), Ok(()));
    assert!(!gate.unblock_peer(&peer(1)));
    assert_eq!((changes(&mut gate), gate.counts().peer_unbans), (vec![], 1));
}

#[test]
fn full_lists_refuse_and_full_tables_drop_the_ban_that_ends_first() {
    let config = GateConfig { blocks_per_list: 2, bans_per_table: 2, min_score: None };
    let mut gate = Gate::new(config);
    assert_eq!([1, 2, 2].map(|number| gate.block_peer(peer(number))), [Ok(()); 3]);
    assert_eq!(gate.block_peer(peer(3)), Err(ListFull(2)));
    assert!(gate.unblock_peer(&peer(1)));
    assert_eq!(gate.block_peer(peer(3)), Ok(()));
    changes(&mut gate);
    assert!(gate.ban_peer(peer(1), 20) && gate.ban_peer(peer(2), 10) && gate.ban_peer(peer(3), 30));
    assert_eq!(gate.peer_bans().collect::<Vec<_>>(), [(peer(1), 20), (peer(3), 30)]);
    let reported = changes(&mut gate);
    assert_eq!((reported.len(), reported[2]), (4, GateChange::Unban(BanEntry::Peer(peer(2)))));
    assert!(!gate.ban_peer(peer(4), 15));
    assert_eq!((changes(&mut gate), gate.ban_of(&peer(4))), (vec![], None));
    let stored = (0..5).map(|number| (BanEntry::Peer(peer(number)), 100 + u64::from(number)));
    let mut again = Gate::new(config);
    assert_eq!(again.restore((0..5).map(peer).map(BlockEntry::Peer), stored), 6);
    assert_eq!(again.peer_bans().collect::<Vec<_>>(), [(peer(3), 103), (peer(4), 104)]);
    assert_eq!(again.counts(), GateCounts::default());
}

#[test]
fn decisions_are_counted_by_direction() {
    let mut gate = gate(Some(RUNS), Some(RUNS));
    let _ = gate.dial_peer(now(), &peer(1), GOOD);
    let _ = gate.dial_peer(now(), &peer(2), GOOD);
    let _ = gate.dial_address(now(), Some(&peer(2)), None);
    let _ = gate.secured(now(), &peer(2), None, false, GOOD);
    let _ = gate.accept(now(), Some(ip("1.2.3.4")));
    let _ = gate.accept(now(), None);
    let _ = gate.secured(now(), &peer(1), None, true, GOOD);
    let expected = GateCounts {
        dials_allowed: 3,
        dials_denied: 1,
        accepts_allowed: 1,
        accepts_denied: 2,
        ..GateCounts::default()
    };
    assert_eq!(gate.counts(), expected);
}

proptest! {
    #[test]
    fn its_reports_match_its_entries(
        steps in prop::collection::vec((0_u8..12, 0_u32..6, 0_u64..60), 0..200),
    ) {
        let config = GateConfig { min_score: None, blocks_per_list: 3, bans_per_table: 3 };
        let mut gate = Gate::new(config);
        let (mut blocks, mut bans) = (BTreeSet::new(), BTreeMap::new());
        for (action, number, seconds) in steps {
            let (peer, until) = (peer(number), seconds);
            let now = Now::new(Duration::ZERO, Duration::from_secs(seconds));
            let ip = IpAddr::V4(number.into());
            let subnet = Subnet::new(ip, 31).expect("31 bits");
            match action {
                0 => _ = gate.block_peer(peer),
                1 => _ = gate.block_ip(ip),
                2 => _ = gate.block_subnet(subnet),
                3 => _ = gate.unblock_peer(&peer),
                4 => _ = gate.unblock_ip(ip),
                5 => _ = gate.unblock_subnet(&subnet),
                6 => prop_assert_eq!(gate.ban_peer(peer, until), gate.ban_of(&peer).is_some()),
                7 => prop_assert_eq!(gate.ban_ip(ip, until), gate.ban_of_ip(ip).is_some()),
                8 => _ = gate.set_peer_ban(peer, until),
                9 => _ = gate.set_ip_ban(ip, until),
                10 => _ = gate.lift_peer_ban(&peer) | gate.lift_ip_ban(ip),
                _ => {
                    let decision = gate.secured(now, &peer, Some(ip), true, GOOD);
                    let is_blocked = blocks.contains(&BlockEntry::Peer(peer))
                        || blocks.contains(&BlockEntry::Ip(ip))
                        || blocks.contains(&BlockEntry::Subnet(subnet));
                    let runs = |who| bans.get(&who).is_some_and(|until| seconds < *until);
                    let is_banned = runs(BanEntry::Peer(peer)) || runs(BanEntry::Ip(ip));
                    prop_assert_eq!(decision.is_ok(), !is_blocked && !is_banned);
                }
            }
            let reported = changes(&mut gate);
            prop_assert!(reported.len() <= 2);
            for change in reported {
                match change {
                    GateChange::Block(entry) => prop_assert!(blocks.insert(entry)),
                    GateChange::Unblock(entry) => prop_assert!(blocks.remove(&entry)),
                    GateChange::Ban { who, until } => prop_assert_ne!(
                        bans.insert(who, until), Some(until)
                    ),
                    GateChange::Unban(who) => prop_assert!(bans.remove(&who).is_some()),
                }
            }
            let peers = gate.blocked_peers().map(BlockEntry::Peer);
            let ips = gate.blocked_ips().map(BlockEntry::Ip);
            let subnets = gate.blocked_subnets().map(BlockEntry::Subnet);
            let lists = &gate.commanded;
            prop_assert!(
                lists.peers.len() <= 3 && lists.ips.len() <= 3 && lists.subnets.len() <= 3
            );
            prop_assert_eq!(
                peers.chain(ips).chain(subnets).collect::<BTreeSet<_>>(), blocks.clone()
            );
            let peers = gate.peer_bans().map(|(peer, until)| (BanEntry::Peer(peer), until));
            let ips = gate.ip_bans().map(|(ip, until)| (BanEntry::Ip(ip), until));
            prop_assert!(gate.peer_bans().count() <= 3 && gate.ip_bans().count() <= 3);
            prop_assert_eq!(peers.chain(ips).collect::<BTreeMap<_, _>>(), bans.clone());
        }
    }
}

#[test]
fn a_ban_of_this_run_keeps_its_duration_when_the_wall_clock_jumps() {
    let at = |unix: u64| Now::new(Duration::ZERO, Duration::from_secs(unix));
    for jump in [3600_i64, -3600] {
        // A ban from an earlier run keeps its end.
        let mut gate = gate(Some(RUNS), None);
        let base = 100_000_u64;
        assert!(gate.ban_peer(peer(2), base + 60));
        assert!(gate.ban_ip(ip("::ffff:5.6.7.8"), base + 60));
        changes(&mut gate);
        gate.clock_jumped(jump);
        let then = base.saturating_add_signed(jump);
        assert!(gate.secured(at(then + 59), &peer(2), None, true, GOOD).is_err());
        assert!(gate.accept(at(then + 59), Some(ip("5.6.7.8"))).is_err());
        assert_eq!(changes(&mut gate).len(), 2, "both ends are stored anew");
        assert!(gate.secured(at(then + 60), &peer(2), None, true, GOOD).is_ok());
        assert!(gate.accept(at(then + 60), Some(ip("5.6.7.8"))).is_ok());
        changes(&mut gate);
        gate.clock_jumped(jump);
        assert_eq!(changes(&mut gate), [], "what is over is not moved");
        assert_eq!(gate.ban_of(&peer(1)), Some(RUNS));
    }
}
