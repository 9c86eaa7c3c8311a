use alloy_primitives::{address, b256};
use proptest::prelude::*;

use super::*;

/// Returns a file with the structure that the reference node writes, including the usual fields
/// that are not used here.
fn op_mainnet() -> Value {
    json!({
        "genesis": {
            "l1": {
                "hash": "0x438335a20d98863a4c0c97999eb2481921ccd28553eac6f913af7c12aec04108",
                "number": 17422590
            },
            "l2": {
                "hash": "0xdbf6a80fef073de06add9b0d14026d6e5a86c85f6d102c36d3d8e9cf89c2afd3",
                "number": 105235063
            },
            "l2_time": 1686068903,
            "system_config": {
                "batcherAddr": "0x6887246668a3b87f54deb3b94ba47a6f63f32985",
                "overhead": "0x00000000000000000000000000000000000000000000000000000000000000bc",
                "scalar": "0x00000000000000000000000000000000000000000000000000000000000a6fe0",
                "gasLimit": 30000000
            }
        },
        "block_time": 2,
        "max_sequencer_drift": 600,
        "seq_window_size": 3600,
        "channel_timeout": 300,
        "l1_chain_id": 1,
        "l2_chain_id": 10,
        "regolith_time": 0,
        "canyon_time": 1704992401,
        "delta_time": 1708560000,
        "ecotone_time": 1710374401,
        "fjord_time": 1720627201,
        "granite_time": 1726070401,
        "holocene_time": 1736445601,
        "pectra_blob_schedule_time": null,
        "isthmus_time": 1746806401,
        "jovian_time": 1764691201,
        "batch_inbox_address": "0xff00000000000000000000000000000000000010",
        "deposit_contract_address": "0xbeb5fc579115071764c7423a4f12edde41f106ed",
        "l1_system_config_address": "0x229047fed2591dbec1ef1118d64f7af3db9eb290",
        "protocol_versions_address": "0x8062abc286f5e7d9428a0ccb9abd71e50d93b935",
        "chain_op_config": {
            "eip1559Elasticity": 6, "eip1559Denominator": 50, "eip1559DenominatorCanyon": 250
        },
        "alt_da": null
    })
}

fn parse(value: &Value) -> Result<ChainConfig, ConfigError> {
    ChainConfig::from_rollup_json(&serde_json::to_string_pretty(value).unwrap())
}

/// Returns the error for a file with a replaced value at this `/`-separated path; `None`
/// removes the field.
fn error_with(path: &str, value: Option<Value>) -> ConfigError {
    let mut file = op_mainnet();
    let (parent, name) = path.rsplit_once('/').unwrap();
    let parent = file.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    match value {
        Some(value) => parent.insert(name.to_owned(), value),
        None => parent.remove(name),
    };
    parse(&file).unwrap_err()
}

#[test]
fn an_operators_file_is_read() {
    let config = parse(&op_mainnet()).unwrap();
    let expected = ChainConfig {
        name: "chain 10".into(),
        chain_id: 10,
        l1_chain_id: 1,
        genesis: Genesis {
            number: 105_235_063,
            hash: b256!("dbf6a80fef073de06add9b0d14026d6e5a86c85f6d102c36d3d8e9cf89c2afd3"),
            time: 1_686_068_903,
        },
        block_time: 2,
        forks: ForkSchedule::in_order(&[
            1_704_992_401,
            1_708_560_000,
            1_710_374_401,
            1_720_627_201,
            1_726_070_401,
            1_736_445_601,
            1_746_806_401,
            1_764_691_201,
        ]),
        unsafe_block_signer: None,
        system_config: Some(address!("229047fed2591dbec1ef1118d64f7af3db9eb290")),
        unknown_forks: BTreeMap::new(),
    };
    assert_eq!(config, expected);
    // A real block of the chain: fixture op_mainnet_120794432.
    assert_eq!(config.timestamp_of(120_794_432), Some(1_717_187_641));
}

#[test]
fn written_configurations_read_back_unchanged() {
    for network in super::super::networks::all() {
        let mut config = network.config();
        config.unknown_forks.insert("interop_time".into(), 5);
        let read = ChainConfig::from_rollup_json(&config.to_rollup_json()).unwrap();
        config.name = format!("chain {}", config.chain_id).into();
        config.unsafe_block_signer = None;
        assert_eq!(read, config);
    }
    let (hash, signer) = (B256::repeat_byte(1), Address::repeat_byte(2));
    let mut alone = ChainConfig::development(901, hash, 9000, 2, Fork::Ecotone, signer);
    let refused = ChainConfig::from_rollup_json(&alone.to_rollup_json()).unwrap_err();
    assert_eq!(refused.field(), Some("l1_chain_id"));
    alone.l1_chain_id = 900;
    let read = ChainConfig::from_rollup_json(&alone.to_rollup_json()).unwrap();
    assert_eq!((read.forks, read.genesis, read.block_time), (alone.forks, alone.genesis, 2));
}

