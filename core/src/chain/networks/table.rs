//! Generated from `data/chains.json` and `data/network_aliases.json` by the test `networks`: do not
//! edit.

use alloy_primitives::{address, b256};

use super::{Fork, ForkSchedule, Genesis, Network};

/// OP Mainnet: chain 10 on Ethereum.
pub static OP_MAINNET: Network = Network {
    name: "OP Mainnet",
    slug: "op-mainnet",
    aliases: &["optimism", "optimism-mainnet", "mainnet"],
    chain_id: 10,
    l1_chain_id: 1,
    genesis: Genesis {
        number: 105235063,
        hash: b256!("dbf6a80fef073de06add9b0d14026d6e5a86c85f6d102c36d3d8e9cf89c2afd3"),
        time: 1686068903,
    },
    block_time: 2,
    forks: ForkSchedule::in_order(&[
        1704992401, 1708560000, 1710374401, 1720627201, 1726070401, 1736445601, 1746806401,
        1764691201, 1783526401,
    ]),
    system_config: Some(address!("229047fed2591dbec1ef1118d64f7af3db9eb290")),
    unsafe_block_signer: Some(address!("aaaa45d9549eda09e70937013520214382ffc4a2")),
};

/// Unichain: chain 130 on Ethereum.
pub static UNICHAIN_MAINNET: Network = Network {
    name: "Unichain",
    slug: "unichain-mainnet",
    aliases: &[],
    chain_id: 130,
    l1_chain_id: 1,
    genesis: Genesis {
        number: 0,
        hash: b256!("3425162ddf41a0a1f0106d67b71828c9a9577e6ddeb94e4f33d2cde1fdc3befe"),
        time: 1730748359,
    },
    block_time: 1,
    forks: ForkSchedule::in_order(&[0, 0, 0, 0, 0, 1736445601, 1746806401, 1764691201, 1783526401]),
    system_config: Some(address!("c407398d063f942febbcc6f80a156b47f3f1bda6")),
    unsafe_block_signer: Some(address!("833c6f278474a78658af91ae8edc926fe33a230e")),
};

/// HashKey Chain: chain 177 on Ethereum.
pub static HASHKEY_CHAIN_MAINNET: Network = Network {
    name: "HashKey Chain",
    slug: "hashkey-chain-mainnet",
    aliases: &[],
    chain_id: 177,
    l1_chain_id: 1,
    genesis: Genesis {
        number: 0,
        hash: b256!("a96aea946b763641b616ce0c69f37e61d9cd0abd709ef13a6b833e67b76de208"),
        time: 1734347135,
    },
    block_time: 2,
    forks: ForkSchedule::in_order(&[0, 0, 0, 0, 0]),
    system_config: Some(address!("43f8defe3e9286d152e91bb16a248808e7247198")),
    unsafe_block_signer: None,
};

/// Ethernity: chain 183 on Ethereum.
pub static ETHERNITY_MAINNET: Network = Network {
    name: "Ethernity",
    slug: "ethernity-mainnet",
    aliases: &[],
    chain_id: 183,
    l1_chain_id: 1,
    genesis: Genesis {
        number: 0,
        hash: b256!("a5e974a6ace39285b42f92316a9e040e58f8ffc24e3aac124ff6243c28323607"),
        time: 1723547735,
    },
    block_time: 2,
    forks: ForkSchedule::in_order(&[
        1704992401, 1708560000, 1710374401, 1720627201, 1726070401, 1736445601, 1746806401,
        1764691201, 1783526401,
    ]),
    system_config: Some(address!("20c3035c92bdb4c461242571eeac59eed03df931")),
    unsafe_block_signer: None,
};

/// Mint Mainnet: chain 185 on Ethereum.
pub static MINT_MAINNET: Network = Network {
    name: "Mint Mainnet",
    slug: "mint-mainnet",
    aliases: &[],
    chain_id: 185,
    l1_chain_id: 1,
    genesis: Genesis {
        number: 0,
        hash: b256!("88441835ca2344ea384e6f73e3d6f921cdd304e5bd6dca15590217e3911c61a3"),
        time: 1715608931,
    },
    block_time: 2,
    forks: ForkSchedule::in_order(&[0, 0, 0, 1720627201, 1726070401, 1736445601, 1746806401]),
    system_config: Some(address!("c975862927797812371a9fb631f83f8f5e2240d5")),
    unsafe_block_signer: None,
};

/// Fraxtal: chain 252 on Ethereum.
pub static FRAXTAL_MAINNET: Network = Network {
    name: "Fraxtal",
    slug: "fraxtal-mainnet",
    aliases: &[],
    chain_id: 252,
    l1_chain_id: 1,
    genesis: Genesis {
        number: 0,
        hash: b256!("521982bd54239dc71269eefb58601762cc15cfb2978e0becb46af7962ed6bfaa"),
        time: 1706810711,
    },
    block_time: 2,
    forks: ForkSchedule::in_order(&[
        0, 1717002001, 1717009201, 1733947201, 1738958401, 1744052401, 1755716401,
    ]),
    system_config: Some(address!("34a9f273cbd847d49c3de015fc26c3e66825f8b2")),
    unsafe_block_signer: None,
};

/// Swan Chain Mainnet: chain 254 on Ethereum.
pub static SWAN_CHAIN_MAINNET: Network = Network {
    name: "Swan Chain Mainnet",
    slug: "swan-chain-mainnet",
    aliases: &["swan-mainnet"],
    chain_id: 254,
    l1_chain_id: 1,
    genesis: Genesis {
        number: 0,
        hash: b256!("834c39d79eb75c4c52d745e624750b817b66eb13e483b035c42ec3aa5cfa7429"),
        time: 1718640215,
    },
    block_time: 5,
    forks: ForkSchedule::in_order(&[0, 0]),
    system_config: Some(address!("504d56cf68f791b45e3a2e895b0e1562f3431328")),
    unsafe_block_signer: None,
};

/// Boba Mainnet: chain 288 on Ethereum.
pub static BOBA_MAINNET: Network = Network {
    name: "Boba Mainnet",
    slug: "boba-mainnet",
    aliases: &[],
    chain_id: 288,
    l1_chain_id: 1,
    genesis: Genesis {
        number: 1149019,
        hash: b256!("0a555516317be2719d9befcbcca5f5516b6b7ce0f05b759f5a166b697a8a0fbd"),
        time: 1713302879,
    },
    block_time: 2,
    forks: ForkSchedule::in_order(&[
        1713302879, 1713302879, 1713302880, 1725951600, 1729753200, 1738785600,
    ]),
    system_config: Some(address!("158fd5715f16ac1f2dc959a299b383aaaf9b59eb")),
    unsafe_block_signer: None,
};

