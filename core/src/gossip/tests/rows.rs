//! Checks 1 to 12 of the reference's validator (`op-node/p2p/gossip.go`, `BuildBlocksValidator`),
//! each by its number, with its boundary values.

use super::*;

/// Returns a message of exactly `size` bytes, most of them in one transaction of zeros.
fn block_of_size(version: PayloadVersion, size: usize) -> Vec<u8> {
    let empty = changed(version, |payload| payload.transactions = vec![Default::default()]);
    let filler = size - signed(&empty).len();
    let contents =
        signed(&changed(version, |payload| payload.transactions = vec![vec![0; filler].into()]));
    assert_eq!(contents.len(), size);
    contents
}

#[test]
fn row_01_the_snappy_length_header_must_parse() {
    let bad: [&[u8]; 6] = [
        &[],
        &[0xff],
        &[0xff; 5],
        &[0x80, 0x80, 0x80, 0x80, 0x80],
        // Announces 2^32.
        &[0x80, 0x80, 0x80, 0x80, 0x10, 0],
        &[0xff; 100],
    ];
    for version in PayloadVersion::ALL {
        for data in bad {
            let reason = judge_data(&rules(version), version, data, NOW);
            assert_eq!(reason, Some(Reason::SnappyHeader), "{data:02x?}");
        }
    }
    assert_eq!(Reason::SnappyHeader.acceptance(), Acceptance::Reject);
}

#[test]
fn row_02_10_mib_are_accepted_and_one_byte_more_is_not() {
    assert_eq!(MAX_MESSAGE_SIZE, 10_485_760);
    for version in PayloadVersion::ALL {
        assert_accepted(&rules(version), version, &block_of_size(version, MAX_MESSAGE_SIZE));
        let over = block_of_size(version, MAX_MESSAGE_SIZE + 1);
        assert_rejected(&rules(version), version, &over, Reason::AnnouncedTooLong);
    }
}

#[test]
fn row_02_the_announced_length_is_not_allocated() {
    for announced in [MAX_MESSAGE_SIZE as u64 + 1, 1 << 30, u64::from(u32::MAX)] {
        let bomb = [announcing(announced), vec![0; 2]].concat();
        assert_eq!(Unpacked::new(&bomb).size(), bomb.len());
        let reason = judge_data(&rules(V3), V3, &bomb, NOW);
        assert_eq!(reason, Some(Reason::AnnouncedTooLong), "announces {announced}");
    }
    // 213 MB of zeros in 10 MB on the wire, which takes other nodes a second and 430 MB.
    let wire = snappy::compress(&vec![0; 213 << 20]);
    assert!(wire.len() <= MAX_MESSAGE_SIZE);
    assert_eq!(Unpacked::new(&wire).size(), wire.len());
    assert_eq!(Unpacked::new(&wire).into_contents(), Err(Reason::AnnouncedTooLong));
}

#[test]
fn row_03_66_bytes_are_enough_to_be_judged_and_65_are_not() {
    assert_eq!(MIN_MESSAGE_SIZE, 66);
    for version in PayloadVersion::ALL {
        let shortest = signed_by(&sequencer(), &[0]);
        assert_eq!(shortest.len(), 66);
        assert_rejected(&rules(version), version, &shortest, Reason::Payload);
        let too_short = signed_by(&sequencer(), &[]);
        assert_eq!(too_short.len(), 65);
        assert_rejected(&rules(version), version, &too_short, Reason::AnnouncedTooShort);
        assert_rejected(&rules(version), version, &[], Reason::AnnouncedTooShort);
    }
}

#[test]
fn row_04_the_snappy_block_must_decode() {
    for version in PayloadVersion::ALL {
        let data = snappy::compress(&signed(&block(version)));
        assert_eq!(judge_data(&rules(version), version, &data, NOW), None);
        let length = signed(&block(version)).len() as u64;
        let (header, body) = data.split_at(announcing(length).len());
        assert_eq!(header, announcing(length));
        for bad in [
            data[..data.len() - 1].to_vec(),
            [&data[..], &[0]].concat(),
            header.to_vec(),
            // One byte more and one less than the body has.
            [&announcing(length + 1)[..], body].concat(),
            [&announcing(length - 1)[..], body].concat(),
            // A copy element that points before the start.
            [header, &[0xff, 0xff, 0xff]].concat(),
            // More than the body could ever decompress to.
            [&announcing(MAX_MESSAGE_SIZE as u64)[..], body].concat(),
        ] {
            let reason = judge_data(&rules(version), version, &bad, NOW);
            assert_eq!(reason, Some(Reason::SnappyBody));
        }
    }
    assert_eq!(Reason::SnappyBody.acceptance(), Acceptance::Reject);
}

