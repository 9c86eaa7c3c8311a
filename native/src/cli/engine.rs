//! Flags about the execution client: where it is, what it shares with this node, and whether it builds blocks.

use super::{Failure, path};
use crate::engine::{EngineClient, EngineSetup, TIMEOUT};
use crate::http::HttpConfig;
use alloy_rpc_types_engine::JwtSecret;
use opp2p_core::chain::{ChainConfig, networks};
use opp2p_core::engine::{DevelopmentL1, EngineEvent};
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Execution client")]
pub(super) struct EngineArgs {
    /// Engine API of an execution client, over HTTP: it is fed with the chain, and asked for blocks that the store lacks.
    #[arg(long = "l2", env = "OP_NODE_L2_ENGINE_RPC", value_name = "URL", hide_env_values = true)]
    l2: Option<String>,
    /// File with the secret that the execution client shares with this node: 32 bytes in hexadecimal.
    #[arg(
        long = "l2.jwt-secret", env = "OP_NODE_L2_ENGINE_AUTH", value_name = "FILE", value_parser = path()
    )]
    jwt_secret: Option<PathBuf>,
    /// RPC of a node that derives the chain: its safe and finalized blocks are the execution client's.
    #[arg(long = "l2.labels", env = "OPP2P_L2_LABELS", value_name = "URL", hide_env_values = true)]
    labels: Option<String>,
    /// Have the execution client build the blocks of a development chain, and publish them.
    #[arg(
        long = "sequencer.enabled", env = "OP_NODE_SEQUENCER_ENABLED", default_value_t = false,
        default_missing_value = "true", num_args = 0..=1, require_equals = true,
        action = clap::ArgAction::Set, value_name = "BOOL", help_heading = "Sequencer"
    )]
    sequencer: bool,
}

impl EngineArgs {
    /// The engine that is asked for, if it makes sense. `rollup` is the text of the chain configuration, if there is a file
    /// of it.
    pub(super) fn load(
        &self,
        chain: &ChainConfig,
        rollup: Option<&str>,
        can_sign: bool,
    ) -> Result<Option<EngineSetup>, Failure> {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let secret = self.jwt_secret.as_ref().filter(|path| !path.as_os_str().is_empty());
        let Some(url) = given(&self.l2) else {
            let alone = [
                (secret.is_some(), "--l2.jwt-secret"),
                (given(&self.labels).is_some(), "--l2.labels"),
                (self.sequencer, "--sequencer.enabled"),
            ];
            return match alone.iter().find(|(is_given, _)| *is_given) {
                Some((_, flag)) => Err(Failure::new(format!(
                    "{flag} is given without --l2: give the URL of the execution client's Engine API too"
                ))),
                None => Ok(None),
            };
        };
        let Some(file) = secret else {
            return Err(Failure::new(
                "--l2 is given without --l2.jwt-secret: give the file that the execution client was started with",
            ));
        };
        let text = std::fs::read_to_string(file).map_err(|error| {
            Failure::new(format!(
                "--l2.jwt-secret: can't read {}: {error}; give the file that the execution client was started with",
                file.display()
            ))
        })?;
        let jwt = JwtSecret::from_hex(text.trim()).map_err(|_| {
            Failure::new(format!(
                "--l2.jwt-secret: {} does not hold 32 bytes in hexadecimal; openssl rand -hex 32 makes some",
                file.display()
            ))
        })?;
        let setup = EngineSetup {
            http: HttpConfig::new(&url, TIMEOUT),
            jwt,
            labels: given(&self.labels).map(|url| HttpConfig::new(&url, TIMEOUT)),
            sequencer: self.sequencer.then(|| development(chain, rollup, can_sign)).transpose()?,
        };
        EngineClient::new(&setup.http, None)
            .map_err(|error| Failure::new(format!("--l2 can't be used: {error}")))?;
        if let Some(labels) = &setup.labels {
            labels.check().map_err(|error| Failure::new(format!("--l2.labels can't be used: {error}")))?;
        }
        Ok(Some(setup))
    }
}

/// What the development chain knows of L1. A chain that others rely on has its blocks derived from L1, which is not done
/// here.
fn development(chain: &ChainConfig, rollup: Option<&str>, can_sign: bool) -> Result<DevelopmentL1, Failure> {
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
        return Err(Failure::new("--sequencer.enabled needs --rollup.config, which names the L1 block"));
    };
    DevelopmentL1::from_rollup_json(rollup).map_err(|error| {
        Failure::new(format!("--sequencer.enabled: the chain configuration is refused: {error}"))
    })
}

/// Logs what happens to the engine.
pub(super) fn log(event: &EngineEvent) {
    match event {
        EngineEvent::Ready(head) => tracing::info!(head = head.number, "the execution client is ready"),
        EngineEvent::Followed(head) => tracing::debug!(head = head.number, "the execution client follows"),
        EngineEvent::Syncing { at, to } => {
            tracing::info!(at = at.number, to = to.number, "the execution client fetches blocks by itself");
        }
        EngineEvent::Invalid { block, reason } => tracing::error!(
            number = block.number, hash = %block.hash, reason,
            "the execution client calls a signed block invalid; it is not offered again"
        ),
        EngineEvent::Failed(failure) => tracing::error!(%failure, "the execution client fails"),
        EngineEvent::Mismatched(mismatch) => {
            tracing::error!(%mismatch, "the execution client is not the one for this chain, and is not fed");
        }
        EngineEvent::NotTaken => {
            tracing::error!("a block that was built did not become the head of this node's chain");
        }
    }
}