/// Orderly Mainnet: chain 291 on Ethereum.
pub static ORDERLY_MAINNET: Network = Network {
    name: "Orderly Mainnet",
    slug: "orderly-mainnet",
    aliases: &[],
    chain_id: 291,
    l1_chain_id: 1,
    genesis: Genesis {
        number: 0,
        hash: b256!("e53c94ddd42714239429bd132ba2fa080c7e5cc7dca816ec6e482ec0418e6d7f"),
        time: 1696608227,
    },
    block_time: 2,
    forks: ForkSchedule::in_order(&[
        1704992401, 1708560000, 1710374401, 1720627201, 1726070401, 1736445601, 1746806401,
    ]),
    system_config: Some(address!("886b187c3d293b1449a3a0f23ca9e2269e0f2664")),
    unsafe_block_signer: None,
};

/// Shape: chain 360 on Ethereum.
pub static SHAPE_MAINNET: Network = Network {
    name: "Shape",
    slug: "shape-mainnet",
    aliases: &[],
    chain_id: 360,
    l1_chain_id: 1,
    genesis: Genesis {
        number: 0,
        hash: b256!("f17c665ffdebe214ec214bcd798c725141e7b5c29799500abd6a8738d15bdebe"),
        time: 1721744471,
    },
    block_time: 2,
    forks: ForkSchedule::in_order(&[0, 0, 0, 0, 1727370000, 1739880000, 1774530000, 1778157001]),
    system_config: Some(address!("ff11e41d5c4f522e423ff6c064ff8d55af8f7355")),
    unsafe_block_signer: None,
};

/// World Chain: chain 480 on Ethereum.
pub static WORLD_CHAIN_MAINNET: Network = Network {
    name: "World Chain",
    slug: "world-chain-mainnet",
    aliases: &[],
    chain_id: 480,
    l1_chain_id: 1,
    genesis: Genesis {
        number: 0,
        hash: b256!("70d316d2e0973b62332ba2e9768dd7854298d7ffe77f0409ffdb8d859f2d3fa3"),
        time: 1719335639,
    },
    block_time: 2,
    forks: ForkSchedule::in_order(&[
        0, 0, 0, 1721826000, 1727780400, 1738238400, 1764072000,
        1777593600, 1789992000,
    ]),
    system_config: Some(address!("6ab0777fd0e609ce58f939a7f70fe41f5aa6300a")),
    unsafe_block_signer: Some(address!("2270d6ec8e760daa317dd978cfb98c8f144b1f3a")),
};

/// Binary Mainnet: chain 624 on Ethereum.
pub static BINARY_MAINNET: Network = Network {
    name: "Binary Mainnet",
    slug: "binary-mainnet",
    aliases: &["tbn-mainnet"],
    chain_id: 624,
    l1_chain_id: 1,
    genesis: Genesis {
        number: 0,
        hash: b256!("e222b4b07ee9c885d13ee341823c92aa449f9769ac68fb5f1e1d4e602a990a4a"),
        time: 1719397463,
    },
    block_time: 2,
    forks: ForkSchedule::in_order(&[
        0, 0, 0, 1725536344, 1726070401, 1736445601, 1746806401,
        1764691201, 1783526401,
    ]),
    system_config: Some(address!("7ac7e5989eac278b7bbfef560871a2026bad472c")),
    unsafe_block_signer: None,
};

/// Redstone: chain 690 on Ethereum.
pub static REDSTONE_MAINNET: Network = Network {
    name: "Redstone",
    slug: "redstone-mainnet",
    aliases: &[],
    chain_id: 690,
    l1_chain_id: 1,
    genesis: Genesis {
        number: 0,
        hash: b256!("a4f55631013577464810893a05b18f07fe483885a6ef93e0060e7128bdf4ca3b"),
        time: 1712185091,
    },
    block_time: 2,
    forks: ForkSchedule::in_order(&[0, 0, 0]),
    system_config: Some(address!("8f2428f7189c0d92d1c4a5358903a8c80ec6a69d")),
    unsafe_block_signer: None,
};

/// Lyra Chain: chain 957 on Ethereum.
pub static LYRA_CHAIN_MAINNET: Network = Network {
    name: "Lyra Chain",
    slug: "lyra-chain-mainnet",
    aliases: &["lyra-mainnet"],
    chain_id: 957,
    l1_chain_id: 1,
    genesis: Genesis {
        number: 0,
        hash: b256!("047f535b3da7ad4f96d353b5a439740b7591413daee0e2f27dd3aabb24581af2"),
        time: 1700021615,
    },
    block_time: 2,
    forks: ForkSchedule::in_order(&[
        1704992401, 1708560000, 1710374401, 1720627201, 1726070401, 1736445601, 1746806401,
    ]),
    system_config: Some(address!("0e4c4cdd01cecb01070e9fdfe7600871e4ae996e")),
    unsafe_block_signer: None,
};

/// Lisk: chain 1135 on Ethereum.
pub static LISK_MAINNET: Network = Network {
    name: "Lisk",
    slug: "lisk-mainnet",
    aliases: &[],
    chain_id: 1135,
    l1_chain_id: 1,
    genesis: Genesis {
        number: 0,
        hash: b256!("5a693d1d8ee27b8e62868d0349af430a2d2e173c8c8988e7b0c9ef91893cbf00"),
        time: 1714728791,
    },
    block_time: 2,
    forks: ForkSchedule::in_order(&[
        1704992401, 1708560000, 1710374401, 1720627201, 1726070401, 1736445601, 1746806401,
        1764691201, 1783526401,
    ]),
    system_config: Some(address!("05f23282ffdca8286e4738c1af79079f3d843750")),
    unsafe_block_signer: None,
};

/// Metal L2: chain 1750 on Ethereum.
pub static METAL_L2_MAINNET: Network = Network {
    name: "Metal L2",
    slug: "metal-l2-mainnet",
    aliases: &["metal-mainnet"],
    chain_id: 1750,
    l1_chain_id: 1,
    genesis: Genesis {
        number: 0,
        hash: b256!("d31c12ffff2d563897ad9a041c0d26790d635911bdbbfa589347fa955f75281e"),
        time: 1711563515,
    },
    block_time: 2,
    forks: ForkSchedule::in_order(&[
        0, 0, 0, 1720627201, 1726070401, 1736445601, 1746806401,
        1764691201, 1783526401,
    ]),
    system_config: Some(address!("7bd909970b0eedcf078de6aeff23ce571663b8aa")),
    unsafe_block_signer: None,
};

/// Soneium: chain 1868 on Ethereum.
pub static SONEIUM_MAINNET: Network = Network {
    name: "Soneium",
    slug: "soneium-mainnet",
    aliases: &[],
    chain_id: 1868,
    l1_chain_id: 1,
    genesis: Genesis {
        number: 0,
        hash: b256!("295d22d269634c7d0055b33b887519362d0b31899e97109d1789a8a168de1b21"),
        time: 1733134751,
    },
    block_time: 2,
    forks: ForkSchedule::in_order(&[0, 0, 0, 0, 0, 1738573200, 1746806401, 1764691201, 1783526401]),
    system_config: Some(address!("7a8ed66b319911a0f3e7288bddab30d9c0c875c3")),
    unsafe_block_signer: None,
};