#[test]
fn row_05_every_possible_chain_id_has_a_signing_hash() {
    // A node's chain id has 64 bits, so this check can't fail there; `ChainIdWord` refuses more
    // than 256.
    for chain_id in [0, 1, u64::MAX] {
        let envelope = block(V4);
        let hash = signing_hash(BLOCK_DOMAIN, chain_id.into(), payload_hash(&body(&envelope)));
        let contents = [&sequencer().sign(&hash)[..], &body(&envelope)].concat();
        assert_accepted(&Rules { chain_id, ..rules(V4) }, V4, &contents);
    }
    let mut too_large = [0; 33];
    too_large[0] = 1;
    assert_eq!(ChainIdWord::from_be_bytes(&too_large), Err(ChainIdTooLarge));
}

#[test]
fn row_06_a_public_key_must_be_recoverable() {
    for version in PayloadVersion::ALL {
        let contents = signed(&block(version));
        let rules = rules(version);
        // The chain's own encoding has v of 0 or 1; 27, 28 and values with a chain id are other
        // encodings.
        for v in 4..=255 {
            assert_rejected(&rules, version, &with_v(&contents, v), Reason::Signature);
        }
        for (at, number) in [(0, [0; 32]), (32, [0; 32]), (0, [0xff; 32]), (32, [0xff; 32])] {
            let mut contents = contents.clone();
            contents[at..at + 32].copy_from_slice(&number);
            assert_rejected(&rules, version, &contents, Reason::Signature);
        }
        // 5 is the x of no point on the curve.
        let mut no_point = contents.clone();
        no_point[..32].copy_from_slice(&B256::with_last_byte(5)[..]);
        assert_rejected(&rules, version, &no_point, Reason::Signature);
    }
}

#[test]
fn row_06_a_high_s_is_accepted() {
    for version in PayloadVersion::ALL {
        let twin = high_s_twin(&signed(&block(version)));
        assert_ne!(twin, signed(&block(version)));
        assert_accepted(&rules(version), version, &twin);
    }
}

#[test]
fn row_07_without_a_signer_everything_is_ignored_before_any_recovery() {
    for version in PayloadVersion::ALL {
        let unknown = rules_of(version, None, None);
        let contents = signed(&block(version));
        for contents in [contents.clone(), with_v(&contents, 27), vec![0; 66], vec![0xff; 1000]] {
            assert_eq!(judge(&unknown, version, &contents), Some(Reason::NoSigner));
        }
        // A predecessor alone is not enough.
        let only_previous = rules_of(version, None, Some(sequencer().address()));
        assert_eq!(judge(&only_previous, version, &contents), Some(Reason::NoSigner));
        // Data that is not a message is still the sender's fault.
        assert_eq!(judge_data(&unknown, version, &[], NOW), Some(Reason::SnappyHeader));
    }
    assert_eq!(Reason::NoSigner.acceptance(), Acceptance::Ignore);
}

#[test]
fn row_08_the_recovered_address_must_be_the_signers() {
    for version in PayloadVersion::ALL {
        let rules = rules(version);
        let foreign = signed_by(&key(8), &body(&block(version)));
        assert_rejected(&rules, version, &foreign, Reason::WrongSigner);
        // The other recovery ids of a signature yield other keys, or no key.
        let contents = signed(&block(version));
        let other = with_v(&contents, contents[64] ^ 1);
        assert_rejected(&rules, version, &other, Reason::WrongSigner);
        let elsewhere = Rules { chain_id: CHAIN_ID + 1, ..rules.clone() };
        assert_rejected(&elsewhere, version, &contents, Reason::WrongSigner);
        // A signature by the right key over other bytes.
        let mut moved = contents[..65].to_vec();
        moved.extend(body(&changed(version, |payload| payload.gas_used += 1)));
        assert_rejected(&rules, version, &moved, Reason::WrongSigner);
    }
}

#[test]
fn row_08_a_previous_signer_is_also_accepted() {
    for version in PayloadVersion::ALL {
        let (old, new) = (key(8), sequencer());
        let body = body(&block(version));
        let rotated = rules_of(version, Some(new.address()), Some(old.address()));
        assert_accepted(&rotated, version, &signed_by(&old, &body));
        assert_accepted(&rotated, version, &signed_by(&new, &body));
        assert_rejected(&rotated, version, &signed_by(&key(9), &body), Reason::WrongSigner);
        let over = rules_of(version, Some(new.address()), None);
        assert_rejected(&over, version, &signed_by(&old, &body), Reason::WrongSigner);
    }
}

#[test]
fn row_09_the_payload_must_decode_as_the_topics_version() {
    for version in PayloadVersion::ALL {
        let rules = rules(version);
        for other in PayloadVersion::ALL.into_iter().filter(|other| *other != version) {
            assert_rejected(&rules, version, &signed(&block(other)), Reason::Payload);
        }
        let body = body(&block(version));
        for length in [1, 31, 32, 33, 500, body.len() - 101] {
            let cut = signed_by(&sequencer(), &body[..length]);
            assert_rejected(&rules, version, &cut, Reason::Payload);
        }
        let before = if version.has_beacon_root() { 32 } else { 0 };
        let mut bad_offset = body.clone();
        bad_offset[before + 436] ^= 1;
        assert_rejected(&rules, version, &signed_by(&sequencer(), &bad_offset), Reason::Payload);
    }
}

