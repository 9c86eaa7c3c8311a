//! The engine that the flags ask for.

use super::Failure;
use super::engine::EngineArgs;
use crate::engine::EngineSetup;
#[cfg(feature = "engine")]
use crate::engine::{EngineClient, TIMEOUT};
#[cfg(feature = "engine")]
use alloy_rpc_types_engine::JwtSecret;
use opp2p_core::chain::ChainConfig;
#[cfg(feature = "engine")]
use opp2p_core::chain::networks;
#[cfg(feature = "engine")]
use opp2p_core::engine::DevelopmentL1;
#[cfg(feature = "engine")]
use opp2p_node::http::HttpConfig;
use std::path::PathBuf;

/// Returns the requested engine after checking the settings. `rollup` is the text of the chain
/// configuration's file, if there is one.
pub(super) fn load(
    args: &EngineArgs,
    chain: &ChainConfig,
    rollup: Option<&str>,
    can_sign: bool,
) -> Result<Option<EngineSetup>, Failure> {
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let Some(url) = given(&args.l2) else {
        let alone = [
            (secret_file(args).is_some(), "--l2.jwt-secret"),
            (given(&args.labels).is_some(), "--l2.labels"),
            (args.sequencer, "--sequencer.enabled"),
        ];
        return match alone.iter().find(|(is_given, _)| *is_given) {
            Some((_, flag)) => Err(Failure::new(format!(
                "{flag} is given without --l2: give the URL of the execution client's Engine \
                 API too"
            ))),
            None => Ok(None),
        };
    };
    setup(args, &url, chain, rollup, can_sign).map(Some)
}

fn secret_file(args: &EngineArgs) -> Option<&PathBuf> {
    args.jwt_secret.as_ref().filter(|path| !path.as_os_str().is_empty())
}

#[cfg(not(feature = "engine"))]
fn setup(
    _: &EngineArgs,
    _: &str,
    _: &ChainConfig,
    _: Option<&str>,
    _: bool,
) -> Result<EngineSetup, Failure> {
    Err(Failure::new("--l2: this program was built without its feature engine"))
}

/// Returns the engine at `url` after checking the other flags.
#[cfg(feature = "engine")]
fn setup(
    args: &EngineArgs,
    url: &str,
    chain: &ChainConfig,
    rollup: Option<&str>,
    can_sign: bool,
) -> Result<EngineSetup, Failure> {
    let labels = args.labels.as_ref().filter(|url| !url.is_empty());
    let setup = EngineSetup {
        http: HttpConfig::new(url, TIMEOUT),
        jwt: secret(args)?,
        labels: labels.map(|url| HttpConfig::new(url, TIMEOUT)),
        sequencer: args.sequencer.then(|| development(chain, rollup, can_sign)).transpose()?,
        stopped: args.stopped,
    };
    EngineClient::new(&setup.http, None)
        .map_err(|error| Failure::new(format!("--l2 can't be used: {error}")))?;
    if let Some(labels) = &setup.labels {
        labels
            .check()
            .map_err(|error| Failure::new(format!("--l2.labels can't be used: {error}")))?;
    }
    Ok(setup)
}

/// Returns the secret shared with the execution client: the file's, or the raw one if there is
/// no file.
#[cfg(feature = "engine")]
fn secret(args: &EngineArgs) -> Result<JwtSecret, Failure> {
    let file = secret_file(args);
    let raw = args.jwt_secret_raw.as_deref().filter(|text| !text.is_empty());
    match (file, raw) {
        (Some(file), raw) if raw.is_none() || file.exists() => {
            let text = std::fs::read_to_string(file).map_err(|error| {
                Failure::new(format!(
                    "--l2.jwt-secret: can't read {}: {error}; give the file that the \
                     execution client was started with",
                    file.display()
                ))
            })?;
            jwt(&text, &format!("--l2.jwt-secret: {}", file.display()))
        }
        (_, Some(raw)) => jwt(raw, "--l2.jwt-secret.raw"),
        (_, None) => Err(Failure::new(
            "--l2 is given without --l2.jwt-secret: give the file that the execution client \
             was started with",
        )),
    }
}

/// Parses a secret from a flag or a file.
#[cfg(feature = "engine")]
fn jwt(text: &str, place: &str) -> Result<JwtSecret, Failure> {
    JwtSecret::from_hex(text.trim()).map_err(|_| {
        Failure::new(format!(
            "{place} does not hold 32 bytes in hexadecimal; openssl rand -hex 32 makes some"
        ))
    })
}

/// Returns the development chain's view of L1. A production chain derives its blocks from L1, which
/// this node does not do.
#[cfg(feature = "engine")]
fn development(
    chain: &ChainConfig,
    rollup: Option<&str>,
    can_sign: bool,
) -> Result<DevelopmentL1, Failure> {
    if networks::find(&chain.chain_id.to_string()).is_ok() {
        return Err(Failure::new(format!(
            "--sequencer.enabled is for development chains, and chain {} is {}: leave it out",
            chain.chain_id, chain.name
        )));
    }
    if !can_sign {
        return Err(Failure::new(
            "--sequencer.enabled needs something to sign with: give --p2p.sequencer.key, \
             --p2p.sequencer.key.path or --signer.endpoint",
        ));
    }
    let Some(rollup) = rollup else {
        return Err(Failure::new(
            "--sequencer.enabled needs --rollup.config, which names the L1 block",
        ));
    };
    DevelopmentL1::from_rollup_json(rollup).map_err(|error| {
        Failure::new(format!("--sequencer.enabled: the chain configuration is refused: {error}"))
    })
}