/// Swellchain: chain 1923 on Ethereum.
///
/// The data does not say when Holocene and Isthmus came; they are taken to have come with the next
/// fork.
pub static SWELLCHAIN_MAINNET: Network = Network {
    name: "Swellchain",
    slug: "swellchain-mainnet",
    aliases: &["swell-mainnet"],
    chain_id: 1923,
    l1_chain_id: 1,
    genesis: Genesis {
        number: 0,
        hash: b256!("92379973a1576876b7337a9ce89e2a7a9cb99887f55e6045ed2069d5d98d9319"),
        time: 1732696703,
    },
    block_time: 2,
    forks: ForkSchedule::in_order(&[0, 0, 0, 0, 0, 1764691201, 1764691201, 1764691201]),
    system_config: Some(address!("d3d4c6b703978a5d24fecf3a70a51127667ff1a4")),
    unsafe_block_signer: None,
};

/// SnaxChain: chain 2192 on Ethereum.
pub static SNAXCHAIN_MAINNET: Network = Network {
    name: "SnaxChain",
    slug: "snaxchain-mainnet",
    aliases: &["snax-mainnet"],
    chain_id: 2192,
    l1_chain_id: 1,
    genesis: Genesis {
        number: 0,
        hash: b256!("518aadbc56e4ca8b03aa141c13b2fc246a9eae88edea09ee477f3d620b00d5ae"),
        time: 1723562231,
    },
    block_time: 2,
    forks: ForkSchedule::in_order(&[0, 0, 0, 0, 1726070401, 1736445601, 1746806401]),
    system_config: Some(address!("9c9b78f798f821c2f6398f603825fd175e2427f9")),
    unsafe_block_signer: None,
};

/// Superseed: chain 5330 on Ethereum.
pub static SUPERSEED_MAINNET: Network = Network {
    name: "Superseed",
    slug: "superseed-mainnet",
    aliases: &["sseed-mainnet"],
    chain_id: 5330,
    l1_chain_id: 1,
    genesis: Genesis {
        number: 0,
        hash: b256!("0e5eb156fd2ea921d57ee4921191a2a46ebe3a11854ee7a63a5c6c580aa99219"),
        time: 1726179683,
    },
    block_time: 2,
    forks: ForkSchedule::in_order(&[0, 0, 0, 0, 1726185601, 1736445601, 1746806401]),
    system_config: Some(address!("525a2744134805516a45b8abb6aa0aa1da3809f6")),
    unsafe_block_signer: None,
};

/// Settlus Mainnet: chain 5371 on Ethereum.
pub static SETTLUS_MAINNET: Network = Network {
    name: "Settlus Mainnet",
    slug: "settlus-mainnet",
    aliases: &["settlus-mainnet-mainnet"],
    chain_id: 5371,
    l1_chain_id: 1,
    genesis: Genesis {
        number: 0,
        hash: b256!("47a86b86dc4ba2e8c877515717dab337673a24dc3fb06d69ac9f07e9949a48c6"),
        time: 1740171575,
    },
    block_time: 1,
    forks: ForkSchedule::in_order(&[0, 0, 0, 0, 0, 0]),
    system_config: Some(address!("15c1daed5443a77b4dcf6fe35cafccebb0c6da0e")),
    unsafe_block_signer: None,
};

/// RACE Mainnet: chain 6805 on Ethereum.
pub static RACE_MAINNET: Network = Network {
    name: "RACE Mainnet",
    slug: "race-mainnet",
    aliases: &[],
    chain_id: 6805,
    l1_chain_id: 1,
    genesis: Genesis {
        number: 0,
        hash: b256!("a864791943836c37b40ea688f3853f2198afb683a3e168d48bfa76c9896e3e65"),
        time: 1720421591,
    },
    block_time: 2,
    forks: ForkSchedule::in_order(&[0, 0, 0]),
    system_config: Some(address!("cf6a32db8b3313b3d439ce6909511c2c3415fa32")),
    unsafe_block_signer: None,
};

/// Cyber Mainnet: chain 7560 on Ethereum.
pub static CYBER_MAINNET: Network = Network {
    name: "Cyber Mainnet",
    slug: "cyber-mainnet",
    aliases: &[],
    chain_id: 7560,
    l1_chain_id: 1,
    genesis: Genesis {
        number: 0,
        hash: b256!("0bbf36c47db3b42b40b2e6cadc183612337d1ac8602eb9e57071ae0043e70fc7"),
        time: 1713428567,
    },
    block_time: 2,
    forks: ForkSchedule::in_order(&[0, 0, 0, 1767754800, 1767841200, 1767927600]),
    system_config: Some(address!("5d1f4bbaf6d484fa9d5d9705f92de6063bff6055")),
    unsafe_block_signer: None,
};

/// arena-z: chain 7897 on Ethereum.
pub static ARENA_Z_MAINNET: Network = Network {
    name: "arena-z",
    slug: "arena-z-mainnet",
    aliases: &[],
    chain_id: 7897,
    l1_chain_id: 1,
    genesis: Genesis {
        number: 0,
        hash: b256!("be7112a730b1fae8d94115271adc600559ebe87c75df1d2df9414bd7298eb7fb"),
        time: 1731366083,
    },
    block_time: 2,
    forks: ForkSchedule::in_order(&[0, 0, 0, 0, 0, 1736445601, 1746806401, 1764691201]),
    system_config: Some(address!("34a564bbd863c4bf73eca711cf38a77c4ccbdd6a")),
    unsafe_block_signer: None,
};

/// Polynomial: chain 8008 on Ethereum.
pub static POLYNOMIAL_MAINNET: Network = Network {
    name: "Polynomial",
    slug: "polynomial-mainnet",
    aliases: &[],
    chain_id: 8008,
    l1_chain_id: 1,
    genesis: Genesis {
        number: 0,
        hash: b256!("1b5e76ad2f290fb6fa2c60755d8c52942dbefedab76d01091e24080d5c129fd0"),
        time: 1718038175,
    },
    block_time: 2,
    forks: ForkSchedule::in_order(&[0, 0, 0, 1720627201, 1726070401, 1736445601, 1746806401]),
    system_config: Some(address!("58b51fb9feed00dd846f91d265eba3cdd855a413")),
    unsafe_block_signer: None,
};

