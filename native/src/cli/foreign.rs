//! Flags and variables of op-node and base-consensus without a meaning here.
//!
//! Run scripts of real networks contain many of them. Each is accepted, so that a script starts
//! this node unchanged, and a warning at the start says why it has no effect. The few that would
//! change which blocks the node trusts, or which it may publish, are refused by name: a node that
//! ignored them would not be the one that the operator asked for.
//!
//! `native/OP-NODE.md` lists them; a test compares that page with [`FOREIGN`].

use super::Failure;
use clap::builder::OsStr as ClapText;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};
use std::collections::BTreeMap;

/// Type of a flag's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Takes {
    /// `true` or `false`; nothing means `true`, as for a Go switch.
    Bool,
    /// Any text.
    Text,
}

/// Effect of a flag that is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    /// The flag has no effect, for this reason.
    None(&'static str),
    /// The node does not start, for this reason.
    Refused(&'static str),
}

/// A flag without a meaning here.
#[derive(Clone, Copy, Debug)]
struct Foreign {
    /// Name without dashes.
    flag: &'static str,
    /// Name without `OP_NODE_`; empty if there is no variable.
    variable: &'static str,
    takes: Takes,
    effect: Effect,
}

/// No effect: settings for reading L1 to derive blocks.
const DERIVATION: Effect = Effect::None("opp2p does not derive blocks from L1");
const ENGINE_KIND: Effect =
    Effect::None("opp2p speaks to every kind of execution client in the same way");
const ENGINE_TIMEOUT: Effect =
    Effect::None("opp2p has its own time limits for each Engine API call");
const SYNC_MODE: Effect = Effect::None(
    "opp2p hands each block to the execution client, which fetches what it lacks by itself",
);
const PROTOCOL_VERSIONS: Effect =
    Effect::None("op-node removed the check of protocol versions, and opp2p has none");
const GONE: Effect = Effect::None("op-node removed this long ago");
const PROFILES: Effect = Effect::None("opp2p has no Go profiler");
const DATA: Effect = Effect::None("where batches are stored does not concern gossip");
const SAFE_DB: Effect = Effect::None("opp2p does not derive safe heads, so it records none");
const SEQUENCING: Effect =
    Effect::None("blocks that opp2p builds, on development chains alone, stay with one L1 block");
const INTEROP: Effect = Effect::None("opp2p does not verify messages between chains");
const LOGGING: Effect = Effect::None("log lines of opp2p have no process id");
const ADMIN_STATE: Effect =
    Effect::None("opp2p does not keep the sequencer's state over a restart");
const TUNING: Effect = Effect::None("opp2p has its own limits for dials and discovery");
const CONDUCTOR: Effect = Effect::Refused(
    "opp2p does not ask a conductor before it publishes, and two sequencers could publish at once: \
     leave the conductor's flags out, or run op-node",
);
const FOLLOW: Effect = Effect::Refused(
    "safe heads of another node are taken with --l2.labels URL here: use that flag instead",
);

/// Name of `--conductor.enabled`; its value `false` disables the other conductor flags.
const CONDUCTOR_ENABLED: &str = "conductor.enabled";

const fn text(flag: &'static str, variable: &'static str, effect: Effect) -> Foreign {
    Foreign { flag, variable, takes: Takes::Text, effect }
}

const fn switch(flag: &'static str, variable: &'static str, effect: Effect) -> Foreign {
    Foreign { flag, variable, takes: Takes::Bool, effect }
}

/// All flags of run scripts that have no meaning here.
#[rustfmt::skip]
const FOREIGN: &[Foreign] = &[
    switch("l1.trustrpc", "L1_TRUST_RPC", DERIVATION),
    text("l1.rpckind", "L1_RPC_KIND", DERIVATION),
    text("l1.beacon", "L1_BEACON", DERIVATION),
    text("l1.beacon-header", "L1_BEACON_HEADER", DERIVATION),
    text("l1.beacon-fallbacks", "L1_BEACON_FALLBACKS", DERIVATION),
    text("l1.beacon-archiver", "L1_BEACON_ARCHIVER", DERIVATION),
    switch("l1.beacon.ignore", "L1_BEACON_IGNORE", DERIVATION),
    switch("l1.beacon.fetch-all-sidecars", "L1_BEACON_FETCH_ALL_SIDECARS", DERIVATION),
    text("l1.beacon.slot-duration-override", "L1_BEACON_SLOT_DURATION_OVERRIDE", DERIVATION),
    text("l1.max-concurrency", "L1_MAX_CONCURRENCY", DERIVATION),
    text("l1.rpc-max-batch-size", "L1_RPC_MAX_BATCH_SIZE", DERIVATION),
    text("l1.rpc-rate-limit", "L1_RPC_RATE_LIMIT", DERIVATION),
    text("l1.http-poll-interval", "L1_HTTP_POLL_INTERVAL", DERIVATION),
    text("l1.epoch-poll-interval", "L1_EPOCH_POLL_INTERVAL", DERIVATION),
    text("l1.cache-size", "L1_CACHE_SIZE", DERIVATION),
    text("rollup.l1-chain-config", "ROLLUP_L1_CHAIN_CONFIG", DERIVATION),
    switch("fetch-withdrawal-root-from-state", "FETCH_WITHDRAWAL_ROOT_FROM_STATE", DERIVATION),
    text("override.pectrablobschedule", "OVERRIDE_PECTRABLOBSCHEDULE", DERIVATION),
    switch("override.keep-karst-upgrade-gas", "OVERRIDE_KEEP_KARST_UPGRADE_GAS", DERIVATION),
    switch(
        "ignore-missing-pectra-blob-schedule",
        "IGNORE_MISSING_PECTRA_BLOB_SCHEDULE",
        DERIVATION,
    ),
    text("l2.enginekind", "L2_ENGINE_KIND", ENGINE_KIND),
    text("l2.engine-rpc-timeout", "L2_ENGINE_RPC_TIMEOUT", ENGINE_TIMEOUT),
    switch("l2.engine-sync", "L2_ENGINE_SYNC_ENABLED", SYNC_MODE),
    switch("l2.skip-sync-start-check", "L2_SKIP_SYNC_START_CHECK", SYNC_MODE),
    text("syncmode", "SYNCMODE", SYNC_MODE),
    text("syncmode.offset-el-safe", "SYNCMODE_OFFSET_EL_SAFE", SYNC_MODE),
    text("l2.backup-unsafe-sync-rpc", "L2_BACKUP_UNSAFE_SYNC_RPC", GONE),
    switch("l2.backup-unsafe-sync-rpc.trustrpc", "L2_BACKUP_UNSAFE_SYNC_RPC_TRUST_RPC", GONE),
    text("l2.follow.source", "L2_FOLLOW_SOURCE", FOLLOW),
    switch("l2.follow.source.skip-l1-check", "L2_FOLLOW_SOURCE_SKIP_L1_CHECK", DERIVATION),
    text("rollup.halt", "ROLLUP_HALT", PROTOCOL_VERSIONS),
    switch("rollup.load-protocol-versions", "ROLLUP_LOAD_PROTOCOL_VERSIONS", PROTOCOL_VERSIONS),
    text("snapshotlog.file", "SNAPSHOT_LOG", GONE),
    switch("heartbeat.enabled", "HEARTBEAT_ENABLED", GONE),
    text("heartbeat.moniker", "HEARTBEAT_MONIKER", GONE),
    text("heartbeat.url", "HEARTBEAT_URL", GONE),
    switch("beta.extra-networks", "BETA_EXTRA_NETWORKS", GONE),
    switch("plasma.enabled", "PLASMA_ENABLED", DATA),
    text("plasma.da-server", "PLASMA_DA_SERVER", DATA),
    switch("plasma.da-service", "PLASMA_DA_SERVICE", DATA),
    switch("plasma.verify-on-read", "PLASMA_VERIFY_ON_READ", DATA),
    switch("altda.enabled", "ALTDA_ENABLED", DATA),
    text("altda.da-server", "ALTDA_DA_SERVER", DATA),
    switch("altda.da-service", "ALTDA_DA_SERVICE", DATA),
    switch("altda.verify-on-read", "ALTDA_VERIFY_ON_READ", DATA),
    text("altda.put-timeout", "ALTDA_PUT_TIMEOUT", DATA),
    text("altda.get-timeout", "ALTDA_GET_TIMEOUT", DATA),
    text("altda.max-concurrent-da-requests", "ALTDA_MAX_CONCURRENT_DA_REQUESTS", DATA),
    text("safedb.path", "SAFEDB_PATH", SAFE_DB),
    switch("pprof.enabled", "PPROF_ENABLED", PROFILES),
    text("pprof.addr", "PPROF_ADDR", PROFILES),
    text("pprof.port", "PPROF_PORT", PROFILES),
    text("pprof.type", "PPROF_TYPE", PROFILES),
    text("pprof.path", "PPROF_PATH", PROFILES),
    switch("log.pid", "LOG_PID", LOGGING),
    text("rpc.admin-state", "RPC_ADMIN_STATE", ADMIN_STATE),
    text("sequencer.l1-confs", "SEQUENCER_L1_CONFS", SEQUENCING),
    text("sequencer.max-safe-lag", "SEQUENCER_MAX_SAFE_LAG", SEQUENCING),
    switch("sequencer.recover", "SEQUENCER_RECOVER", SEQUENCING),
    switch("experimental.sequencer-api", "EXPERIMENTAL_SEQUENCER_API", SEQUENCING),
    text("override.interop", "OVERRIDE_INTEROP", INTEROP),
    text("interop.supervisor", "INTEROP_SUPERVISOR", INTEROP),
    text("interop.rpc.addr", "INTEROP_RPC_ADDR", INTEROP),
    text("interop.rpc.port", "INTEROP_RPC_PORT", INTEROP),
    text("interop.jwt-secret", "INTEROP_JWT_SECRET", INTEROP),
    text("interop.dependency-set", "INTEROP_DEPENDENCY_SET", INTEROP),
    switch(CONDUCTOR_ENABLED, "CONDUCTOR_ENABLED", CONDUCTOR),
    text("conductor.rpc", "CONDUCTOR_RPC", CONDUCTOR),
    text("conductor.rpc-timeout", "CONDUCTOR_RPC_TIMEOUT", CONDUCTOR),
    // Those of base-consensus.
    text("l1.slot-duration-override", "L1_SLOT_DURATION_OVERRIDE", DERIVATION),
    text("p2p.bootstore", "P2P_BOOTSTORE", TUNING),
    switch("p2p.no-bootstore", "P2P_NO_BOOTSTORE", TUNING),
    text("p2p.redial", "P2P_REDIAL", TUNING),
    text("p2p.redial.period", "P2P_REDIAL_PERIOD", TUNING),
    text("p2p.pending-dial.timeout", "P2P_PENDING_DIAL_TIMEOUT", TUNING),
    text("p2p.max-pending-outgoing", "P2P_MAX_PENDING_OUTGOING", TUNING),
    text("p2p.discovery.interval", "P2P_DISCOVERY_INTERVAL", TUNING),
    text("p2p.discovery.randomize", "P2P_DISCOVERY_RANDOMIZE", TUNING),
    text("p2p.discovery.ip-votes", "P2P_DISCOVERY_IP_VOTES", TUNING),
    text("p2p.identify.peerstore.size", "P2P_IDENTIFY_PEERSTORE_SIZE", TUNING),
    switch("p2p.topic-scoring", "P2P_TOPIC_SCORING", TUNING),
];

/// Returns the reason why the flag has no effect here, or is refused; `None` for a flag that has a
/// meaning.
pub(super) fn why(flag: &str) -> Option<&'static str> {
    let foreign = FOREIGN.iter().find(|foreign| foreign.flag == flag)?;
    match foreign.effect {
        Effect::None(why) | Effect::Refused(why) => Some(why),
    }
}

