//! The devnet's blocks: real transactions of OP Mainnet and OP Sepolia in our own blocks.
//!
//! A block links to its parent, has the fields of the fork at its timestamp, and matches its hash;
//! the protocol checks no more than that. The blocks are never executed: their state and receipts
//! roots are made up, and a transaction may occur repeatedly.
//!
//! All random choices for a block follow from the seed, the chain's id and the block's number, so
//! the same chain at the same times has the same blocks, even if it is resumed in the middle.

use alloy_primitives::{B256, Bloom, Bytes};
use opp2p_core::chain::{BlockId, BlockSchedule, ChainConfig, Fork, ForkSchedule};
use opp2p_core::engine::DevelopmentL1;
use opp2p_core::fixtures;
use opp2p_core::payload::{BaseTime, Envelope, ExecutionPayload, PayloadVersion};
use std::time::Duration;

/// First byte of a deposit, a transaction type that only the rollup itself can create.
const DEPOSIT_TYPE: u8 = 0x7e;
/// Seconds between two L1 blocks: the time for which L2 blocks share an L1 origin.
const L1_BLOCK_TIME: u64 = 12;
/// Fee parameters of the bundled OP Sepolia blocks: EIP-1559 denominator and elasticity.
const FEE_PARAMETERS: [u8; 8] = [0, 0, 0, 250, 0, 0, 0, 6];
/// Gas of an L1 attributes deposit, from the bundled block that contains nothing else.
const DEPOSIT_GAS: u64 = 43_851;
/// Gas of a plain transfer, and of each further byte at the price of non-zero call data.
const TRANSACTION_GAS: u64 = 21_000;
const BYTE_GAS: u64 = 16;
/// Jovian's footprint: minimum size of a transaction in bytes, and gas per byte.
const FOOTPRINT_MINIMUM: u64 = 100;
const FOOTPRINT_GAS_SCALAR: u64 = 400;

/// Generator of consecutive blocks.
///
/// Sizes vary as on mainnet: most blocks have 10 to 50 transactions and 3 to 80 kB, 4 in 100
/// contain only the deposit, 5 in 100 have 200 to 400 kB, and 1 in 100 has about 1 MB.
///
/// Since Denim the chain's schedule determines each block's time, to the millisecond. Such a block
/// starts with the L1 attributes deposit of its fork and the [`BaseTime`] deposit, and has a tenth
/// of the gas limit. Most have 25 to 115 kB, 4 in 100 have 150 to 250 kB, 1 in 100 has about 400
/// kB, and 2 in 100 contain only the deposits.
#[derive(Clone, Debug)]
pub struct BlockMaker {
    chain: ChainConfig,
    forks: ForkSchedule,
    schedule: BlockSchedule,
    seed: u64,
    head: BlockId,
    head_timestamp: u64,
    deposits: Vec<Bytes>,
    user_transactions: Vec<Bytes>,
    blooms: Vec<Bloom>,
    /// The fields that are the same in every block.
    template: ExecutionPayload,
}

impl BlockMaker {
    /// Creates a generator whose first block builds on the chain's genesis.
    pub fn new(chain: &ChainConfig, seed: u64) -> Self {
        let mut deposits = Vec::new();
        let mut user_transactions = Vec::new();
        let mut blooms = Vec::new();
        let mut template = ExecutionPayload::default();
        for block in fixtures::blocks() {
            let payload = block.envelope.payload;
            blooms.push(payload.logs_bloom);
            if payload.gas_limit >= template.gas_limit {
                template.fee_recipient = payload.fee_recipient;
                template.gas_limit = payload.gas_limit;
                template.base_fee_per_gas = payload.base_fee_per_gas;
            }
            let (mut ours, mut users): (Vec<Bytes>, Vec<Bytes>) = payload
                .transactions
                .into_iter()
                .partition(|raw| raw.first() == Some(&DEPOSIT_TYPE));
            // The L1 attributes deposit comes first; users' deposits follow it.
            ours.truncate(1);
            deposits.append(&mut ours);
            user_transactions.append(&mut users);
        }
        Self {
            chain: chain.clone(),
            forks: chain.forks,
            schedule: chain.schedule(),
            seed,
            head: BlockId::new(chain.genesis.number, chain.genesis.hash),
            head_timestamp: chain.genesis.time,
            deposits,
            user_transactions,
            blooms,
            template,
        }
    }