/// Base: chain 8453 on Ethereum.
pub static BASE_MAINNET: Network = Network {
    name: "Base",
    slug: "base-mainnet",
    aliases: &[],
    chain_id: 8453,
    l1_chain_id: 1,
    genesis: Genesis {
        number: 0,
        hash: b256!("f712aa9241cc24369b143cf6dce85f0902a9731e70d66818a3a5845b296c73dd"),
        time: 1686789347,
    },
    block_time: 2,
    forks: ForkSchedule::in_order(&[
        1704992401, 1708560000, 1710374401, 1720627201, 1726070401, 1736445601, 1746806401,
        1764691201,
    ])
        .with(Fork::Azul, Some(1779991200))
        .with(Fork::Beryl, Some(1782410400))
        .with(Fork::Cobalt, Some(1790791200))
        .with(Fork::Denim, Some(1793901600)),
    system_config: Some(address!("73a79fab69143498ed3712e519a88a918e1f4072")),
    unsafe_block_signer: Some(address!("af6e19be0f9ce7f8afd49a1824851023a8249e8a")),
};

/// Funki: chain 33979 on Ethereum.
pub static FUNKI_MAINNET: Network = Network {
    name: "Funki",
    slug: "funki-mainnet",
    aliases: &[],
    chain_id: 33979,
    l1_chain_id: 1,
    genesis: Genesis {
        number: 0,
        hash: b256!("7d2831dd811c616d073342a3074f2ce737c6b200b8192f9528e8bf32b1fac83e"),
        time: 1721211095,
    },
    block_time: 2,
    forks: ForkSchedule::in_order(&[0, 0, 0, 0, 1767582000, 1767668400]),
    system_config: Some(address!("d39a6cccfa23cb741bb530497e42ec337f1215a8")),
    unsafe_block_signer: None,
};

/// Mode: chain 34443 on Ethereum.
pub static MODE_MAINNET: Network = Network {
    name: "Mode",
    slug: "mode-mainnet",
    aliases: &[],
    chain_id: 34443,
    l1_chain_id: 1,
    genesis: Genesis {
        number: 0,
        hash: b256!("b0f682e12fc555fd5ce8fce51a59a67d66a5b46be28611a168260a549dac8a9b"),
        time: 1700167583,
    },
    block_time: 2,
    forks: ForkSchedule::in_order(&[
        1704992401, 1708560000, 1710374401, 1720627201, 1726070401, 1736445601, 1746806401,
        1764691201, 1783526401,
    ]),
    system_config: Some(address!("5e6432f18bc5d497b1ab2288a025fbf9d69e2221")),
    unsafe_block_signer: None,
};

/// Celo: chain 42220 on Ethereum.
pub static CELO_MAINNET: Network = Network {
    name: "Celo",
    slug: "celo-mainnet",
    aliases: &[],
    chain_id: 42220,
    l1_chain_id: 1,
    genesis: Genesis {
        number: 31056500,
        hash: b256!("7586014e20c69b3fa7c9070baf1a7edd95833db57853126f32593b455da2e5c5"),
        time: 1742957258,
    },
    block_time: 1,
    forks: ForkSchedule::in_order(&[0, 0, 0, 0, 0, 1752073200, 1752073200, 1774958788]),
    system_config: Some(address!("89e31965d844a309231b1f17759ccaf1b7c09861")),
    unsafe_block_signer: None,
};

/// Ink: chain 57073 on Ethereum.
pub static INK_MAINNET: Network = Network {
    name: "Ink",
    slug: "ink-mainnet",
    aliases: &[],
    chain_id: 57073,
    l1_chain_id: 1,
    genesis: Genesis {
        number: 0,
        hash: b256!("23a2658170ba70d014ba0d0d2709f8fbfe2fa660cd868c5f282f991eecbe38ee"),
        time: 1733498411,
    },
    block_time: 1,
    forks: ForkSchedule::in_order(&[0, 0, 0, 0, 0, 1742396400, 1746806401, 1764691201, 1783526401]),
    system_config: Some(address!("62c0a111929fa32cec2f76adba54c16afb6e8364")),
    unsafe_block_signer: None,
};

/// BOB: chain 60808 on Ethereum.
pub static BOB_MAINNET: Network = Network {
    name: "BOB",
    slug: "bob-mainnet",
    aliases: &[],
    chain_id: 60808,
    l1_chain_id: 1,
    genesis: Genesis {
        number: 0,
        hash: b256!("8ed4903b7f9c3f7bb7a09374d63ae9c9852cd9aab1784b433c41dbeb47b4dba2"),
        time: 1712861987,
    },
    block_time: 2,
    forks: ForkSchedule::in_order(&[
        0, 0, 0, 1720627201, 1726070401, 1736445601, 1746806401,
        1773325801, 1790179201,
    ]),
    system_config: Some(address!("acb886b75d76d1c8d9248cfddfa09b70c71c5393")),
    unsafe_block_signer: None,
};

/// Automata Mainnet: chain 65536 on Ethereum.
pub static AUTOMATA_MAINNET: Network = Network {
    name: "Automata Mainnet",
    slug: "automata-mainnet",
    aliases: &[],
    chain_id: 65536,
    l1_chain_id: 1,
    genesis: Genesis {
        number: 0,
        hash: b256!("11bb44203634fd85571a9971e6f09d633cbf22826681f809283081ff4e1b5192"),
        time: 1721183063,
    },
    block_time: 2,
    forks: ForkSchedule::in_order(&[0, 0, 0, 0]),
    system_config: Some(address!("72934d7aedc1a2d889ca89aaf064cd9455e64d00")),
    unsafe_block_signer: None,
};

/// Silent Data Mainnet: chain 380929 on Ethereum.
pub static SILENT_DATA_MAINNET: Network = Network {
    name: "Silent Data Mainnet",
    slug: "silent-data-mainnet",
    aliases: &["silent-data-mainnet-mainnet"],
    chain_id: 380929,
    l1_chain_id: 1,
    genesis: Genesis {
        number: 0,
        hash: b256!("c46d5d70c0b72228124c217822261df39071bd2059f710bda0ef17551b2a05c3"),
        time: 1753442723,
    },
    block_time: 2,
    forks: ForkSchedule::in_order(&[0, 0, 0, 0, 0, 0]),
    system_config: Some(address!("5c3efe3ca554816e9960c02ae3b4eb3a9a8d2e16")),
    unsafe_block_signer: Some(address!("018badc3c0026689d9f77f6a9cf6d31d954208bf")),
};

/// Xterio Chain (ETH): chain 2702128 on Ethereum.
pub static XTERIO_CHAIN_ETH_MAINNET: Network = Network {
    name: "Xterio Chain (ETH)",
    slug: "xterio-chain-eth-mainnet",
    aliases: &["xterio-eth-mainnet"],
    chain_id: 2702128,
    l1_chain_id: 1,
    genesis: Genesis {
        number: 0,
        hash: b256!("b99fa3b9c265fe5364ed7ee2aca78535aaffd04e7b21f40383ed19a1c6d1d63b"),
        time: 1716537431,
    },
    block_time: 2,
    forks: ForkSchedule::in_order(&[0, 0, 0]),
    system_config: Some(address!("6e99cde188daafeecb6ed8ac28b98de4c8ee5d6c")),
    unsafe_block_signer: None,
};