#[test]
fn row_10_a_timestamp_60_seconds_old_is_accepted_and_61_is_not() {
    for version in PayloadVersion::ALL {
        let at = |timestamp| signed(&changed(version, |payload| payload.timestamp = timestamp));
        assert_accepted(&rules(version), version, &at(NOW - 60));
        assert_rejected(&rules(version), version, &at(NOW - 61), Reason::TooOld);
        assert_rejected(&rules(version), version, &at(0), Reason::TooOld);
    }
}

#[test]
fn row_10_the_threshold_is_configurable_in_whole_seconds() {
    for version in PayloadVersion::ALL {
        let at = |timestamp| signed(&changed(version, |payload| payload.timestamp = timestamp));
        for (threshold, seconds) in [
            (Duration::from_millis(30_999), 30),
            (Duration::from_secs(30), 30),
            (Duration::from_millis(999), 0),
            (Duration::ZERO, 0),
            (Duration::from_secs(600), 600),
        ] {
            let rules = Rules { timestamp_threshold: threshold, ..rules(version) };
            assert_accepted(&rules, version, &at(NOW - seconds));
            assert_rejected(&rules, version, &at(NOW - seconds.max(60) - 1), Reason::TooOld);
            // Other nodes relay blocks up to 60 s old, so an age beyond our shorter limit is not
            // their fault.
            if seconds < 60 {
                for age in [seconds + 1, 60] {
                    let reason = judge(&rules, version, &at(NOW - age));
                    assert_eq!(reason, Some(Reason::TooOldHere));
                }
            }
        }
        // A threshold beyond the start of time accepts every block of the past.
        let rules = Rules { timestamp_threshold: Duration::MAX, ..rules(version) };
        assert_accepted(&rules, version, &at(0));
    }
}

#[test]
fn row_11_a_timestamp_5_seconds_ahead_is_accepted_and_6_is_not() {
    for version in PayloadVersion::ALL {
        let at = |timestamp| signed(&changed(version, |payload| payload.timestamp = timestamp));
        assert_accepted(&rules(version), version, &at(NOW + 5));
        assert_rejected(&rules(version), version, &at(NOW + 6), Reason::TooNew);
        assert_rejected(&rules(version), version, &at(u64::MAX), Reason::TooNew);
    }
}

#[test]
fn rows_10_and_11_hold_at_the_extremes_of_time() {
    let data = |timestamp| {
        snappy::compress(&signed(&changed(V4, |payload| payload.timestamp = timestamp)))
    };
    let rules = rules(V4);
    // Less than 60 seconds after the start no block is too old, and nothing wraps around.
    assert_eq!(judge_data(&rules, V4, &data(0), 59), None);
    assert_eq!(judge_data(&rules, V4, &data(0), 60), None);
    assert_eq!(judge_data(&rules, V4, &data(0), 61), Some(Reason::TooOld));
    assert_eq!(judge_data(&rules, V4, &data(u64::MAX), u64::MAX), None);
    assert_eq!(judge_data(&rules, V4, &data(u64::MAX), u64::MAX - 6), Some(Reason::TooNew));
    assert_eq!(judge_data(&rules, V4, &data(u64::MAX - 61), u64::MAX), Some(Reason::TooOld));
}

#[test]
fn row_12_the_block_hash_must_match() {
    for version in PayloadVersion::ALL {
        let mut claims_another = block(version);
        claims_another.payload.block_hash.0[31] ^= 1;
        assert_rejected(&rules(version), version, &signed(&claims_another), Reason::BlockHash);
        let mut changed_after = block(version);
        changed_after.payload.gas_used += 1;
        assert_rejected(&rules(version), version, &signed(&changed_after), Reason::BlockHash);
        let mut other_transactions = block(version);
        other_transactions.payload.transactions.swap(0, 1);
        assert_rejected(&rules(version), version, &signed(&other_transactions), Reason::BlockHash);
    }
    for version in [V3, V4] {
        let mut other_root = block(version);
        other_root.parent_beacon_block_root = Some(B256::ZERO);
        assert_rejected(&rules(version), version, &signed(&other_root), Reason::BlockHash);
    }
}

#[test]
fn row_12_a_number_of_2_to_the_63_or_more_matches_no_hash() {
    for version in PayloadVersion::ALL {
        let numbered = |number| signed(&changed(version, |payload| payload.block_number = number));
        assert_accepted(&rules(version), version, &numbered((1 << 63) - 1));
        assert_rejected(&rules(version), version, &numbered(1 << 63), Reason::BlockHash);
        assert_rejected(&rules(version), version, &numbered(u64::MAX), Reason::BlockHash);
    }
}
