//! Flags for block signing: the signer to accept, and the key that this node signs with if it is
//! the sequencer.

use super::values::{boolean, duration};
use super::{Failure, address, key, path};
use alloy_primitives::Address;
use opp2p_core::chain::ChainConfig;
use opp2p_core::l1::{L1Config, TIMEOUT};
use opp2p_core::sequencer::LocalSigner;
use opp2p_node::host::{BlockSigner, L1Reader};
use opp2p_node::http::{HttpConfig, TlsFiles};
use opp2p_node::key::SecretKey;
use opp2p_node::remote_signer::{RemoteSigner, RemoteSignerConfig};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The reference's default paths of a remote signer's certificates.
const TLS_DEFAULTS: [&str; 3] = ["tls/ca.crt", "tls/tls.crt", "tls/tls.key"];

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Unsafe-block signer")]
pub(super) struct SignerArgs {
    /// Address of the unsafe-block signer; overrides the chain configuration and L1.
    #[arg(
        long, alias = "p2p.unsafe.block.signer", env = "OPP2P_SIGNER", value_name = "ADDR",
        value_parser = address
    )]
    signer: Option<Address>,
    /// JSON-RPC endpoint of an L1 node, over HTTP or WebSocket: the signer is read from the chain's
    /// SystemConfig contract.
    #[arg(
        long = "l1",
        alias = "l1-eth-rpc",
        env = "OP_NODE_L1_ETH_RPC",
        value_name = "URL",
        hide_env_values = true
    )]
    l1: Option<String>,
    /// Confirmations required of the L1 block at which the contract is read.
    #[arg(
        long = "verifier.l1-confs",
        env = "OP_NODE_VERIFIER_L1_CONFS",
        default_value_t = 0,
        value_name = "N"
    )]
    l1_confs: u64,
    /// Interval of reading the contract; 0 for once, at the start.
    #[arg(
        long = "l1.runtime-config-reload-interval",
        env = "OP_NODE_L1_RUNTIME_CONFIG_RELOAD_INTERVAL",
        default_value = "10m", value_name = "TIME", value_parser = interval
    )]
    reload: Duration,
    /// Private key to sign blocks with, in hexadecimal: this node is the sequencer.
    #[arg(
        long = "p2p.sequencer.key",
        env = "OP_NODE_P2P_SEQUENCER_KEY",
        value_name = "HEX",
        hide_env_values = true,
        help_heading = "Sequencer"
    )]
    sequencer_key: Option<String>,
    /// File with the private key to sign blocks with, in place of the key itself.
    #[arg(
        long = "p2p.sequencer.key.path",
        env = "OPP2P_P2P_SEQUENCER_KEY_PATH",
        value_name = "FILE",
        value_parser = path(),
        help_heading = "Sequencer"
    )]
    sequencer_key_path: Option<PathBuf>,
    /// JSON-RPC endpoint of a remote signer that signs blocks in place of a key here.
    #[arg(
        long = "signer.endpoint",
        env = "OP_NODE_SIGNER_ENDPOINT",
        value_name = "URL",
        hide_env_values = true,
        help_heading = "Sequencer"
    )]
    remote_endpoint: Option<String>,
    /// Address that the remote signer signs as.
    #[arg(
        long = "signer.address", env = "OP_NODE_SIGNER_ADDRESS", value_name = "ADDR",
        value_parser = address,
        help_heading = "Sequencer"
    )]
    remote_address: Option<Address>,
    /// HTTP headers for the remote signer: NAME=VALUE, separated by commas.
    #[arg(
        long = "signer.header",
        env = "OP_NODE_SIGNER_HEADER",
        value_name = "HEADERS",
        value_delimiter = ',',
        hide_env_values = true,
        help_heading = "Sequencer"
    )]
    remote_header: Vec<String>,
    /// Present a certificate to a remote signer, and check its own, according to the next three
    /// flags.
    #[arg(
        long = "signer.tls.enabled", env = "OP_NODE_SIGNER_TLS_ENABLED", default_value_t = true,
        default_missing_value = "true", num_args = 0..=1, require_equals = true,
        action = clap::ArgAction::Set, value_name = "BOOL", value_parser = boolean,
        help_heading = "Sequencer"
    )]
    remote_tls: bool,
    /// Certificate authority of a remote signer on https, in PEM. The default is used if
    /// that file exists.
    #[arg(
        long = "signer.tls.ca", env = "OP_NODE_SIGNER_TLS_CA", default_value = TLS_DEFAULTS[0],
        value_name = "FILE", value_parser = path(), help_heading = "Sequencer"
    )]
    remote_ca: PathBuf,
    /// Certificate of this node for a remote signer on https, in PEM. The default is used if that
    /// file exists.
    #[arg(
        long = "signer.tls.cert", env = "OP_NODE_SIGNER_TLS_CERT", default_value = TLS_DEFAULTS[1],
        value_name = "FILE", value_parser = path(), help_heading = "Sequencer"
    )]
    remote_cert: PathBuf,
    /// Private key of that certificate, in PEM. The default is used if that file exists.
    #[arg(
        long = "signer.tls.key", env = "OP_NODE_SIGNER_TLS_KEY", default_value = TLS_DEFAULTS[2],
        value_name = "FILE", value_parser = path(), help_heading = "Sequencer"
    )]
    remote_key: PathBuf,
}

