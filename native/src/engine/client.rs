//! The calls of the Engine API, and of the few methods of `eth` that go with it.

use super::payload::{EnvelopeJson, reassembled, to_alloy};
use super::transport::EngineTransport;
use crate::http::{HttpConfig, HttpError};
use alloy_primitives::{B64, B256, Bytes, U64};
use alloy_provider::network::Ethereum;
use alloy_provider::{Provider, RootProvider};
use alloy_rpc_client::RpcClient;
use alloy_rpc_types_engine::{
    ForkchoiceState, ForkchoiceUpdated, JwtSecret, PayloadAttributes as AlloyAttributes, PayloadId,
    PayloadStatus as AlloyStatus, PayloadStatusEnum,
};
use alloy_rpc_types_eth::Block as RpcBlock;
use alloy_transport::{RpcError, TransportError, TransportErrorKind};
use op_alloy_rpc_types::Transaction;
use op_alloy_rpc_types_engine::OpPayloadAttributes;
use opp2p_core::chain::{BlockId, ChainConfig, Labels};
use opp2p_core::engine::{
    EngineFailure, EngineState, Forkchoice, PayloadAttributes, PayloadStatus, forkchoice_method,
    get_payload_method, new_payload_method,
};
use opp2p_core::payload::{Block, Envelope, PayloadVersion};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// What can't be built on by that name.
const UNKNOWN_PAYLOAD: i64 = -38001;
/// Labels that contradict each other or what the engine has.
const INVALID_FORKCHOICE: i64 = -38002;
/// A payload or attributes of another fork than the engine's at that time.
const UNSUPPORTED_FORK: i64 = -38005;
/// JSON-RPC's code for a method that is not there.
const NO_METHOD: i64 = -32601;
/// Characters of an engine's own words that are repeated.
const MAX_MESSAGE: usize = 300;

/// Of a header, what places it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Place {
    number: U64,
    hash: B256,
    timestamp: U64,
    gas_limit: U64,
}

impl Place {
    fn id(&self) -> BlockId {
        BlockId::new(self.number.to(), self.hash)
    }
}

/// A client of one engine. Clones share its connections.
#[derive(Clone, Debug)]
pub struct EngineClient {
    provider: RootProvider<Ethereum>,
}

impl EngineClient {
    /// Nobody is asked yet.
    ///
    /// # Errors
    /// What is wrong with the endpoint.
    pub fn new(config: &HttpConfig, jwt: Option<JwtSecret>) -> Result<Self, HttpError> {
        let transport = EngineTransport::new(config, jwt)?;
        Ok(Self { provider: RootProvider::new(RpcClient::new(transport, false)) })
    }