/// Zora: chain 7777777 on Ethereum.
pub static ZORA_MAINNET: Network = Network {
    name: "Zora",
    slug: "zora-mainnet",
    aliases: &[],
    chain_id: 7777777,
    l1_chain_id: 1,
    genesis: Genesis {
        number: 0,
        hash: b256!("47555a45a1af8d4728ca337a1e48375a83919b1ea16591e070a07388b7364e29"),
        time: 1686693839,
    },
    block_time: 2,
    forks: ForkSchedule::in_order(&[
        1704992401, 1708560000, 1710374401, 1720627201, 1726070401, 1736445601, 1746806401,
        1764691201, 1783526401,
    ]),
    system_config: Some(address!("a3cab0126d5f504b071b81a3e8a2bbbf17930d86")),
    unsafe_block_signer: Some(address!("3dc8dfd0709c835cad15a6a27e089ff4cf4c9228")),
};

/// Ethernity Testnet: chain 233 on Sepolia.
pub static ETHERNITY_SEPOLIA: Network = Network {
    name: "Ethernity Testnet",
    slug: "ethernity-sepolia",
    aliases: &[],
    chain_id: 233,
    l1_chain_id: 11155111,
    genesis: Genesis {
        number: 0,
        hash: b256!("4715665848c513c54d71a3e60700743f2b37ec21df9b9d0b8eefee4c30cd557a"),
        time: 1717499232,
    },
    block_time: 2,
    forks: ForkSchedule::in_order(&[
        1699981200, 1703203200, 1708534800, 1716998400, 1723478400, 1732633200, 1744905600,
        1763568001,
    ]),
    system_config: Some(address!("7c957fec1f6b3d1024442e989cb08b8f2285686c")),
    unsafe_block_signer: None,
};

/// Binary Sepolia: chain 625 on Sepolia.
pub static BINARY_SEPOLIA: Network = Network {
    name: "Binary Sepolia",
    slug: "binary-sepolia",
    aliases: &["tbn-sepolia"],
    chain_id: 625,
    l1_chain_id: 11155111,
    genesis: Genesis {
        number: 0,
        hash: b256!("f1c38d92222758e1ea0c9c7ae1f7f2dfd0e3e747609f1c2d5a41ecfc5e84aba9"),
        time: 1718195040,
    },
    block_time: 2,
    forks: ForkSchedule::in_order(&[0, 0, 0, 1723204838, 1723545055]),
    system_config: Some(address!("1a6d0312faaaca2bf818660f164450176c6205c9")),
    unsafe_block_signer: None,
};

/// Radius testnet: chain 863 on Sepolia.
pub static RADIUS_SEPOLIA: Network = Network {
    name: "Radius testnet",
    slug: "radius-sepolia",
    aliases: &["radius_testnet-sepolia"],
    chain_id: 863,
    l1_chain_id: 11155111,
    genesis: Genesis {
        number: 0,
        hash: b256!("5ef69a0280793403064cafbb45a27371eb72baccb997e79bb7041785ecb6a799"),
        time: 1743250684,
    },
    block_time: 2,
    forks: ForkSchedule::in_order(&[0, 0, 0, 0, 0, 0]),
    system_config: Some(address!("59b71c0a919bc1e8dae5488a562215494f1257fe")),
    unsafe_block_signer: None,
};

/// Mode Testnet: chain 919 on Sepolia.
pub static MODE_SEPOLIA: Network = Network {
    name: "Mode Testnet",
    slug: "mode-sepolia",
    aliases: &[],
    chain_id: 919,
    l1_chain_id: 11155111,
    genesis: Genesis {
        number: 0,
        hash: b256!("13c352562289a88ed33087a51b6b6c859a27709c8555c9def7cb9757c043acad"),
        time: 1687867932,
    },
    block_time: 2,
    forks: ForkSchedule::in_order(&[
        1703203200, 1703203200, 1708534800, 1716998400, 1723478400, 1732633200, 1744905600,
        1763568001, 1781712001,
    ]),
    system_config: Some(address!("15cd4f6e0ce3b4832b33cb9c6f6fe6fc246754c2")),
    unsafe_block_signer: None,
};

/// Unichain Sepolia Testnet: chain 1301 on Sepolia.
pub static UNICHAIN_SEPOLIA: Network = Network {
    name: "Unichain Sepolia Testnet",
    slug: "unichain-sepolia",
    aliases: &[],
    chain_id: 1301,
    l1_chain_id: 11155111,
    genesis: Genesis {
        number: 0,
        hash: b256!("b7fe0bc9f98ca03294ca0094ff9374cc3e64130b6ec85850d6e260191f48bfe7"),
        time: 1726852428,
    },
    block_time: 1,
    forks: ForkSchedule::in_order(&[0, 0, 0, 0, 0, 1734559200, 1744905600, 1763568001, 1781712001]),
    system_config: Some(address!("aee94b9ab7752d3f7704bde212c0c6a0b701571d")),
    unsafe_block_signer: None,
};

/// Metal L2 Testnet: chain 1740 on Sepolia.
pub static METAL_L2_SEPOLIA: Network = Network {
    name: "Metal L2 Testnet",
    slug: "metal-l2-sepolia",
    aliases: &["metal-sepolia"],
    chain_id: 1740,
    l1_chain_id: 11155111,
    genesis: Genesis {
        number: 0,
        hash: b256!("d24cf8e46b189b0c128dab4e46168520e3a4cdd390b239e8cc1e5abd22a629ae"),
        time: 1708129620,
    },
    block_time: 2,
    forks: ForkSchedule::in_order(&[
        1708129622, 1708385400, 1708534800, 1716998400, 1723478400, 1732633200, 1744905600,
        1763568001, 1781712001,
    ]),
    system_config: Some(address!("5d63a8dc2737ce771aa4a6510d063b6ba2c4f6f2")),
    unsafe_block_signer: None,
};

/// Soneium Testnet Minato: chain 1946 on Sepolia.
pub static SONEIUM_MINATO_SEPOLIA: Network = Network {
    name: "Soneium Testnet Minato",
    slug: "soneium-minato-sepolia",
    aliases: &[],
    chain_id: 1946,
    l1_chain_id: 11155111,
    genesis: Genesis {
        number: 0,
        hash: b256!("7ec49d93fa8f47c00e98cc5965cd3903a8faa9238743d2eba0e0550ab4c45c43"),
        time: 1723194336,
    },
    block_time: 2,
    forks: ForkSchedule::in_order(&[
        0, 0, 0, 1730106000, 1730106000, 1734685200, 1744905600,
        1763568001, 1781712001,
    ]),
    system_config: Some(address!("4ca9608fef202216bc21d543798ec854539baad3")),
    unsafe_block_signer: None,
};