    /// Continues after `head`, a block of an earlier run with the timestamp `timestamp` (Unix
    /// seconds).
    pub fn resume(&mut self, head: BlockId, timestamp: u64) {
        self.head = head;
        self.head_timestamp = timestamp;
    }

    /// Continues after `head`, with other blocks than those made after it before: as
    /// [`resume`](Self::resume), but with another seed.
    pub fn branch(&mut self, head: BlockId, timestamp: u64) {
        self.seed = self.seed.wrapping_add(1);
        self.resume(head, timestamp);
    }

    /// Returns the time when the next block is due, since the Unix epoch; `None` if it may be made
    /// at any time, as before Denim.
    pub fn due(&self) -> Option<Duration> {
        let number = self.head.number.saturating_add(1);
        let first = self.schedule.first_with_base_time()?;
        let time = self.schedule.time_of(number).filter(|_| number >= first)?;
        Some(Duration::from_millis(time))
    }

    /// Makes the next block. Its timestamp is `unix_seconds`, or its parent's if the clock went
    /// back. Blocks may be made faster than one per second, and then share a timestamp. Since Denim
    /// its time is the one at which it is [`due`](Self::due).
    pub fn next(&mut self, unix_seconds: u64) -> Envelope {
        let number = self.head.number.saturating_add(1);
        let due = self.due();
        let timestamp = due.map_or(unix_seconds.max(self.head_timestamp), |due| due.as_secs());
        let version = PayloadVersion::at(&self.forks, timestamp);
        let mut dice = self.dice("block", number);
        let mut origin = self.dice("origin", timestamp / L1_BLOCK_TIME);

        let plan = if due.is_some() { Plan::of_denim(&mut dice) } else { Plan::draw(&mut dice) };
        let user_transactions = self.draw_transactions(&plan, &mut dice);
        let gas_limit = self.template.gas_limit / if due.is_some() { 10 } else { 1 };
        let bytes =
            |least: u64| user_transactions.iter().map(move |raw| (raw.len() as u64).max(least));
        let gas: u64 = bytes(0).map(|length| TRANSACTION_GAS + BYTE_GAS * length).sum();
        // Neither may exceed the block's gas limit.
        let gas_used = (DEPOSIT_GAS + gas).min(gas_limit);
        let footprint = bytes(FOOTPRINT_MINIMUM).sum::<u64>() * FOOTPRINT_GAS_SCALAR;
        let blob_gas_used = match self.forks.is_active(Fork::Jovian, timestamp) {
            true => footprint.min(gas_limit),
            false => 0,
        };
        let deposits = match due {
            Some(due) => self.denim_deposits(number, due),
            None => dice.pick(&self.deposits).cloned().into_iter().collect(),
        };
        let logs_bloom = if user_transactions.is_empty() {
            Bloom::ZERO
        } else {
            dice.pick(&self.blooms).copied().unwrap_or_default()
        };

        let mut payload = ExecutionPayload {
            parent_hash: self.head.hash,
            state_root: dice.hash(),
            receipts_root: dice.hash(),
            logs_bloom,
            prev_randao: origin.hash(),
            block_number: number,
            gas_limit,
            gas_used,
            timestamp,
            extra_data: extra_data(&self.forks, timestamp),
            transactions: deposits.into_iter().chain(user_transactions).collect(),
            withdrawals: version.has_withdrawals().then(Vec::new),
            blob_gas_used: version.has_beacon_root().then_some(blob_gas_used),
            excess_blob_gas: version.has_beacon_root().then_some(0),
            withdrawals_root: version.has_withdrawals_root().then(|| dice.hash()),
            ..self.template.clone()
        };
        let parent_beacon_block_root = version.has_beacon_root().then(|| origin.hash());
        let hash = payload
            .seal(parent_beacon_block_root)
            .expect("the fields are those of one version, and the sizes far below every limit");
        self.head = BlockId::new(number, hash);
        self.head_timestamp = timestamp;
        Envelope { parent_beacon_block_root, payload }
    }