/// The flags of [`FOREIGN`] as one group of arguments.
#[derive(Clone, Debug, Default)]
pub(super) struct ForeignArgs {
    /// The given flags with their values, in the order of [`FOREIGN`].
    given: Vec<(&'static Foreign, String)>,
}

impl Args for ForeignArgs {
    fn augment_args(command: Command) -> Command {
        FOREIGN.iter().fold(command, |command, foreign| command.arg(foreign.arg()))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for ForeignArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let value = |foreign: &Foreign| {
            let last = matches.get_raw(foreign.flag)?.next_back()?;
            Some(last.to_string_lossy().into_owned()).filter(|value| !value.is_empty())
        };
        let given = FOREIGN.iter().filter_map(|foreign| Some((foreign, value(foreign)?)));
        Ok(Self { given: given.collect() })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Foreign {
    fn arg(&self) -> Arg {
        let arg = Arg::new(self.flag).long(self.flag).action(ArgAction::Set).hide(true);
        let arg = match self.takes {
            Takes::Bool => arg
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("true")
                .value_name("BOOL"),
            Takes::Text => arg.allow_hyphen_values(true).value_name("VALUE"),
        };
        let arg = arg.value_parser(clap::value_parser!(std::ffi::OsString));
        // base-consensus' own name for the flag.
        let arg = if self.flag == "l1.beacon" { arg.alias("l1-beacon") } else { arg };
        match self.variable {
            "" => arg,
            // The URL of an endpoint may contain a password.
            variable => arg
                .env(ClapText::from(format!("OP_NODE_{variable}")))
                .hide_env_values(self.takes == Takes::Text),
        }
    }

    /// Returns `true` if the value switches the flag off.
    fn is_off(&self, value: &str) -> bool {
        self.takes == Takes::Bool && super::values::boolean(value) == Ok(false)
    }
}

impl ForeignArgs {
    /// Refuses flags that would change which blocks this node trusts or publishes, and warns about
    /// the others, one line per reason.
    pub(super) fn check(&self) -> Result<(), Failure> {
        let without_conductor = self
            .given
            .iter()
            .any(|(foreign, value)| foreign.flag == CONDUCTOR_ENABLED && foreign.is_off(value));
        let mut idle: BTreeMap<&'static str, Vec<String>> = BTreeMap::new();
        for (foreign, value) in &self.given {
            if foreign.is_off(value) {
                continue;
            }
            match foreign.effect {
                Effect::Refused(_) if without_conductor && foreign.effect == CONDUCTOR => {}
                Effect::Refused(why) => {
                    return Err(Failure::new(format!("--{} is refused: {why}", foreign.flag)));
                }
                Effect::None(why) => {
                    idle.entry(why).or_default().push(format!("--{}", foreign.flag));
                }
            }
        }
        for (why, flags) in idle {
            tracing::warn!(flags = flags.join(" "), "these flags have no effect: {why}");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn parsed(arguments: &[&str]) -> ForeignArgs {
        let command = ForeignArgs::augment_args(Command::new("x"));
        let matches =
            command.try_get_matches_from([&["x"], arguments].concat()).expect("it parses");
        ForeignArgs::from_arg_matches(&matches).expect("it reads")
    }

    #[test]
    fn each_foreign_flag_is_listed_once() {
        let flags: BTreeSet<_> = FOREIGN.iter().map(|foreign| foreign.flag).collect();
        let variables: BTreeSet<_> = FOREIGN.iter().map(|foreign| foreign.variable).collect();
        assert_eq!((flags.len(), variables.len()), (FOREIGN.len(), FOREIGN.len()));
    }

    #[test]
    fn a_switch_takes_no_value_and_a_text_takes_any() {
        let given = parsed(&["--l1.trustrpc", "--safedb.path", "-x", "--altda.enabled=true"]).given;
        let given: Vec<_> = given.iter().map(|(foreign, value)| (foreign.flag, &**value)).collect();
        let expected = [("l1.trustrpc", "true"), ("altda.enabled", "true"), ("safedb.path", "-x")];
        assert_eq!(given, expected);
    }

    #[test]
    fn settings_that_change_trust_are_refused_unless_switched_off() {
        for (arguments, flag) in [
            (&["--conductor.enabled"][..], "--conductor.enabled"),
            (&["--conductor.rpc=http://c"], "--conductor.rpc"),
            (&["--conductor.enabled=true", "--conductor.rpc=http://c"], "--conductor.enabled"),
            (&["--l2.follow.source", "http://n"], "--l2.follow.source"),
        ] {
            let Err(Failure(why)) = parsed(arguments).check() else {
                panic!("{arguments:?} passes")
            };
            assert!(why.starts_with(&format!("{flag} is refused: ")), "{why}");
        }
        for arguments in [
            &["--conductor.enabled=false"][..],
            &["--conductor.enabled=0", "--conductor.rpc=http://c"],
            &["--l2.follow.source="],
            &["--sequencer.recover=false", "--l1.rpckind", "basic"],
        ] {
            assert!(parsed(arguments).check().is_ok(), "{arguments:?}");
        }
    }
}