#[test]
fn misspelt_forks_are_distinguished_from_future_ones() {
    let mut file = op_mainnet();
    file["isthums_time"] = json!(1_746_806_401);
    file["ecotne_time"] = json!(1);
    file["interop_time"] = json!(5);
    file["x".repeat(10_000) + "_time"] = json!(5);
    let config = parse(&file).unwrap();
    let expected = [("ecotne_time", Fork::Ecotone), ("isthums_time", Fork::Isthmus)];
    assert_eq!(config.misspelt_forks().collect::<Vec<_>>(), expected);
    assert_eq!(config.unknown_forks.len(), 4);
}

#[test]
fn derivation_fields_may_be_absent_or_hold_anything() {
    let mut file = op_mainnet();
    let unread =
        ["max_sequencer_drift", "seq_window_size", "regolith_time", "chain_op_config", "alt_da"];
    for name in unread {
        file[name] = json!({ "whatever": [1.5, "x", null] });
    }
    file["genesis"]["l1"] = Value::Null;
    file["genesis"]["system_config"] = json!([]);
    assert_eq!(parse(&file), parse(&op_mainnet()));
    for name in unread {
        file.as_object_mut().unwrap().remove(name);
    }
    assert_eq!(parse(&file), parse(&op_mainnet()));
}

#[test]
fn a_fork_that_is_null_or_absent_is_not_planned() {
    let mut file = op_mainnet();
    file["jovian_time"] = Value::Null;
    file.as_object_mut().unwrap().remove("isthmus_time");
    let forks = parse(&file).unwrap().forks;
    assert_eq!(forks.activation(Fork::Holocene), Some(1_736_445_601));
    assert_eq!(forks.activation(Fork::Isthmus), None);
    assert_eq!(forks.activation(Fork::Jovian), None);
}

#[test]
fn forks_that_are_not_known_are_kept_and_decide_nothing() {
    let mut file = op_mainnet();
    file["interop_time"] = json!(5);
    file["cel2_time"] = json!(0);
    file["pectra_blob_schedule_time"] = json!(1_742_486_400);
    file["later_time"] = Value::Null;
    file["odd_time"] = json!("soon");
    file["far_time"] = json!(1e300);
    let config = parse(&file).unwrap();
    let kept: Vec<_> =
        config.unknown_forks.iter().map(|(name, time)| (name.as_str(), *time)).collect();
    assert_eq!(kept, [("cel2_time", 0), ("interop_time", 5)]);
    assert_eq!(config.forks, parse(&op_mainnet()).unwrap().forks);
}

#[test]
fn a_zero_system_config_address_means_no_system_config() {
    let mut file = op_mainnet();
    file["l1_system_config_address"] = json!(format!("{}", Address::ZERO));
    assert_eq!(parse(&file).unwrap().system_config, None);
    file["l1_chain_id"] = json!(0);
    assert_eq!(parse(&file).unwrap_err().field(), Some("l1_chain_id"));
}

#[test]
fn a_missing_field_is_named() {
    for path in [
        "/genesis",
        "/genesis/l2",
        "/genesis/l2/hash",
        "/genesis/l2/number",
        "/genesis/l2_time",
        "/block_time",
        "/l1_chain_id",
        "/l2_chain_id",
    ] {
        for gone in [None, Some(Value::Null)] {
            let error = error_with(path, gone);
            assert!(matches!(error, ConfigError::Missing { .. }), "{error}");
            assert_eq!(error.field(), Some(path[1..].replace('/', ".").as_str()));
        }
    }
    assert_eq!(
        error_with("/genesis/l2/hash", None).to_string(),
        "`genesis.l2.hash` is missing; it should be a hash (0x and 64 hexadecimal digits)"
    );
}