/// Parses an interval; zero or a negative value means never.
fn interval(text: &str) -> Result<Duration, String> {
    match text.strip_prefix('-') {
        Some(rest) => duration(rest).map(|_| Duration::ZERO),
        None => duration(text),
    }
}

/// Signing key of a sequencer.
#[derive(Debug)]
enum SigningKeySource {
    Key(SecretKey),
    Remote(RemoteSignerConfig),
}

/// The signer to accept, and this node's signing key, both read and checked.
#[derive(Debug)]
pub(super) struct Signing {
    /// The signer that the operator names.
    pub(super) signer: Option<Address>,
    /// Source of the signer otherwise.
    pub(super) l1: Option<L1Reader>,
    means: Option<SigningKeySource>,
}

impl Signing {
    /// Returns `true` if this node can sign blocks.
    pub(super) const fn is_sequencer(&self) -> bool {
        self.means.is_some()
    }

    /// Returns the block signer. Checks that a remote signer answers.
    pub(super) async fn block_signer(self) -> Result<Option<BlockSigner>, Failure> {
        Ok(match self.means {
            None => None,
            Some(SigningKeySource::Key(key)) => {
                Some(LocalSigner::from_bytes(key.secret_bytes())?.into())
            }
            Some(SigningKeySource::Remote(config)) => {
                let signer = RemoteSigner::connect(config).await.map_err(|error| {
                    Failure::new(format!(
                        "the remote signer of --signer.endpoint can't be used: {error}"
                    ))
                })?;
                Some(signer.into())
            }
        })
    }
}

impl SignerArgs {
    /// Returns the requested settings on this chain after checking them.
    pub(super) fn load(&self, chain: &ChainConfig) -> Result<Signing, Failure> {
        let means = self.means()?;
        let l1 = self.l1(chain)?;
        let signer = self.signer.or(chain.unsafe_block_signer).filter(|signer| !signer.is_zero());
        let own = means.as_ref().map(|means| match means {
            SigningKeySource::Key(key) => ("the sequencer key", key.address()),
            SigningKeySource::Remote(config) => ("the remote signer", config.address),
        });
        match (own, signer) {
            // The signer from L1 is not known yet.
            _ if l1.is_some() => {}
            (None, None) => {
                tracing::warn!(
                    "no unsafe-block signer is known, so every block is ignored: give --l1 URL or \
                     --signer ADDR"
                );
            }
            (Some((what, own)), None) => {
                return Err(Failure::new(format!(
                    "no unsafe-block signer is known, so {what} can publish nothing: \
                     give --signer {own}, which is its address, if it is this chain's"
                )));
            }
            (Some((what, own)), Some(signer)) if own != signer => {
                return Err(Failure::new(format!(
                    "{what} signs as {own}, but the chain's unsafe-block signer is {signer}: \
                     give the right one, or --signer"
                )));
            }
            (_, Some(_)) => {}
        }
        Ok(Signing { signer: self.signer, l1, means })
    }

    /// Returns the L1 node, if one is given.
    pub(super) fn l1_node(&self) -> Option<HttpConfig> {
        let url = self.l1.as_deref().filter(|url| !url.is_empty())?;
        Some(HttpConfig::new(url, TIMEOUT))
    }