/// Lisk Sepolia Testnet: chain 4202 on Sepolia.
pub static LISK_SEPOLIA: Network = Network {
    name: "Lisk Sepolia Testnet",
    slug: "lisk-sepolia",
    aliases: &[],
    chain_id: 4202,
    l1_chain_id: 11155111,
    genesis: Genesis {
        number: 0,
        hash: b256!("ead3e6ddd08ae7e27fd952b74ceb468ba889047ac96b351dd13bd55e5faf3372"),
        time: 1705312992,
    },
    block_time: 2,
    forks: ForkSchedule::in_order(&[
        1705312994, 1705312994, 1708534800, 1716998400, 1723478400, 1732633200, 1744905600,
        1763568001, 1781712001,
    ]),
    system_config: Some(address!("f54791059df4a12ba461b881b4080ae81a1d0ac0")),
    unsafe_block_signer: None,
};

/// World Chain Sepolia Testnet: chain 4801 on Sepolia.
pub static WORLD_CHAIN_SEPOLIA: Network = Network {
    name: "World Chain Sepolia Testnet",
    slug: "world-chain-sepolia",
    aliases: &[],
    chain_id: 4801,
    l1_chain_id: 11155111,
    genesis: Genesis {
        number: 0,
        hash: b256!("f1deb67ee953f94d8545d2647918687fa8ba1f30fa6103771f11b7c483984070"),
        time: 1720547424,
    },
    block_time: 2,
    forks: ForkSchedule::in_order(&[
        0, 0, 0, 1721739600, 1726570800, 1737633600, 1761825600,
        1777161600, 1788868800,
    ]),
    system_config: Some(address!("166f9406e79a656f12f05247fb8f5dfa6155bcbf")),
    unsafe_block_signer: None,
};

/// Settlus Sepolia: chain 5373 on Sepolia.
pub static SETTLUS_SEPOLIA: Network = Network {
    name: "Settlus Sepolia",
    slug: "settlus-sepolia",
    aliases: &["settlus-sepolia-sepolia"],
    chain_id: 5373,
    l1_chain_id: 11155111,
    genesis: Genesis {
        number: 0,
        hash: b256!("a055eed3718c2ed1f04692c707b7045a804505b5e5184a37143514ba9d14281e"),
        time: 1736459256,
    },
    block_time: 1,
    forks: ForkSchedule::in_order(&[0, 0, 0, 0, 0, 0]),
    system_config: Some(address!("7f73514a7ec19f3f51e3c607d536560818df4205")),
    unsafe_block_signer: None,
};

/// RACE Testnet: chain 6806 on Sepolia.
pub static RACE_SEPOLIA: Network = Network {
    name: "RACE Testnet",
    slug: "race-sepolia",
    aliases: &[],
    chain_id: 6806,
    l1_chain_id: 11155111,
    genesis: Genesis {
        number: 0,
        hash: b256!("994d67464c3368b8eb6f9770087399486b25d721a1868b95bb37de327b49ab89"),
        time: 1719646560,
    },
    block_time: 2,
    forks: ForkSchedule::in_order(&[0, 0, 0, 1749686400, 1749686400, 1749772800]),
    system_config: Some(address!("07e7a3f25aa73da15bc19b71fef8f5511342a409")),
    unsafe_block_signer: None,
};

/// Shape Sepolia Testnet: chain 11011 on Sepolia.
pub static SHAPE_SEPOLIA: Network = Network {
    name: "Shape Sepolia Testnet",
    slug: "shape-sepolia",
    aliases: &[],
    chain_id: 11011,
    l1_chain_id: 11155111,
    genesis: Genesis {
        number: 0,
        hash: b256!("cb3558db049390808cbde6b82a48d06ed98d3fe959e088ac20ae56174595cfce"),
        time: 1718936160,
    },
    block_time: 2,
    forks: ForkSchedule::in_order(&[
        0, 0, 0, 1721732400, 1727197200, 1739880000, 1763650800,
        1777552200,
    ]),
    system_config: Some(address!("a1ac91ed91ebe40e00d61e233c8026318b4da5fb")),
    unsafe_block_signer: None,
};

/// Pivotal Sepolia: chain 16481 on Sepolia.
pub static PIVOTAL_SEPOLIA: Network = Network {
    name: "Pivotal Sepolia",
    slug: "pivotal-sepolia",
    aliases: &[],
    chain_id: 16481,
    l1_chain_id: 11155111,
    genesis: Genesis {
        number: 0,
        hash: b256!("ac7379723e9ff584c00e1cbeb20e76c36dbc98dc8bf2146d1df317b7b6636b91"),
        time: 1724315616,
    },
    block_time: 2,
    forks: ForkSchedule::in_order(&[0, 0, 0]),
    system_config: Some(address!("5c72ce6ea707037bc476da8f4f969bc1f8abc78b")),
    unsafe_block_signer: None,
};

/// Boba Sepolia Testnet: chain 28882 on Sepolia.
pub static BOBA_SEPOLIA: Network = Network {
    name: "Boba Sepolia Testnet",
    slug: "boba-sepolia",
    aliases: &[],
    chain_id: 28882,
    l1_chain_id: 11155111,
    genesis: Genesis {
        number: 511,
        hash: b256!("097654c4c932c97808933b42179388f7bbcefaed3bd93fdf69157e19f1deea0e"),
        time: 1705600788,
    },
    block_time: 2,
    forks: ForkSchedule::in_order(&[
        1705600788, 1709078400, 1709078400, 1722297600, 1726470000, 1736150400,
    ]),
    system_config: Some(address!("fdc9bce032cef55a71b4fde9b9a2198ad1551965")),
    unsafe_block_signer: None,
};

/// Creator Chain Testnet: chain 66665 on Sepolia.
pub static CREATOR_CHAIN_SEPOLIA: Network = Network {
    name: "Creator Chain Testnet",
    slug: "creator-chain-sepolia",
    aliases: &["creator-chain-testnet-sepolia"],
    chain_id: 66665,
    l1_chain_id: 11155111,
    genesis: Genesis {
        number: 0,
        hash: b256!("218eeee63576977ed59d751a04ef53ac7ecf6c053331a6f10672c38d211957ed"),
        time: 1724698536,
    },
    block_time: 2,
    forks: ForkSchedule::in_order(&[0, 0, 0, 0, 1723478400, 1732633200, 1744905600, 1763568001]),
    system_config: Some(address!("978e8311a5a710ef6413aba3a6b89092ce4a58f5")),
    unsafe_block_signer: None,
};

