//! The validator of kona compared with ours, and with the reference's where the two differ.

use crate::kona::{blocks, grown};
use crate::kona_node::{Judged, Konas, rollup};
use crate::op_node::OpNodes;
use crate::ours::{self, chain, chain_of, message, padded, signed};
use crate::verdicts::bad_messages;
use alloy_primitives::{Address, B256, U256, hex};
use opp2p::devnet::{BlockMaker, unix_seconds};
use opp2p_core::chain::{ChainConfig, Fork, ForkSchedule};
use opp2p_core::gossip::{
    MAX_MESSAGE_SIZE, Reason, Rules, SIGNATURE_SIZE, ScheduleRule, SeenBlocks, Signers,
    TIMESTAMP_THRESHOLD, Unpacked, validate,
};
use opp2p_core::payload::{Envelope, PayloadVersion, Withdrawal, snappy};
use opp2p_core::sequencer::LocalSigner;
use serde_json::json;

/// Our validator, with its memory of seen blocks.
struct Ours {
    rules: Rules,
    seen: SeenBlocks,
}

impl Ours {
    fn new(chain: &ChainConfig, signer: Address) -> Self {
        let current = Some(signer).filter(|signer| !signer.is_zero());
        let rules = Rules::new(chain, Signers { current, previous: None });
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

/// Returns `true` if both verdicts are the same. We ignore a signed block that violates only our
/// fork schedule; kona rejects it, since it does not doubt its own schedule.
fn agree(ours: &Result<(), Reason>, theirs: &Judged) -> bool {
    let by_schedule =
        ScheduleRule::ALL.iter().filter_map(|rule| rule.reason()).any(|rule| *ours == Err(rule));
    theirs.verdict == if by_schedule { "reject" } else { word(ours) }
}

/// Endless pseudo-random numbers that are the same in every run.
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

/// Returns the block with one field changed, and its hash recomputed.
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
        13 if payload.withdrawals.is_some() => {
            payload.withdrawals = Some(vec![Withdrawal::default()]);
        }
        14 if payload.withdrawals_root.is_some() => payload.withdrawals_root = Some(dice.hash()),
        15 if block.parent_beacon_block_root.is_some() => {
            block.parent_beacon_block_root = Some(B256::ZERO);
        }
        _ => payload.prev_randao = dice.hash(),
    }
    block.payload.seal(block.parent_beacon_block_root).unwrap();
    block
}

/// Returns valid and invalid messages of the version, each with its description.
fn samples(
    chain: &ChainConfig,
    version: PayloadVersion,
    dice: &mut Dice,
) -> Vec<(String, Vec<u8>)> {
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
    // Random changes anywhere: at the start, which has the layout, and sometimes in the signature.
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
        let (names, messages): (Vec<_>, Vec<_>) =
            samples(&chain, version, &mut dice).into_iter().unzip();
        let mut ours = Ours::new(&chain, signer);
        let ours: Vec<_> = messages.iter().map(|message| ours.judge(version, message)).collect();
        let theirs = konas.judge(&chain, signer, version, &messages).await;
        assert_eq!(theirs.len(), ours.len());
        let differing: Vec<_> = names.iter().zip(ours.iter().zip(&theirs)).collect();
        let differing: Vec<_> =
            differing.iter().filter(|(_, (ours, theirs))| !agree(ours, theirs)).collect();
        assert!(differing.is_empty(), "{version:?}: {differing:?}");
        let accepted = ours.iter().filter(|verdict| verdict.is_ok()).count();
        assert!(
            (40..ours.len() - 100).contains(&accepted),
            "{accepted} of {} are accepted",
            ours.len()
        );
    }
}

/// A case in which kona's validator disagrees with ours, and ours agrees with the reference's.
struct Difference {
    what: &'static str,
    chain: ChainConfig,
    signer: Address,
    version: PayloadVersion,
    /// The message in question, after any preceding messages.
    messages: Vec<Vec<u8>>,
    ours: Result<(), Reason>,
    /// Kona's verdict, and words from its reason.
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
    forged[..SIGNATURE_SIZE]
        .copy_from_slice(&LocalSigner::from_bytes(&[8; 32]).unwrap().sign(&B256::ZERO));

