//! Secrets stay out of logs and answers, and private files are readable only by their owner.

use crate::support::{Place, Sequencer, get, signer_hex};

const TOKEN: &str = "a-token-that-is-long-enough-to-be-taken-0123456789";

pub(crate) async fn no_secret_is_in_the_log_or_an_answer_and_key_files_are_private() {
    let mut sequencer = Sequencer::start().await;
    let sequencer_key = signer_hex();
    let mut place = Place::new(&sequencer, "victim", &[sequencer.host.address().to_string()]);
    let (key, token) = (place.directory.join("sequencer.key"), place.directory.join("token"));
    for (file, text) in [(&key, sequencer_key.as_str()), (&token, TOKEN)] {
        std::fs::write(file, text).unwrap();
        assert_private(file, true);
    }
    place.arguments.retain(|argument| !argument.starts_with("--log.level"));
    place.arguments.extend([
        // The most verbose log, including that of the libraries.
        "--log.level=trace".to_owned(),
        format!("--p2p.sequencer.key.path={}", key.display()),
        format!("--rpc.token.path={}", token.display()),
        "--rpc.enable-admin".to_owned(),
    ]);
    let victim = place.start();
    victim.started();
    let observer = sequencer.observer("observer", &[victim.started().0]).await;
    sequencer.reach(&observer).await;
    assert_private(&place.directory.join("p2p.key"), false);
    let identity = std::fs::read_to_string(place.directory.join("p2p.key")).unwrap();
    assert_eq!(identity.len(), 64);

    let mut said = Vec::new();
    for method in
        ["opp2p_self", "opp2p_nodeStatus", "opp2p_peers", "opp2p_scoreBook", "opp2p_peerStats"]
    {
        said.push(victim.call(method).await.to_string());
    }
    said.push(get(victim.metrics(), "/metrics").await.1);
    said.push(get(victim.rpc(), "/healthz").await.1);
    said.extend(victim.end());
    for secret in [identity.as_str(), &sequencer_key, TOKEN] {
        // As text, as bytes in `Debug` output, and a part that occurs in no other number.
        let bytes: Vec<String> = secret
            .as_bytes()
            .chunks(2)
            .filter_map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
            .map(|byte| byte.to_string())
            .collect();
        let shown = bytes[bytes.len().saturating_sub(6)..].join(", ");
        let forms = [
            secret.to_owned(),
            secret.to_uppercase(),
            secret[secret.len() - 16..].to_owned(),
            shown,
        ];
        for form in forms.iter().filter(|form| form.len() >= 12) {
            let found = said.iter().find(|text| text.contains(form));
            assert_eq!(found, None, "a secret is told");
        }
    }
    assert!(said.len() > 100, "a trace is long: {}", said.len());
}

/// Checks that only the owner has access to a file. `change` sets the permissions first.
#[cfg(unix)]
fn assert_private(file: &std::path::Path, change: bool) {
    use std::os::unix::fs::PermissionsExt;
    if change {
        std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    assert_eq!(
        std::fs::metadata(file).unwrap().permissions().mode() & 0o777,
        0o600,
        "{}",
        file.display()
    );
}

#[cfg(not(unix))]
fn assert_private(_: &std::path::Path, _: bool) {}