/// Base Sepolia Testnet: chain 84532 on Sepolia.
pub static BASE_SEPOLIA: Network = Network {
    name: "Base Sepolia Testnet",
    slug: "base-sepolia",
    aliases: &[],
    chain_id: 84532,
    l1_chain_id: 11155111,
    genesis: Genesis {
        number: 0,
        hash: b256!("0dcc9e089e30b90ddfc55be9a37dd15bc551aeee999d2e2b51414c54eaf934e4"),
        time: 1695768288,
    },
    block_time: 2,
    forks: ForkSchedule::in_order(&[
        1699981200, 1703203200, 1708534800, 1716998400, 1723478400, 1732633200, 1744905600,
        1763568001,
    ])
        .with(Fork::Azul, Some(1776708000))
        .with(Fork::Beryl, Some(1781805600))
        .with(Fork::Cobalt, Some(1790186400))
        .with(Fork::Denim, Some(1792605600)),
    system_config: Some(address!("f272670eb55e895584501d564afeb048bed26194")),
    unsafe_block_signer: Some(address!("b830b99c95ea32300039624cb567d324d4b1d83c")),
};

/// GIWA Sepolia: chain 91342 on Sepolia.
pub static GIWA_SEPOLIA: Network = Network {
    name: "GIWA Sepolia",
    slug: "giwa-sepolia",
    aliases: &[],
    chain_id: 91342,
    l1_chain_id: 11155111,
    genesis: Genesis {
        number: 0,
        hash: b256!("ca1b5fee64a196abfca007b3a4d4e3ec2b37be83a452d452bf4e45937004cab2"),
        time: 1753345116,
    },
    block_time: 1,
    forks: ForkSchedule::in_order(&[0, 0, 0, 0, 0, 0, 1753349700, 1767070800, 1783317600]),
    system_config: Some(address!("8352825ba56c32d816dd906ad4a392b5bc9ec984")),
    unsafe_block_signer: None,
};

/// Camp Network Testnet V2: chain 325000 on Sepolia.
pub static CAMP_NETWORK_V2_SEPOLIA: Network = Network {
    name: "Camp Network Testnet V2",
    slug: "camp-network-v2-sepolia",
    aliases: &[],
    chain_id: 325000,
    l1_chain_id: 11155111,
    genesis: Genesis {
        number: 0,
        hash: b256!("7c7c4f48d2f33a04c5cbabc8b6ba6315f283d6ae0a874118ceb8881e21bfd05e"),
        time: 1718120160,
    },
    block_time: 2,
    forks: ForkSchedule::in_order(&[0, 0, 0, 0, 1723478400, 1732633200]),
    system_config: Some(address!("7aa405b004401be20d4a587de34aeec99be0b268")),
    unsafe_block_signer: None,
};

/// Ink Sepolia: chain 763373 on Sepolia.
pub static INK_SEPOLIA: Network = Network {
    name: "Ink Sepolia",
    slug: "ink-sepolia",
    aliases: &[],
    chain_id: 763373,
    l1_chain_id: 11155111,
    genesis: Genesis {
        number: 0,
        hash: b256!("e5fd5cf0be56af58ad5751b401410d6b7a09d830fa459789746a3d0dd1c79834"),
        time: 1729003296,
    },
    block_time: 1,
    forks: ForkSchedule::in_order(&[
        1699981200, 1703203200, 1708534800, 1716998400, 1723478400, 1732633200, 1744905600,
        1763568001, 1781712001,
    ]),
    system_config: Some(address!("05c993e60179f28bf649a2bb5b00b5f4283bd525")),
    unsafe_block_signer: None,
};

/// Funki Sepolia Testnet: chain 3397901 on Sepolia.
pub static FUNKI_SEPOLIA: Network = Network {
    name: "Funki Sepolia Testnet",
    slug: "funki-sepolia",
    aliases: &[],
    chain_id: 3397901,
    l1_chain_id: 11155111,
    genesis: Genesis {
        number: 0,
        hash: b256!("cebbf8fc7d0fab412866fe1e7df73c721104550ec35e55d173064acb2c0aeac9"),
        time: 1715060436,
    },
    block_time: 2,
    forks: ForkSchedule::in_order(&[0, 0, 0]),
    system_config: Some(address!("d6a01f1ef51d65f023433992a8f62feead35b172")),
    unsafe_block_signer: None,
};

/// Ozean Poseidon Testnet: chain 7849306 on Sepolia.
pub static OZEAN_POSEIDON_SEPOLIA: Network = Network {
    name: "Ozean Poseidon Testnet",
    slug: "ozean-poseidon-sepolia",
    aliases: &["ozean-sepolia"],
    chain_id: 7849306,
    l1_chain_id: 11155111,
    genesis: Genesis {
        number: 0,
        hash: b256!("b32768b76d1a3e84947da1caf37443f46003bff8f24ceee43db387452cba5da1"),
        time: 1724805984,
    },
    block_time: 2,
    forks: ForkSchedule::in_order(&[0, 0, 0, 0]),
    system_config: Some(address!("dec733b0643e7c3bd06576a4c70ca87e301eae87")),
    unsafe_block_signer: None,
};

/// Celo Sepolia Testnet: chain 11142220 on Sepolia.
pub static CELO_SEPOLIA: Network = Network {
    name: "Celo Sepolia Testnet",
    slug: "celo-sepolia",
    aliases: &["celo-sep-sepolia"],
    chain_id: 11142220,
    l1_chain_id: 11155111,
    genesis: Genesis {
        number: 0,
        hash: b256!("1b65cd292881564a4ba788e0822ef07f6dd558c76466ee9d1f07b57065b392f4"),
        time: 1753283988,
    },
    block_time: 1,
    forks: ForkSchedule::in_order(&[0, 0, 0, 0, 0, 0, 0, 1773749037]),
    system_config: Some(address!("760a5f022c9940f4a074e0030be682f560d29818")),
    unsafe_block_signer: None,
};

/// OP Sepolia Testnet: chain 11155420 on Sepolia.
pub static OP_SEPOLIA: Network = Network {
    name: "OP Sepolia Testnet",
    slug: "op-sepolia",
    aliases: &["optimism-sepolia", "sepolia"],
    chain_id: 11155420,
    l1_chain_id: 11155111,
    genesis: Genesis {
        number: 0,
        hash: b256!("102de6ffb001480cc9b8b548fd05c34cd4f46ae4aa91759393db90ea0409887d"),
        time: 1691802540,
    },
    block_time: 2,
    forks: ForkSchedule::in_order(&[
        1699981200, 1703203200, 1708534800, 1716998400, 1723478400, 1732633200, 1744905600,
        1763568001, 1781712001,
    ]),
    system_config: Some(address!("034edd2a225f7f429a63e0f1d2084b9e0a93b538")),
    unsafe_block_signer: Some(address!("57cacbb0d30b01eb2462e5dc940c161aff3230d3")),
};

/// Cyber Testnet: chain 111557560 on Sepolia.
pub static CYBER_SEPOLIA: Network = Network {
    name: "Cyber Testnet",
    slug: "cyber-sepolia",
    aliases: &[],
    chain_id: 111557560,
    l1_chain_id: 11155111,
    genesis: Genesis {
        number: 0,
        hash: b256!("d61aa9a43cba806375bec108aba488f00cf784a53a6e5164bc3ef9eb8b169eaf"),
        time: 1710470112,
    },
    block_time: 10,
    forks: ForkSchedule::in_order(&[0, 0, 0]),
    system_config: Some(address!("43b838aa237b27c4fc953e591594cebb1ca2817f")),
    unsafe_block_signer: None,
};