    /// Returns the deposits at the start of a block since Denim: the L1 attributes and the block's
    /// time.
    fn denim_deposits(&self, number: u64, due: Duration) -> Vec<Bytes> {
        let timestamp = due.as_secs();
        let origin = timestamp / L1_BLOCK_TIME;
        let l1 = DevelopmentL1 {
            origin: BlockId::new(origin, self.dice("origin", origin).hash()),
            timestamp: origin * L1_BLOCK_TIME,
            batcher: self.template.fee_recipient,
        };
        let since_origin = due.saturating_sub(Duration::from_secs(l1.timestamp));
        let sequence = since_origin.as_millis() / self.schedule.interval_at(due).as_millis().max(1);
        let sequence = u64::try_from(sequence).unwrap_or(u64::MAX);
        let millis = u16::try_from(due.subsec_millis()).unwrap_or_default();
        let time = BaseTime::of_block(number, millis).to_transaction();
        vec![l1.deposit(&self.chain, sequence, timestamp), Bytes::copy_from_slice(&time)]
    }

    /// Returns the user transactions of one block. None is repeated before all have occurred.
    fn draw_transactions(&self, plan: &Plan, dice: &mut Dice) -> Vec<Bytes> {
        let mut pool: Vec<&Bytes> = self.user_transactions.iter().collect();
        dice.shuffle(&mut pool);
        let mut drawn = Vec::new();
        let mut bytes = 0;
        for raw in pool.into_iter().cycle() {
            if drawn.len() >= plan.transactions && bytes >= plan.bytes
                || bytes + raw.len() > plan.most_bytes
            {
                break;
            }
            bytes += raw.len();
            drawn.push(raw.clone());
        }
        drawn
    }

    /// Returns the random generator for block or L1 origin `number`.
    fn dice(&self, purpose: &'static str, number: u64) -> Dice {
        let purpose = purpose.bytes().fold(0, |word, byte| word << 8 | u64::from(byte));
        [self.chain.chain_id, purpose, number]
            .into_iter()
            .fold(Dice(self.seed), |mut dice, word| Dice(dice.roll() ^ word))
    }
}

/// Returns the fee parameters in the fork's format: 9 bytes since Holocene; 17 since Jovian, with
/// the minimum base fee, which is zero here.
fn extra_data(forks: &ForkSchedule, timestamp: u64) -> Bytes {
    if forks.is_active(Fork::Jovian, timestamp) {
        [&[1][..], &FEE_PARAMETERS, &[0; 8]].concat().into()
    } else if forks.is_active(Fork::Holocene, timestamp) {
        [&[0][..], &FEE_PARAMETERS].concat().into()
    } else {
        Bytes::new()
    }
}

/// Target size of a block: transactions are added until both minimums are reached, or until the
/// next one would exceed the maximum.
struct Plan {
    transactions: usize,
    bytes: usize,
    most_bytes: usize,
}

impl Plan {
    fn draw(dice: &mut Dice) -> Self {
        let (transactions, bytes, most_bytes) = match dice.below(100) {
            0 => (0, 950_000 + dice.below(100_000), 1_100_000),
            1..=5 => (0, 200_000 + dice.below(160_000), 395_000),
            6..=9 => (0, 0, 0),
            // 10 to 50 with the deposit.
            _ => (9 + dice.below(41), 3_000, 79_000),
        };
        Self { transactions, bytes, most_bytes }
    }

    /// Draws the plan of a 200 ms block: a tenth of a busy chain's transactions in 2 s.
    fn of_denim(dice: &mut Dice) -> Self {
        let (bytes, most_bytes) = match dice.below(100) {
            0 => (380_000 + dice.below(40_000), 450_000),
            1..=4 => (150_000 + dice.below(100_000), 290_000),
            5..=6 => (0, 0),
            _ => (25_000 + dice.below(90_000), 125_000),
        };
        Self { transactions: 0, bytes, most_bytes }
    }
}

