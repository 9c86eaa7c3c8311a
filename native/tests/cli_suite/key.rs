//! `opp2p key`, as a user runs it.

use crate::support::Place;

const ONE: &str = "0000000000000000000000000000000000000000000000000000000000000001";
const ONE_PEER: &str = "16Uiu2HAm3cuhhRL2msUuLF62KRSfneFDx94RsuouyW25Ho42cFMq";
const ONE_ADDRESS: &str = "0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf";
/// The keccak of key one's public point, whose last 20 bytes are its address.
const ONE_NODE: &str = "c0a6c424ac7157ae408398df7e5f4552091a69125d5dfcb7b8c2659029395bdf";
const ORDER: &str = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";

#[test]
fn generated_keys_are_hexadecimal_and_unique() {
    let place = Place::new();
    let generate = || {
        let outcome = place.run(&["key", "generate"]);
        assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""));
        outcome.stdout
    };
    let (first, second) = (generate(), generate());
    assert_ne!(first, second);
    let digits = first.strip_suffix('\n').unwrap();
    assert!(digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()), "{first:?}");
    // The generated key is valid input.
    assert_eq!(place.run_with_input(&["key", "show"], first.as_bytes()).code, Some(0));
}

#[test]
fn a_key_file_is_private_and_never_overwritten() {
    let place = Place::new();
    let name = place.name("p2p.key");
    let made = place.run(&["key", "generate", &name]);
    assert_eq!((made.code, made.stderr.as_str()), (Some(0), ""), "{made:?}");
    let text = std::fs::read_to_string(&name).unwrap();
    assert!(text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()));
    assert!(!made.stdout.contains(&text), "the key itself is shown");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(&name).unwrap().permissions().mode() & 0o777, 0o600);
    }
    // Both commands show the same identity.
    assert_eq!(place.run(&["key", "show", &name]).stdout, made.stdout);

    place.run(&["key", "generate", &name]).refused(&[&name, "not overwritten"]);
    assert_eq!(std::fs::read_to_string(&name).unwrap(), text);
    let other = place.file("notes.txt", "not a key");
    place.run(&["key", "generate", &other]).refused(&[&other, "not overwritten"]);
    assert_eq!(std::fs::read_to_string(&other).unwrap(), "not a key");
    place.run(&["key", "generate", &place.name("")]).refused(&["not overwritten"]);
    let nowhere = place.name("missing/p2p.key");
    place.run(&["key", "generate", &nowhere]).refused(&[&nowhere, "make its directory"]);
    place.run(&["key", "show", &nowhere]).refused(&[&nowhere, "name one that exists"]);
    let to_stdout = place.run(&["key", "generate", "-"]);
    assert_eq!((to_stdout.code, to_stdout.stdout.trim().len()), (Some(0), 64));
    assert!(!place.path("-").exists(), "{to_stdout:?}");
}

#[test]
fn key_one_has_the_same_ids_everywhere() {
    let place = Place::new();
    let file = place.file("one", ONE);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    let expected = format!("peer id   {ONE_PEER}\nnode id   {ONE_NODE}\naddress   {ONE_ADDRESS}\n");
    let shown = place.run(&["key", "show", &file]);
    assert_eq!((shown.code, shown.stdout, shown.stderr.as_str()), (Some(0), expected.clone(), ""));
    for input in [ONE.to_string(), format!("0x{ONE}\n"), format!("  {ONE}\r\n")] {
        let piped = place.run_with_input(&["key", "show"], input.as_bytes());
        assert_eq!((piped.code, piped.stdout), (Some(0), expected.clone()), "{input:?}");
        let dash = place.run_with_input(&["key", "show", "-"], input.as_bytes());
        assert_eq!(dash.stdout, expected);
    }
    let json = place.run_with_input(&["key", "show", "--json"], ONE.as_bytes());
    assert_eq!(
        json.stdout,
        format!(
            "{{\"peer_id\":\"{ONE_PEER}\",\"node_id\":\"{ONE_NODE}\",\
             \"address\":\"{ONE_ADDRESS}\"}}\n"
        )
    );
}

#[cfg(unix)]
#[test]
fn a_key_file_that_others_can_read_is_used_with_a_warning() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    let file = place.file("one", ONE);
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let shown = place.run(&["key", "show", &file]);
    assert_eq!(shown.code, Some(0));
    assert!(shown.stdout.contains(ONE_PEER));
    assert!(
        shown.stderr.starts_with("opp2p: warning: ") && shown.stderr.contains("chmod 600"),
        "{shown:?}"
    );
}

#[test]
fn an_invalid_key_is_refused_without_repeating_it() {
    let place = Place::new();
    let short = ONE[1..].to_string();
    let letters = format!("{}zz", &ONE[2..]);
    let zero = "0".repeat(64);
    let long = "1".repeat(5000);
    let cases: [(&[u8], &str); 8] = [
        (b"", "64 hex digits"),
        (short.as_bytes(), "64 hex digits"),
        (letters.as_bytes(), "character 63"),
        (zero.as_bytes(), "above zero"),
        (ORDER.as_bytes(), "below the order"),
        (&[0xff; 64], "64 hex digits"),
        (b"correct horse battery staple", "64 hex digits"),
        (long.as_bytes(), "64 hex digits"),
    ];
    for (contents, part) in cases {
        let piped = place.run_with_input(&["key", "show"], contents);
        piped.refused(&["standard input", part]);
        let file = place.file("bad", contents);
        let read = place.run(&["key", "show", &file]);
        read.refused(&[&file, part]);
        let secret = std::str::from_utf8(contents).unwrap_or_default();
        for said in [piped.stderr, read.stderr] {
            assert!(secret.is_empty() || !said.contains(secret), "{said}");
        }
    }
    let missing = place.name("missing");
    place.run(&["key", "show", &missing]).refused(&[&missing]);
    place.run(&["key", "show", &place.name("")]).refused(&["directory"]);
}

#[test]
fn key_commands_match_those_of_the_reference() {
    let place = Place::new();
    for group in ["key", "p2p"] {
        let made = place.run(&[group, "genkey"]);
        assert_eq!((made.code, made.stderr.as_str(), made.stdout.len()), (Some(0), "", 65));
        for text in [ONE.to_owned(), format!("0x{ONE}\n")] {
            let id = place.run_with_input(&[group, "priv2id"], text.as_bytes());
            assert_eq!((id.code, id.stdout), (Some(0), format!("{ONE_PEER}\n")));
        }
        let compressed = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
        let whole = "0479be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798\
                     483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8";
        for text in [compressed.to_owned(), format!(" 0x{compressed}\n"), whole.to_owned()] {
            let id = place.run_with_input(&[group, "pub2id"], text.as_bytes());
            assert_eq!((id.code, id.stdout), (Some(0), format!("{ONE_PEER}\n")), "{text}");
        }
    }
    for garbage in ["", "zz", ORDER, &"0".repeat(5000)] {
        place.run_with_input(&["key", "priv2id"], garbage.as_bytes()).refused(&["holds no key"]);
        place
            .run_with_input(&["key", "pub2id"], garbage.as_bytes())
            .refused(&["no secp256k1 public key"]);
    }
}