#[test]
fn a_value_of_the_wrong_kind_is_named_with_the_expected_kind() {
    let numbers =
        ["/genesis/l2/number", "/genesis/l2_time", "/block_time", "/l1_chain_id", "/l2_chain_id"];
    let forks = Fork::ALL.map(|fork| format!("/{}", fork.field()));
    for path in numbers.into_iter().chain(forks.iter().map(String::as_str)) {
        for wrong in
            [json!("0x2"), json!("2"), json!(2.0), json!(1e30), json!(true), json!([2]), json!({})]
        {
            let error = error_with(path, Some(wrong));
            assert!(
                matches!(error, ConfigError::WrongType { expected: WHOLE_NUMBER, .. }),
                "{error}"
            );
            assert_eq!(error.field(), Some(path[1..].replace('/', ".").as_str()));
        }
    }
    for path in ["/genesis", "/genesis/l1", "/genesis/l2"] {
        for wrong in [json!(7), json!("x"), json!([])] {
            let error = error_with(path, Some(wrong));
            assert!(matches!(error, ConfigError::WrongType { expected: OBJECT, .. }), "{error}");
            assert_eq!(error.field(), Some(path[1..].replace('/', ".").as_str()));
        }
    }
    for path in ["/genesis/l1/hash", "/genesis/l2/hash", "/l1_system_config_address"] {
        let error = error_with(path, Some(json!(7)));
        assert!(matches!(error, ConfigError::WrongType { .. }), "{error}");
        assert_eq!(error.field(), Some(path[1..].replace('/', ".").as_str()));
    }
    assert_eq!(
        error_with("/block_time", Some(json!("2"))).to_string(),
        "`block_time` should be a whole number, but is the text \"2\""
    );
    assert_eq!(
        error_with("/block_time", Some(json!(0.5))).to_string(),
        "`block_time` should be a whole number, but is the number 0.5"
    );
}

#[test]
fn a_number_out_of_range_is_named() {
    for path in ["/block_time", "/l2_chain_id", "/genesis/l2/number", "/jovian_time"] {
        let error = error_with(path, Some(json!(-1)));
        assert!(matches!(error, ConfigError::OutOfRange { .. }), "{error}");
        assert_eq!(error.field(), Some(path[1..].replace('/', ".").as_str()));
    }
    let text = op_mainnet()
        .to_string()
        .replace("\"l2_chain_id\":10", "\"l2_chain_id\":18446744073709551616");
    assert_eq!(
        ChainConfig::from_rollup_json(&text).unwrap_err().to_string(),
        "`l2_chain_id` is 18446744073709551616, which is out of range; it should be from 0 to \
         18446744073709551615"
    );
}

#[test]
fn bad_hexadecimal_is_named() {
    let good = "dbf6a80fef073de06add9b0d14026d6e5a86c85f6d102c36d3d8e9cf89c2afd3";
    let bad_hashes = [
        String::new(),
        good.to_owned(),
        format!("0x{}", &good[1..]),
        format!("0x{good}0"),
        format!("0x0x{}", &good[2..]),
        format!("0xg{}", &good[1..]),
        format!("0x\n{}", &good[1..]),
        format!(" 0x{good}"),
    ];
    for bad in &bad_hashes {
        let error = error_with("/genesis/l2/hash", Some(json!(bad)));
        assert!(matches!(error, ConfigError::BadHex { .. }), "{error}");
        assert_eq!(error.field(), Some("genesis.l2.hash"));
    }
    let error = error_with("/genesis/l1/hash", Some(json!("0x12")));
    assert_eq!(error.field(), Some("genesis.l1.hash"));
    assert_eq!(
        error_with("/l1_system_config_address", Some(json!("0x12"))).to_string(),
        "`l1_system_config_address` should be an address (0x and 40 hexadecimal digits), but is \
         `0x12`"
    );
    let mut file = op_mainnet();
    file["genesis"]["l2"]["hash"] = json!(format!("0X{}", good.to_uppercase()));
    assert_eq!(parse(&file), parse(&op_mainnet()));
}

#[test]
fn a_file_that_contradicts_itself_is_refused() {
    let zero = |path| match error_with(path, Some(json!(0))) {
        ConfigError::Zero { field, .. } => field,
        other => panic!("{other}"),
    };
    assert_eq!(zero("/block_time"), "block_time");
    assert_eq!(zero("/l1_chain_id"), "l1_chain_id");
    assert_eq!(zero("/l2_chain_id"), "l2_chain_id");
    assert_eq!(error_with("/l1_chain_id", Some(json!(10))), ConfigError::SameChainId(10));
    assert_eq!(
        error_with("/isthmus_time", None),
        ConfigError::ForkGap { later: Fork::Jovian, missing: Fork::Isthmus }
    );
    assert_eq!(error_with("/jovian_time", Some(json!(5))).field(), Some("jovian_time"));
    let pasted = op_mainnet()["genesis"]["l2"]["hash"].clone();
    assert_eq!(
        error_with("/genesis/l1/hash", Some(pasted)),
        ConfigError::SameGenesisHash(parse(&op_mainnet()).unwrap().genesis.hash)
    );
}

