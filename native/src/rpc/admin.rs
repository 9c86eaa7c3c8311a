//! The `admin` namespace, as far as it makes sense for a node without derivation and without a
//! conductor, and `opp2p_reload`.
//!
//! `admin_sequencerActive` and `admin_conductorEnabled` change nothing, so every caller may use
//! them; op-conductor calls them first. The other methods need permission to change something. The
//! error texts are op-node's, which op-conductor matches.

use super::context::Rpc;
use super::error::FAILED;
use super::eth::given;
use super::method::{Method, Parameter, Work};
use super::params::{Answer, Arguments, failed, raw};
use crate::sequencer::SequencerHandle;
use futures::FutureExt;
use futures::future::BoxFuture;

/// op-node's error text for a node that builds no blocks.
const NOT_ENABLED: &str = "sequencer is not enabled";

const NOT_SEQUENCING: &[(i32, &str)] = &[(FAILED, "`sequencer is not enabled`")];

/// The methods.
pub(super) const METHODS: [Method; 7] = [
    Method::new(
        "admin_sequencerActive",
        &[],
        "Tells whether this node builds blocks.",
        "a boolean",
        Work::Look(|rpc, _| raw(&rpc.admin.is_sequencing())),
    ),
    Method::new(
        "admin_startSequencer",
        &[Parameter::new("head", "the hash of the head to build on")],
        "Starts block building on the head that the caller names, if that is this node's head. \
         Only on development chains.",
        "`null`",
        Work::Change(start_sequencer),
    )
    .fails(&[(FAILED, "`sequencer is not enabled`, or the head is another block")]),
    Method::new(
        "admin_stopSequencer",
        &[],
        "Stops block building.",
        "the hash of the last block",
        Work::Change(stop_sequencer),
    )
    .fails(NOT_SEQUENCING),
    Method::new(
        "admin_conductorEnabled",
        &[],
        "Tells whether a conductor decides which node builds blocks. None does here.",
        "`false`",
        Work::Look(|_, _| raw(&false)),
    ),
    Method::new(
        "admin_setLogLevel",
        &[Parameter::new("level", "a level, such as `debug`, or levels by module")],
        "Changes the log level while the process runs.",
        "`null`",
        Work::Change(set_log_level),
    )
    .fails(&[(FAILED, "the level is not known, or the process has a log of its own")]),
    Method::new(
        "admin_resetDerivationPipeline",
        &[],
        "Has no effect: there is no pipeline.",
        "`null`",
        Work::Change(reset_derivation_pipeline),
    ),
    Method::new(
        "admin_overrideLeader",
        &[],
        "Has no effect: without a conductor there is no leader to override.",
        "`null`",
        Work::Change(override_leader),
    )
    .fails(NOT_SEQUENCING),
];

/// Builds on the head that the caller names, so that two sequencers that disagree on the head do
/// not both build.
fn start_sequencer(rpc: Rpc, arguments: Arguments) -> BoxFuture<'static, Answer> {
    async move {
        let head = given::hash(&arguments, 0)?;
        let Some(sequencer) = &rpc.admin.sequencer else { return Err(failed(NOT_ENABLED)) };
        sequencer.start(head).await.map_err(failed)?;
        raw(&())
    }
    .boxed()
}

fn stop_sequencer(rpc: Rpc, _: Arguments) -> BoxFuture<'static, Answer> {
    async move {
        let Some(sequencer) = &rpc.admin.sequencer else { return Err(failed(NOT_ENABLED)) };
        raw(&sequencer.stop().await.map_err(failed)?)
    }
    .boxed()
}

fn set_log_level(rpc: Rpc, given: Arguments) -> BoxFuture<'static, Answer> {
    async move {
        let level = given.word(0)?;
        match &rpc.admin.log_level {
            Some(log) => log.set(level).map_err(failed)?,
            None => return Err(failed("this process has a log of its own")),
        }
        tracing::info!(level, "the log level was changed by RPC");
        raw(&())
    }
    .boxed()
}

pub(super) fn reload(rpc: Rpc, _: Arguments) -> BoxFuture<'static, Answer> {
    async move {
        match &rpc.admin.reload {
            Some(reload) => raw(&reload.reload().await.map_err(failed)?),
            None => Err(failed("this process was not started from a configuration")),
        }
    }
    .boxed()
}

/// Succeeds without effect: there is no pipeline to reset.
fn reset_derivation_pipeline(_: Rpc, _: Arguments) -> BoxFuture<'static, Answer> {
    async move {
        tracing::info!("asked to reset the derivation pipeline, which this node does not have");
        raw(&())
    }
    .boxed()
}

/// Succeeds without effect if there is a sequencer: without a conductor there is no leader to
/// override.
fn override_leader(rpc: Rpc, _: Arguments) -> BoxFuture<'static, Answer> {
    async move {
        match rpc.admin.sequencer.as_ref().is_some_and(SequencerHandle::is_enabled) {
            true => raw(&()),
            false => Err(failed(NOT_ENABLED)),
        }
    }
    .boxed()
}