    let of = |version| BlockMaker::new(&chain_of(version), 31).next(unix_seconds());
    let jovian = self::chain(ForkSchedule::up_to(Fork::Jovian));
    let mut footprint = BlockMaker::new(&jovian, 32).next(unix_seconds());
    footprint.payload.blob_gas_used = Some(40_000);
    footprint.payload.seal(footprint.parent_beacon_block_root).unwrap();

    vec![
        // The signature's last byte must be 0 or 1. Kona interprets it as in Ethereum's
        // transactions, so that each of its blocks has many valid forms.
        one("a last byte of 27", ending(27), Err(Reason::Signature), ("accept", "")),
        one("a last byte of 35", ending(35), Err(Reason::Signature), ("accept", "")),
        // The sender is not at fault if the sequencer is unknown.
        Difference {
            signer: Address::ZERO,
            ..one(
                "no signer",
                message(&chain, &good),
                Err(Reason::NoSigner),
                ("reject", "Invalid signer"),
            )
        },
        // Kona checks for repeats before it checks the signature.
        Difference {
            messages: vec![message(&chain, &good), snappy::compress(&forged)],
            ..one(
                "a repeat by another",
                vec![],
                Err(Reason::WrongSigner),
                ("ignore", "Block seen before"),
            )
        },
        // Kona has no limit on the decompressed size.
        one(
            "more than 10 MiB",
            message(&chain, &grown(good.clone(), MAX_MESSAGE_SIZE)),
            Err(Reason::AnnouncedTooLong),
            ("accept", ""),
        ),
        // In the reference such a number becomes negative.
        one(
            "a number of 2^63",
            with(|block| block.payload.block_number = 1 << 63),
            Err(Reason::BlockHash),
            ("accept", ""),
        ),
        // The reference hashes transactions without decoding them, while kona decodes each one.
        one(
            "no transaction",
            message(&chain, &padded(good.clone(), 100)),
            Ok(()),
            ("reject", "unexpected"),
        ),
        // The field has 256 bits, and kona accepts 64 bits.
        one(
            "a base fee of 2^64",
            with(|block| block.payload.base_fee_per_gas = U256::from(1) << 64),
            Ok(()),
            ("reject", "base fee"),
        ),
        // This version of kona is older than Jovian's footprint.
        Difference {
            chain: jovian.clone(),
            ..one(
                "Jovian",
                message(&jovian, &footprint),
                Ok(()),
                ("reject", "non-zero blob gas used"),
            )
        },
        // In kona, the time of the fork determines whether requests are part of the hash; in the
        // reference, the payload's version does.
        Difference {
            chain: chain_of(PayloadVersion::V3),
            ..one(
                "v4 before Isthmus",
                message(&chain, &good),
                Ok(()),
                ("reject", "Invalid block hash"),
            )
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

pub(crate) async fn its_validator_differs_from_the_reference_as_known() {
    let (konas, nodes) = (Konas::start(), OpNodes::start());
    for Difference { what, chain, signer, version, messages, ours, theirs } in differences() {
        let mut validator = Ours::new(&chain, signer);
        let our =
            messages.iter().map(|message| validator.judge(version, message)).next_back().unwrap();
        assert_eq!(our, ours, "{what}");

        let kona = konas.judge(&chain, signer, version, &messages).await.pop().unwrap();
        assert_eq!(kona.verdict, theirs.0, "{what}: {}", kona.why);
        let why = kona.why.to_lowercase();
        assert!(
            why.contains(&theirs.1.to_lowercase()) && why.is_empty() == theirs.1.is_empty(),
            "{what}: {why}"
        );

        let params = json!({
            "rollup": rollup(&chain), "signer": signer, "previous": Address::ZERO,
            "version": version.index(),
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