/// A small generator (SplitMix64): any seed is good enough, and nothing here is secret.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// Returns a number below `limit`, or zero if `limit` is zero.
    fn below(&mut self, limit: usize) -> usize {
        // The high half of the product; it is below the limit.
        ((u128::from(self.roll()) * limit as u128) >> 64) as usize
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        from.get(self.below(from.len()))
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }

    fn hash(&mut self) -> B256 {
        let mut hash = B256::ZERO;
        for word in hash.chunks_exact_mut(8) {
            word.copy_from_slice(&self.roll().to_be_bytes());
        }
        hash
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::Address;
    use opp2p_core::gossip::{self, Rules, Signers, Unpacked};
    use opp2p_core::payload::{PayloadView, block_hash};
    use opp2p_core::sequencer::LocalSigner;
    use std::collections::BTreeSet;

    const NOW: u64 = 1_750_000_000;

    fn chain(forks: ForkSchedule) -> ChainConfig {
        let genesis = B256::repeat_byte(0x11);
        let chain =
            ChainConfig::development(901, genesis, NOW, 2, Fork::Jovian, Address::repeat_byte(2));
        ChainConfig { forks, ..chain }
    }

    fn jovian() -> ChainConfig {
        chain(ForkSchedule::up_to(Fork::Jovian))
    }

    /// Returns the schedule before Canyon, and one of each fork.
    fn every_schedule() -> Vec<ForkSchedule> {
        let forks = Fork::ALL.into_iter().map(ForkSchedule::up_to);
        std::iter::once(ForkSchedule::default()).chain(forks).collect()
    }

    fn encoded(envelope: &Envelope) -> (PayloadVersion, Vec<u8>) {
        let mut bytes = Vec::new();
        let version = envelope.encode(&mut bytes).unwrap();
        (version, bytes)
    }

    fn id(envelope: &Envelope) -> BlockId {
        BlockId::new(envelope.payload.block_number, envelope.payload.block_hash)
    }

    #[test]
    fn blocks_ascend_from_genesis_and_each_names_its_parent() {
        let chain = jovian();
        let mut maker = BlockMaker::new(&chain, 1);
        let mut parent = BlockId::new(chain.genesis.number, chain.genesis.hash);
        for second in 0..50 {
            let block = maker.next(NOW + second);
            assert_eq!(block.payload.block_number, parent.number + 1);
            assert_eq!(block.payload.parent_hash, parent.hash);
            parent = id(&block);
        }
    }

    #[test]
    fn every_block_of_every_fork_hashes_correctly_and_passes_validation() {
        let signer = LocalSigner::from_bytes(&[7; 32]).unwrap();
        for forks in every_schedule() {
            let chain = chain(forks);
            let signers = Signers { current: Some(signer.address()), previous: None };
            let rules = Rules::new(&chain, signers);
            let mut maker = BlockMaker::new(&chain, 2);
            for _ in 0..12 {
                let envelope = maker.next(NOW);
                let (version, body) = encoded(&envelope);
                assert_eq!(version, PayloadVersion::at(&forks, NOW), "{forks:?}");
                let payload = &body[if version.has_beacon_root() { 32 } else { 0 }..];
                let view = PayloadView::parse(version, payload).unwrap();
                assert_eq!(
                    block_hash(&view, envelope.parent_beacon_block_root),
                    envelope.payload.block_hash,
                    "{forks:?}"
                );

                let contents = signer.sign_body(chain.chain_id, &body);
                let verified =
                    gossip::validate(&rules, version, Unpacked::from_contents(&contents), NOW)
                        .unwrap();
                assert_eq!(verified.block.hash(), envelope.payload.block_hash);
            }
        }
    }

    #[test]
    fn each_fork_has_its_fields() {
        for forks in every_schedule() {
            let mut maker = BlockMaker::new(&chain(forks), 3);
            let Envelope { parent_beacon_block_root: root, payload } = maker.next(NOW);
            let active = |fork| forks.is_active(fork, NOW);
            assert_eq!(payload.withdrawals, active(Fork::Canyon).then(Vec::new), "{forks:?}");
            assert_eq!(payload.excess_blob_gas, active(Fork::Ecotone).then_some(0), "{forks:?}");
            assert_eq!(root.is_some(), active(Fork::Ecotone), "{forks:?}");
            assert_eq!(payload.withdrawals_root.is_some(), active(Fork::Isthmus), "{forks:?}");
            let blob_gas = payload.blob_gas_used;
            assert_eq!(blob_gas.is_some(), active(Fork::Ecotone), "{forks:?}");
            assert_eq!(blob_gas.is_some_and(|gas| gas > 0), active(Fork::Jovian), "{forks:?}");
            let extra_data = match (active(Fork::Holocene), active(Fork::Jovian)) {
                (_, true) => "0x01000000fa000000060000000000000000",
                (true, false) => "0x00000000fa00000006",
                (false, false) => "0x",
            };
            assert_eq!(payload.extra_data.to_string(), extra_data, "{forks:?}");
        }
    }

    #[test]
    fn a_fork_that_activates_midway_changes_the_version_at_its_second() {
        let forks = ForkSchedule::up_to(Fork::Holocene).with(Fork::Isthmus, Some(NOW + 2));
        let mut maker = BlockMaker::new(&chain(forks), 4);
        let versions =
            [0, 1, 2, 3].map(|second| maker.next(NOW + second).payload.version().unwrap());
        use PayloadVersion::{V3, V4};
        assert_eq!(versions, [V3, V3, V4, V4]);
    }

    #[test]
    fn transactions_are_real_and_only_the_first_is_a_deposit() {
        let real: Vec<Bytes> = fixtures::blocks()
            .into_iter()
            .flat_map(|block| block.envelope.payload.transactions)
            .collect();
        let mut maker = BlockMaker::new(&jovian(), 5);
        for _ in 0..60 {
            let transactions = maker.next(NOW).payload.transactions;
            let deposits: Vec<bool> =
                transactions.iter().map(|raw| raw[0] == DEPOSIT_TYPE).collect();
            assert!(deposits[0] && !deposits[1..].contains(&true));
            assert!(transactions.iter().all(|raw| real.contains(raw)));
        }
    }

    #[test]
    fn sizes_vary_as_on_mainnet() {
        let mut maker = BlockMaker::new(&jovian(), 6);
        let (mut empty, mut typical, mut large, mut huge) = (0, 0, 0, 0);
        for _ in 0..500 {
            let block = maker.next(NOW);
            let (_, bytes) = encoded(&block);
            let payload = block.payload;
            assert!(payload.gas_used >= DEPOSIT_GAS && payload.gas_used <= payload.gas_limit);
            assert!(payload.blob_gas_used <= Some(payload.gas_limit));
            match (payload.transactions.len(), bytes.len()) {
                (1, 0..1_000) => empty += 1,
                (10..=50, 3_000..=80_000) => typical += 1,
                (51.., 200_000..=400_000) => large += 1,
                (51.., 900_000..=1_200_000) => huge += 1,
                odd => panic!("a block of (transactions, bytes) {odd:?}"),
            }
        }
        assert!((8..=40).contains(&empty), "{empty}");
        assert!((420..=480).contains(&typical), "{typical}");
        assert!((12..=45).contains(&large), "{large}");
        assert!((1..=15).contains(&huge), "{huge}");
    }

    #[test]
    fn blocks_depend_only_on_the_seed_and_the_chain() {
        let run = |chain: &ChainConfig, seed| {
            let mut maker = BlockMaker::new(chain, seed);
            (0..20).map(|second| maker.next(NOW + second)).collect::<Vec<_>>()
        };
        assert_eq!(run(&jovian(), 7), run(&jovian(), 7));
        assert_ne!(run(&jovian(), 7), run(&jovian(), 8));
        let other = ChainConfig { chain_id: 902, ..jovian() };
        let transactions = |blocks: Vec<Envelope>| blocks[0].payload.transactions.clone();
        assert_ne!(transactions(run(&jovian(), 7)), transactions(run(&other, 7)));
        let hashes: BTreeSet<B256> =
            run(&jovian(), 7).iter().map(|block| block.payload.state_root).collect();
        assert_eq!(hashes.len(), 20);
    }

    #[test]
    fn a_resumed_maker_continues_identically() {
        let mut first = BlockMaker::new(&jovian(), 9);
        let head = first.next(NOW + 40);
        let mut second = BlockMaker::new(&jovian(), 9);
        second.resume(id(&head), head.payload.timestamp);
        // A clock that goes back does not move the timestamp back.
        let (expected, found) = (first.next(NOW), second.next(NOW));
        assert_eq!(found.payload.timestamp, NOW + 40);
        assert_eq!(found, expected);
    }

    #[test]
    fn a_branch_has_other_blocks_on_the_same_parent() {
        let mut maker = BlockMaker::new(&jovian(), 9);
        let parent = maker.next(NOW);
        let mut branch = maker.clone();
        branch.branch(id(&parent), parent.payload.timestamp);
        let (first, second) = (maker.next(NOW + 1), branch.next(NOW + 1));
        assert_eq!(first.payload.block_number, second.payload.block_number);
        assert_eq!(first.payload.parent_hash, second.payload.parent_hash);
        assert_ne!(id(&first), id(&second));
    }

    #[test]
    fn blocks_of_one_second_share_a_timestamp_and_time_never_goes_back() {
        let mut maker = BlockMaker::new(&jovian(), 10);
        let timestamps =
            [5, 5, 5, 6, 4, 7].map(|second| maker.next(NOW + second).payload.timestamp - NOW);
        assert_eq!(timestamps, [5, 5, 5, 6, 6, 7]);
        // The clock can't move a timestamp before genesis.
        assert_eq!(BlockMaker::new(&jovian(), 10).next(0).payload.timestamp, NOW);
    }

    #[test]
    fn blocks_of_one_l1_origin_share_its_beacon_root() {
        let mut maker = BlockMaker::new(&jovian(), 11);
        let start = NOW.next_multiple_of(L1_BLOCK_TIME);
        let roots = [0, 11, 12].map(|second| maker.next(start + second).parent_beacon_block_root);
        assert_eq!(roots[0], roots[1]);
        assert_ne!(roots[1], roots[2]);
    }

    #[test]
    fn denim_blocks_take_their_time_from_the_schedule_and_carry_it() {
        let chain = chain(ForkSchedule::up_to(Fork::Denim));
        let schedule = chain.schedule();
        let mut maker = BlockMaker::new(&chain, 11);
        for number in 1..=40 {
            let due = maker.due().unwrap();
            // The time does not depend on the clock.
            let block = maker.next(NOW + number * 7).payload;
            assert_eq!(Some(due.as_millis() as u64), schedule.time_of(number));
            assert_eq!((block.block_number, block.timestamp), (number, due.as_secs()));
            assert_eq!(Some(block.timestamp), schedule.timestamp_of(number));
            let expected = BaseTime::of_block(number, schedule.millis_of(number).unwrap());
            assert_eq!(BaseTime::read(&block.transactions[1]), Some(expected));
            let addressed = block.transactions.iter().filter(|raw| BaseTime::is_addressed_by(raw));
            assert_eq!(addressed.count(), 1);
            // The call of the L1 attributes is that of Jovian.
            let attributes = &block.transactions[0];
            let call = [0x3d, 0xb6, 0xbe, 0x2b];
            assert!(attributes.windows(4).any(|window| window == call) && attributes[0] == 0x7e);
            assert!(block.gas_used <= block.gas_limit);
        }
        assert_eq!(BlockMaker::new(&jovian(), 1).due(), None);
    }

    #[test]
    fn denim_blocks_are_as_large_as_those_of_base() {
        let mut maker = BlockMaker::new(&chain(ForkSchedule::up_to(Fork::Denim)), 12);
        let mut sizes: Vec<usize> = (0..300).map(|_| encoded(&maker.next(NOW)).1.len()).collect();
        sizes.sort_unstable();
        assert!((55_000..90_000).contains(&sizes[150]), "{}", sizes[150]);
        assert!(sizes[299] < 470_000 && sizes[0] < 2000);
    }
}