    async fn ask<R: DeserializeOwned + std::fmt::Debug + Send + Sync + Unpin + 'static>(
        &self,
        method: &'static str,
        params: Value,
    ) -> Result<R, EngineFailure> {
        self.provider.raw_request(method.into(), params).await.map_err(|error| failure(method, error))
    }

    async fn place(&self, tag: Value) -> Result<Option<Place>, EngineFailure> {
        self.ask("eth_getBlockByNumber", json!([tag, false])).await
    }

    /// Who is safe and finalized; what the other side does not know is `None`.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn labels(&self) -> Result<Labels, EngineFailure> {
        // An engine without one answers with an error or with null.
        let place = async |tag: &str| match self.place(json!(tag)).await {
            Ok(place) => Ok(place.map(|place| place.id())),
            Err(EngineFailure::Other(_)) => Ok(None),
            Err(failure) => Err(failure),
        };
        Ok(Labels { safe: place("safe").await?, finalized: place("finalized").await? })
    }

    /// How the engine stands.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn state(&self, chain: &ChainConfig) -> Result<EngineState, EngineFailure> {
        let chain_id: U64 = self.ask("eth_chainId", json!([])).await?;
        let genesis = self.place(json!(U64::from(chain.genesis.number))).await?;
        let head = self.place(json!("latest")).await?;
        let head = head.ok_or_else(|| EngineFailure::Other("it has no block at all".into()))?;
        let Labels { safe, finalized } = self.labels().await?;
        let ours = [PayloadVersion::V1, PayloadVersion::V3, PayloadVersion::V4];
        let ours: Vec<_> = ours.iter().map(|version| new_payload_method(*version)).collect();
        let methods = match self.ask::<Vec<String>>("engine_exchangeCapabilities", json!([ours])).await {
            Ok(methods) => methods,
            // An old one, which does not tell.
            Err(EngineFailure::Other(_)) => Vec::new(),
            Err(failure) => return Err(failure),
        };
        Ok(EngineState {
            chain_id: chain_id.to(),
            genesis: genesis.map(|genesis| genesis.hash),
            head: head.id(),
            head_timestamp: head.timestamp.to(),
            gas_limit: head.gas_limit.to(),
            safe,
            finalized,
            methods,
        })
    }

    /// Offers a block.
    ///
    /// # Errors
    /// If there is no status.
    pub async fn new_payload(&self, block: &Block) -> Result<PayloadStatus, EngineFailure> {
        let envelope = block.to_envelope();
        let payload = to_alloy(&envelope.payload).map_err(|error| EngineFailure::Other(error.to_string()))?;
        let root = envelope.parent_beacon_block_root.unwrap_or_default();
        let params = match block.version() {
            PayloadVersion::V1 | PayloadVersion::V2 => json!([payload]),
            PayloadVersion::V3 => json!([payload, [], root]),
            PayloadVersion::V4 => json!([payload, [], root, []]),
        };
        let status: AlloyStatus = self.ask(new_payload_method(block.version()), params).await?;
        Ok(status_of(status))
    }

    /// Tells of a head; with attributes, has the next block built. The name of what is built, if anything is.
    ///
    /// # Errors
    /// If there is no status.
    pub async fn forkchoice_updated(
        &self,
        choice: &Forkchoice,
        attributes: Option<&PayloadAttributes>,
    ) -> Result<(PayloadStatus, Option<Bytes>), EngineFailure> {
        let state = ForkchoiceState {
            head_block_hash: choice.head,
            safe_block_hash: choice.safe,
            finalized_block_hash: choice.finalized,
        };
        let attributes = attributes.map(attributes_of);
        let method = forkchoice_method(choice.version);
        let updated: ForkchoiceUpdated = self.ask(method, json!([state, attributes])).await?;
        let id = updated.payload_id.map(|id| Bytes::copy_from_slice(id.0.as_slice()));
        Ok((status_of(updated.payload_status), id))
    }

    /// What was built.
    ///
    /// # Errors
    /// If there is none by that name.
    pub async fn get_payload(&self, id: &Bytes, version: PayloadVersion) -> Result<Envelope, EngineFailure> {
        let name = PayloadId(B64::try_from(id.as_ref()).unwrap_or_default());
        // What else the answer has, such as its worth, is of no use here.
        let built: EnvelopeJson = self.ask(get_payload_method(version), json!([name])).await?;
        let root = built.parent_beacon_block_root.filter(|_| version.has_beacon_root());
        Ok(Envelope { parent_beacon_block_root: root, ..built.into() })
    }

    /// The engine's block of this number, put together again, if it has one whose hash is true.
    ///
    /// # Errors
    /// If it does not answer, or answers with something else.
    pub async fn block(&self, chain: &ChainConfig, number: u64) -> Result<Option<Block>, EngineFailure> {
        let params = json!([U64::from(number), true]);
        let found: Option<RpcBlock<Transaction>> = self.ask("eth_getBlockByNumber", params).await?;
        let Some(found) = found.filter(|found| found.header.number == number) else { return Ok(None) };
        let version = PayloadVersion::at(&chain.forks, found.header.timestamp);
        let put_together = tokio::task::spawn_blocking(move || {
            let mut body = Vec::new();
            reassembled(&found, version).encode(&mut body).map_err(|error| error.to_string())?;
            let block = Block::decode(version, None, body.into()).map_err(|error| error.to_string())?;
            if block.has_true_hash() { Ok(block) } else { Err("its hash is another".to_owned()) }
        });
        let block = put_together.await.unwrap_or_else(|_| Err("putting it together panicked".into()));
        block.map(Some).map_err(|why| EngineFailure::Other(format!("its block {number} is of no use: {why}")))
    }
}

fn attributes_of(attributes: &PayloadAttributes) -> OpPayloadAttributes {
    OpPayloadAttributes {
        payload_attributes: AlloyAttributes {
            timestamp: attributes.timestamp,
            prev_randao: attributes.prev_randao,
            suggested_fee_recipient: attributes.fee_recipient,
            withdrawals: attributes.has_withdrawals.then(Vec::new),
            parent_beacon_block_root: attributes.parent_beacon_block_root,
            ..AlloyAttributes::default()
        },
        transactions: Some(attributes.transactions.clone()),
        no_tx_pool: Some(false),
        gas_limit: Some(attributes.gas_limit),
        eip_1559_params: attributes.eip_1559_params,
        min_base_fee: attributes.min_base_fee,
    }
}

fn status_of(status: AlloyStatus) -> PayloadStatus {
    match status.status {
        PayloadStatusEnum::Valid => PayloadStatus::Valid,
        PayloadStatusEnum::Invalid { validation_error } => {
            PayloadStatus::Invalid(shortened(&validation_error))
        }
        PayloadStatusEnum::Syncing => PayloadStatus::Syncing,
        PayloadStatusEnum::Accepted => PayloadStatus::Accepted,
    }
}

fn shortened(message: &str) -> String {
    message.chars().filter(|c| !c.is_control()).take(MAX_MESSAGE).collect()
}

/// What an error means.
fn failure(method: &str, error: TransportError) -> EngineFailure {
    match error {
        RpcError::ErrorResp(refusal) => {
            let message = shortened(&refusal.message);
            match refusal.code {
                UNKNOWN_PAYLOAD => EngineFailure::UnknownPayload(message),
                INVALID_FORKCHOICE => EngineFailure::Forkchoice(message),
                UNSUPPORTED_FORK => EngineFailure::OtherFork(message),
                NO_METHOD => EngineFailure::Other(format!(
                    "it does not know {method}: give the address of its Engine API (usually port 8551)"
                )),
                code => EngineFailure::Other(format!("{method}: {message} (code {code})")),
            }
        }
        RpcError::Transport(TransportErrorKind::Custom(error)) => match error.downcast_ref::<HttpError>() {
            Some(HttpError::Status { status: 401 | 403, .. }) => EngineFailure::Unauthorized,
            _ => EngineFailure::Unreachable(shortened(&error.to_string())),
        },
        RpcError::Transport(error) => EngineFailure::Unreachable(shortened(&error.to_string())),
        other => EngineFailure::Other(format!("{method}: {}", shortened(&other.to_string()))),
    }
}