    /// Returns the reader of L1, unless the operator names the signer.
    fn l1(&self, chain: &ChainConfig) -> Result<Option<L1Reader>, Failure> {
        let Some(http) = self.l1_node() else { return Ok(None) };
        http.check().map_err(|error| Failure::new(format!("--l1 can't be used: {error}")))?;
        if self.signer.is_some() {
            tracing::info!("--signer is given, so the unsafe-block signer is not read from L1");
            return Ok(None);
        }
        let Some(contract) = chain.system_config else {
            return Err(Failure::new(
                "--l1 is given, but the chain configuration names no SystemConfig contract to \
                 read: add l1_system_config_address to it, or give --signer ADDR",
            ));
        };
        let reload = (!self.reload.is_zero()).then_some(self.reload);
        let config = L1Config {
            chain_id: chain.l1_chain_id,
            contract,
            confirmations: self.l1_confs,
            reload,
        };
        Ok(Some(L1Reader { http, config }))
    }

    fn means(&self) -> Result<Option<SigningKeySource>, Failure> {
        let endpoint = self.remote_endpoint.as_deref().filter(|url| !url.is_empty());
        match (self.sequencer_key()?, endpoint) {
            (Some(_), Some(_)) => Err(Failure::new(
                "a sequencer key and --signer.endpoint are both given: leave out one",
            )),
            (key, None) if self.remote_address.is_none() => Ok(key.map(SigningKeySource::Key)),
            (_, None) => Err(Failure::new(
                "--signer.address is given without --signer.endpoint: give both or none",
            )),
            (None, Some(url)) => self.remote(url).map(SigningKeySource::Remote).map(Some),
        }
    }

    fn remote(&self, url: &str) -> Result<RemoteSignerConfig, Failure> {
        let Some(address) = self.remote_address else {
            return Err(Failure::new(
                "--signer.endpoint is given without --signer.address: give both or none",
            ));
        };
        let mut http = HttpConfig::new(url, opp2p_node::remote_signer::TIMEOUT);
        for header in self.remote_header.iter().filter(|header| !header.trim().is_empty()) {
            let Some((name, value)) = header.split_once('=') else {
                return Err(Failure::new(
                    "--signer.header holds an item without =: write NAME=VALUE",
                ));
            };
            http.headers.push((name.trim().to_owned(), value.to_owned()));
        }
        http.tls = self.tls()?;
        http.tls13_only = true;
        http.check()
            .map_err(|error| Failure::new(format!("--signer.endpoint can't be used: {error}")))?;
        Ok(RemoteSignerConfig { http, address })
    }

    /// Returns the files that exist or were given explicitly.
    fn tls(&self) -> Result<Option<TlsFiles>, Failure> {
        if !self.remote_tls {
            return Ok(None);
        }
        let given = |path: &Path, default: &str| {
            let is_meant = path != Path::new(default) || path.exists();
            (is_meant && !path.as_os_str().is_empty()).then(|| path.to_owned())
        };
        let [ca, cert, key] = [&self.remote_ca, &self.remote_cert, &self.remote_key];
        let files = TlsFiles {
            ca: given(ca, TLS_DEFAULTS[0]),
            cert: given(cert, TLS_DEFAULTS[1]),
            key: given(key, TLS_DEFAULTS[2]),
        };
        match (&files.cert, &files.key) {
            (Some(_), None) => Err(Failure::new(
                "--signer.tls.cert is given without --signer.tls.key: give both or none",
            )),
            (None, Some(_)) => Err(Failure::new(
                "--signer.tls.key is given without --signer.tls.cert: give both or none",
            )),
            _ if files == TlsFiles::default() => Ok(None),
            _ => Ok(Some(files)),
        }
    }

    fn sequencer_key(&self) -> Result<Option<SecretKey>, Failure> {
        // An empty setting counts as unset.
        let text = self.sequencer_key.as_deref().filter(|text| !text.is_empty());
        let path = self.sequencer_key_path.as_deref().filter(|path| !path.as_os_str().is_empty());
        match (text, path) {
            (Some(_), Some(_)) => Err(Failure::new(
                "--p2p.sequencer.key and --p2p.sequencer.key.path are both given: leave out one",
            )),
            (Some(text), None) => {
                let key = text.parse().map_err(|error| {
                    Failure::new(format!(
                        "--p2p.sequencer.key is not a key: {error}; opp2p key generate makes one"
                    ))
                });
                key.map(Some)
            }
            (None, Some(path)) => key::load(path).map(Some),
            (None, None) => Ok(None),
        }
    }
}