#[test]
fn a_duplicate_field_is_refused() {
    let text = op_mainnet().to_string();
    for (once, twice, name) in [
        ("\"block_time\":2", "\"block_time\":2,\"block_time\":2", "block_time"),
        ("\"number\":105235063", "\"number\":105235063,\"n\\u0075mber\":0", "genesis.l2.number"),
        ("\"l2_time\":", "\"l1\":{},\"l2_time\":", "genesis.l1"),
    ] {
        let text = text.replacen(once, twice, 1);
        assert_eq!(
            ChainConfig::from_rollup_json(&text),
            Err(ConfigError::Duplicate { field: name.to_owned() })
        );
    }
}

#[test]
fn invalid_json_is_refused_with_its_position() {
    let text = serde_json::to_string_pretty(&op_mainnet()).unwrap();
    for broken in [
        "",
        "   ",
        "{",
        "no",
        &text[..text.len() - 1],
        &format!("{text}x"),
        &format!("\u{feff}{text}"),
    ] {
        let error = ChainConfig::from_rollup_json(broken).unwrap_err();
        assert!(matches!(error, ConfigError::Json { within: "rollup.json", .. }), "{error}");
        assert!(error.to_string().contains("line"), "{error}");
        assert_eq!(error.field(), None);
    }
    for other in ["[]", "7", "null", "\"x\""] {
        let error = ChainConfig::from_rollup_json(other).unwrap_err();
        assert!(matches!(error, ConfigError::WrongType { field: "rollup.json", .. }), "{error}");
    }
}

#[test]
fn a_text_longer_than_any_rollup_json_is_not_read() {
    let padded = |length: usize| {
        let text = op_mainnet().to_string();
        let padding = " ".repeat(length - text.len());
        ChainConfig::from_rollup_json(&(text + &padding))
    };
    assert!(padded(MAX_ROLLUP_JSON_BYTES).is_ok());
    let length = MAX_ROLLUP_JSON_BYTES + 1;
    assert_eq!(padded(length), Err(ConfigError::TooLong { length }));
}

#[test]
fn deep_nesting_in_a_skipped_field_is_harmless() {
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    let text = op_mainnet().to_string().replace("\"alt_da\":null", &format!("\"alt_da\":{deep}"));
    assert_eq!(ChainConfig::from_rollup_json(&text), parse(&op_mainnet()));
}

#[test]
fn errors_are_short_and_single_line_for_any_input() {
    let long = "\n\u{1b}é".repeat(10_000);
    for path in ["/genesis/l2/hash", "/block_time", "/jovian_time", "/genesis"] {
        let text = error_with(path, Some(json!(long))).to_string();
        assert!(text.len() < 600 && !text.contains(char::is_control), "{text}");
    }
    let twice = format!("{{{0}:1,{0}:1}}", json!(long));
    let text = ChainConfig::from_rollup_json(&twice).unwrap_err().to_string();
    assert!(text.len() < 600 && !text.contains(char::is_control), "{text}");
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        any::<[u8; 32]>().prop_map(|bytes| B256::from(bytes).to_string().into()),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z_]{1,8}", inner, 0..4)
                .prop_map(|members| members.into_iter().collect()),
        ]
    })
}

proptest! {
    #[test]
    fn any_text_is_parsed_without_a_panic(text: String) {
        let _ = ChainConfig::from_rollup_json(&text);
    }

    #[test]
    fn any_json_without_the_fields_is_refused(value in any_json()) {
        prop_assert!(parse(&value).is_err());
    }

    #[test]
    fn any_damaged_file_is_refused_or_valid(
        at: prop::sample::Index, length in 0..20_usize, with: String
    ) {
        let mut text = op_mainnet().to_string();
        let start = at.index(text.len());
        let end = (start + length).min(text.len());
        text.replace_range(start..end, &with);
        if let Ok(config) = ChainConfig::from_rollup_json(&text) {
            prop_assert_eq!(config.check(), Ok(()));
        }
    }

    #[test]
    fn any_value_in_a_field_parses_or_fails_naming_a_field(
        field in prop::sample::select(vec![
            "/genesis", "/genesis/l1", "/genesis/l2",
            "/genesis/l2/hash",
            "/genesis/l2/number",
                "/genesis/l2_time",
            "/block_time", "/l1_chain_id", "/l2_chain_id", "/fjord_time",
            "/l1_system_config_address",
        ]),
        value in any_json(),
    ) {
        let mut file = op_mainnet();
        *file.pointer_mut(field).unwrap() = value;
        match parse(&file) {
            Ok(config) => prop_assert_eq!(config.check(), Ok(())),
            Err(error) => prop_assert!(error.field().is_some(), "{}", error),
        }
    }
}