/// Zora Sepolia Testnet: chain 999999999 on Sepolia.
pub static ZORA_SEPOLIA: Network = Network {
    name: "Zora Sepolia Testnet",
    slug: "zora-sepolia",
    aliases: &[],
    chain_id: 999999999,
    l1_chain_id: 11155111,
    genesis: Genesis {
        number: 0,
        hash: b256!("8b17d2d52564a5a90079d9c860e1386272579e87b17ea27a3868513f53facd74"),
        time: 1698080004,
    },
    block_time: 2,
    forks: ForkSchedule::in_order(&[
        1699981200, 1703203200, 1708534800, 1716998400, 1723478400, 1732633200, 1744905600,
        1763568001, 1781712001,
    ]),
    system_config: Some(address!("b54c7bfc223058773cf9b739cc5bd4095184fb08")),
    unsafe_block_signer: None,
};

/// OP Labs Sepolia devnet 0: chain 11155421 on Sepolia.
pub static OP_LABS_DEVNET_0_SEPOLIA_DEV_0: Network = Network {
    name: "OP Labs Sepolia devnet 0",
    slug: "op-labs-devnet-0-sepolia-dev-0",
    aliases: &[],
    chain_id: 11155421,
    l1_chain_id: 11155111,
    genesis: Genesis {
        number: 0,
        hash: b256!("027ae1f4f9a441f9c8a01828f3b6d05803a0f524c07e09263264a38b755f804b"),
        time: 1706484048,
    },
    block_time: 2,
    forks: ForkSchedule::in_order(&[
        0, 0, 1706634000, 1715961600, 1723046400, 1731682800, 1744300800,
        1762185600,
    ]),
    system_config: Some(address!("a6b72407e2dc9ebf84b839b69a24c88929cf20f7")),
    unsafe_block_signer: None,
};

/// Base devnet 0: chain 11763072 on Sepolia.
pub static BASE_DEVNET_0_SEPOLIA_DEV_0: Network = Network {
    name: "Base devnet 0",
    slug: "base-devnet-0-sepolia-dev-0",
    aliases: &[],
    chain_id: 11763072,
    l1_chain_id: 11155111,
    genesis: Genesis {
        number: 0,
        hash: b256!("1ab91449a7c65b8cd6c06f13e2e7ea2d10b6f9cbf5def79f362f2e7e501d2928"),
        time: 1695433056,
    },
    block_time: 2,
    forks: ForkSchedule::in_order(&[
        1698436800, 1706555000, 1706634000, 1715961600, 1723046400, 1731682800, 1744300800,
        1762185600,
    ])
        .with(Fork::Azul, Some(1774890000)),
    system_config: Some(address!("7f67dc4959cb3e532b10a99f41bdd906c46fdfde")),
    unsafe_block_signer: None,
};

/// sepolia-devnet-2: chain 420130015 on Sepolia.
pub static DEVNET_2_SEPOLIA_DEVNET_2: Network = Network {
    name: "sepolia-devnet-2",
    slug: "devnet-2-sepolia-devnet-2",
    aliases: &["sepolia-devnet-2-sepolia-devnet-2"],
    chain_id: 420130015,
    l1_chain_id: 11155111,
    genesis: Genesis {
        number: 0,
        hash: b256!("782e7ef559d86bd85ca14b3b51bcd64b2a5abba5bf3017d83d34e666d8dc0a57"),
        time: 1783536096,
    },
    block_time: 2,
    forks: ForkSchedule::in_order(&[0, 0, 0, 0, 0, 0, 0, 0, 0]),
    system_config: Some(address!("5f91ea5eea70e505b457a442dc7a8e5d9641b937")),
    unsafe_block_signer: None,
};

/// Every network. Only the lookups may name it: its users link all of them.
pub(super) static ALL: [&Network; 63] = [
    &OP_MAINNET,
    &UNICHAIN_MAINNET,
    &HASHKEY_CHAIN_MAINNET,
    &ETHERNITY_MAINNET,
    &MINT_MAINNET,
    &FRAXTAL_MAINNET,
    &SWAN_CHAIN_MAINNET,
    &BOBA_MAINNET,
    &ORDERLY_MAINNET,
    &SHAPE_MAINNET,
    &WORLD_CHAIN_MAINNET,
    &BINARY_MAINNET,
    &REDSTONE_MAINNET,
    &LYRA_CHAIN_MAINNET,
    &LISK_MAINNET,
    &METAL_L2_MAINNET,
    &SONEIUM_MAINNET,
    &SWELLCHAIN_MAINNET,
    &SNAXCHAIN_MAINNET,
    &SUPERSEED_MAINNET,
    &SETTLUS_MAINNET,
    &RACE_MAINNET,
    &CYBER_MAINNET,
    &ARENA_Z_MAINNET,
    &POLYNOMIAL_MAINNET,
    &BASE_MAINNET,
    &FUNKI_MAINNET,
    &MODE_MAINNET,
    &CELO_MAINNET,
    &INK_MAINNET,
    &BOB_MAINNET,
    &AUTOMATA_MAINNET,
    &SILENT_DATA_MAINNET,
    &XTERIO_CHAIN_ETH_MAINNET,
    &ZORA_MAINNET,
    &ETHERNITY_SEPOLIA,
    &BINARY_SEPOLIA,
    &RADIUS_SEPOLIA,
    &MODE_SEPOLIA,
    &UNICHAIN_SEPOLIA,
    &METAL_L2_SEPOLIA,
    &SONEIUM_MINATO_SEPOLIA,
    &LISK_SEPOLIA,
    &WORLD_CHAIN_SEPOLIA,
    &SETTLUS_SEPOLIA,
    &RACE_SEPOLIA,
    &SHAPE_SEPOLIA,
    &PIVOTAL_SEPOLIA,
    &BOBA_SEPOLIA,
    &CREATOR_CHAIN_SEPOLIA,
    &BASE_SEPOLIA,
    &GIWA_SEPOLIA,
    &CAMP_NETWORK_V2_SEPOLIA,
    &INK_SEPOLIA,
    &FUNKI_SEPOLIA,
    &OZEAN_POSEIDON_SEPOLIA,
    &CELO_SEPOLIA,
    &OP_SEPOLIA,
    &CYBER_SEPOLIA,
    &ZORA_SEPOLIA,
    &OP_LABS_DEVNET_0_SEPOLIA_DEV_0,
    &BASE_DEVNET_0_SEPOLIA_DEV_0,
    &DEVNET_2_SEPOLIA_DEVNET_2,
];
