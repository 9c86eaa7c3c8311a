//! Calls of the Engine API, and of the few `eth` methods used with it.

use super::transport::EngineTransport;
use crate::json::EnvelopeJson;
use alloy_json_rpc::RpcSend;
use alloy_primitives::{B64, B256, Bytes, U64};
use alloy_provider::network::Ethereum;
use alloy_provider::{Provider, RootProvider};
use alloy_rpc_client::RpcClient;
use alloy_rpc_types_engine::{
    ForkchoiceState, ForkchoiceUpdated, JwtSecret, PayloadAttributes as AlloyAttributes, PayloadId,
    PayloadStatus as AlloyStatus, PayloadStatusEnum,
};
use alloy_transport::{RpcError, TransportError, TransportErrorKind};
use op_alloy_rpc_types_engine::{OpExecutionPayload, OpPayloadAttributes};
use opp2p_core::chain::{BlockId, ChainConfig, Labels};
use opp2p_core::engine::methods::{NewPayloadParam, new_payload_params};
use opp2p_core::engine::{
    ALL_METHODS, EngineFailure, EngineState, Forkchoice, LabelsFailure, PayloadAttributes,
    PayloadStatus, is_missing_block,
};
use opp2p_core::payload::{Block, Envelope, PayloadVersion};
use opp2p_node::http::{HttpConfig, HttpError};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};

/// Maximum length of an engine's message in our errors, in characters.
const MAX_MESSAGE: usize = 300;

/// The fields of a header that locate a block.
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
    /// Creates a client without connecting.
    ///
    /// # Errors
    /// If the endpoint is invalid.
    pub fn new(config: &HttpConfig, jwt: Option<JwtSecret>) -> Result<Self, HttpError> {
        let transport = EngineTransport::new(config, jwt)?;
        Ok(Self { provider: RootProvider::new(RpcClient::new(transport, false)) })
    }

    async fn ask<R: DeserializeOwned + std::fmt::Debug + Send + Sync + Unpin + 'static>(
        &self,
        method: &'static str,
        params: impl RpcSend + 'static,
    ) -> Result<R, EngineFailure> {
        self.provider
            .raw_request(method.into(), params)
            .await
            .map_err(|error| failure(method, error))
    }

    async fn place(&self, tag: Value) -> Result<Option<Place>, EngineFailure> {
        self.ask("eth_getBlockByNumber", json!([tag, false])).await
    }

    /// Returns the safe and the finalized block; `None` for a label that the server does not know.
    ///
    /// # Errors
    /// If the server does not answer, or returns an error of another kind.
    pub async fn labels(&self) -> Result<Labels, EngineFailure> {
        Ok(Labels { safe: self.label("safe").await?, finalized: self.label("finalized").await? })
    }

    /// Returns the block with this label; `None` if no block has it yet.
    async fn label(&self, tag: &str) -> Result<Option<BlockId>, EngineFailure> {
        const METHOD: &str = "eth_getBlockByNumber";
        let asked = self.provider.raw_request(METHOD.into(), json!([tag, false])).await;
        match asked {
            Ok(place) => Ok(Option::<Place>::map(place, |place| place.id())),
            Err(RpcError::ErrorResp(refusal))
                if is_missing_block(refusal.code, &refusal.message) =>
            {
                Ok(None)
            }
            Err(error) => Err(failure(METHOD, error)),
        }
    }

    /// Returns the labels of a node other than the engine.
    ///
    /// # Errors
    /// If it does not report them, or follows another chain.
    pub async fn foreign_labels(&self, chain_id: u64) -> Result<Labels, LabelsFailure> {
        let found: U64 = self.ask("eth_chainId", json!([])).await?;
        let found = found.to();
        if found != chain_id {
            return Err(LabelsFailure::OtherChain { expected: chain_id, found });
        }
        Ok(self.labels().await?)
    }

    /// Returns the engine's own block with this label.
    async fn own_label(&self, tag: &str) -> Result<Option<BlockId>, EngineFailure> {
        match self.label(tag).await {
            Err(failure) if failure.is_missing_label() => Ok(None),
            label => label,
        }
    }

    /// Reads the state of the engine. `at` is the number of our head, if we have one.
    ///
    /// # Errors
    /// If the engine does not answer, or has no block.
    pub async fn state(
        &self,
        chain: &ChainConfig,
        at: Option<u64>,
    ) -> Result<EngineState, EngineFailure> {
        let chain_id: U64 = self.ask("eth_chainId", json!([])).await?;
        let genesis = self.kept(chain.genesis.number).await?;
        let head = self.place(json!("latest")).await?;
        let head = head.ok_or_else(|| EngineFailure::Other("it has no block at all".into()))?;
        let id = head.id();
        let ours = match at {
            Some(at) if at == id.number => Some(id.hash),
            Some(at) if at < id.number => self.kept(at).await?.map(|place| place.hash),
            _ => None,
        };
        let safe = self.own_label("safe").await?;
        let finalized = self.own_label("finalized").await?;
        let asked = self.ask("engine_exchangeCapabilities", json!([ALL_METHODS])).await;
        let methods: Vec<String> = match asked {
            Ok(methods) => methods,
            Err(failure) if failure.is_missing_list() => Vec::new(),
            Err(failure) => return Err(failure),
        };
        Ok(EngineState {
            chain_id: chain_id.to(),
            genesis: genesis.map(|genesis| genesis.hash),
            head: id,
            ours,
            head_timestamp: head.timestamp.to(),
            gas_limit: head.gas_limit.to(),
            safe,
            finalized,
            methods,
        })
    }

    /// Reads an old block; `None` if the engine does not keep it.
    async fn kept(&self, number: u64) -> Result<Option<Place>, EngineFailure> {
        match self.place(json!(U64::from(number))).await {
            Err(failure) if failure.is_missing_history() => Ok(None),
            place => place,
        }
    }

    /// Sends a block to the engine with `method`.
    ///
    /// # Errors
    /// If the call returns no status.
    pub async fn new_payload(
        &self,
        block: &Block,
        method: &'static str,
    ) -> Result<PayloadStatus, EngineFailure> {
        // A large block takes long enough to keep it off the async threads.
        let block = block.clone();
        let params = tokio::task::spawn_blocking(move || offer(&block)).await;
        let params =
            params.map_err(|_| EngineFailure::Other("writing the block panicked".into()))??;
        let status: AlloyStatus = self.ask(method, params).await?;
        Ok(status_of(status))
    }

    /// Sets the head; with attributes, also starts to build the next block. Returns the payload id
    /// if a build has started.
    ///
    /// # Errors
    /// If the call returns no status.
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
        let updated: ForkchoiceUpdated =
            self.ask(choice.method, json!([state, attributes])).await?;
        let id = updated.payload_id.map(|id| Bytes::copy_from_slice(id.0.as_slice()));
        Ok((status_of(updated.payload_status), id))
    }

    /// Fetches a built block of this version with `method`.
    ///
    /// # Errors
    /// If the engine has no payload with that id.
    pub async fn get_payload(
        &self,
        id: &Bytes,
        method: &'static str,
        version: PayloadVersion,
    ) -> Result<Envelope, EngineFailure> {
        let name = PayloadId(B64::try_from(id.as_ref()).unwrap_or_default());
        // The answer's other fields, such as the block's value or blobs, are not needed.
        let built: Box<RawValue> = self.ask(method, json!([name])).await?;
        let read = tokio::task::spawn_blocking(move || {
            serde_json::from_str::<EnvelopeJson>(built.get()).map_err(|why| why.to_string())
        });
        let built = read.await.unwrap_or_else(|_| Err("reading it panicked".into()));
        let built = built.map_err(|why| EngineFailure::Other(format!("{method}: {why}")))?;
        let root = built.parent_beacon_block_root.filter(|_| version.has_beacon_root());
        Ok(Envelope { parent_beacon_block_root: root, ..built.into() })
    }

    /// Returns the engine's block `number`, rebuilt from its parts, or `None` if the engine lacks
    /// it.
    ///
    /// # Errors
    /// If the engine does not answer, or the block does not match its hash.
    pub async fn block(&self, number: u64) -> Result<Option<Block>, EngineFailure> {
        let params = json!([U64::from(number), true]);
        let found: Option<Box<RawValue>> = match self.ask("eth_getBlockByNumber", params).await {
            Err(EngineFailure::Pruned(_)) => None,
            found => found?,
        };
        let Some(found) = found else { return Ok(None) };
        // The header determines the version, whatever the fork schedule says.
        let rebuilt = tokio::task::spawn_blocking(move || {
            let found: Value = serde_json::from_str(found.get()).map_err(|why| why.to_string())?;
            Block::from_json(&found).map_err(|why| why.to_string())
        });
        match rebuilt.await {
            Ok(Ok(block)) => Ok(Some(block).filter(|block| block.number() == number)),
            Ok(Err(why)) => Err(unusable(number, &why)),
            Err(_) => Err(unusable(number, "rebuilding it panicked")),
        }
    }
}

/// Returns the parameters of `newPayload` for a block, as text: a tree of values would be
/// serialised again on the task that sends it.
fn offer(block: &Block) -> Result<Box<RawValue>, EngineFailure> {
    let envelope = block.to_envelope();
    let root = envelope.parent_beacon_block_root.unwrap_or_default();
    let payload = OpExecutionPayload::try_from(envelope.payload)
        .map_err(|error| EngineFailure::Other(error.to_string()))?;
    let params = new_payload_params(block.version()).iter().map(|param| match param {
        NewPayloadParam::Payload => to_raw_value(&payload),
        NewPayloadParam::BeaconRoot => to_raw_value(&root),
        NewPayloadParam::BlobHashes | NewPayloadParam::Requests => to_raw_value(&[(); 0]),
    });
    let params = params.collect::<Result<Vec<_>, _>>().and_then(|params| to_raw_value(&params));
    params.map_err(|error| EngineFailure::Other(error.to_string()))
}

fn unusable(number: u64, why: &str) -> EngineFailure {
    EngineFailure::Other(format!("its block {number} is unusable: {why}"))
}

fn attributes_of(attributes: &PayloadAttributes) -> Value {
    let of_alloy = OpPayloadAttributes {
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
    };
    let mut json = json!(of_alloy);
    // A field of Base's attributes that alloy's type lacks.
    if let Some(millis) = attributes.timestamp_millis_part {
        json["timestampMillisPart"] = json!(U64::from(millis));
    }
    json
}

fn status_of(status: AlloyStatus) -> PayloadStatus {
    let latest_valid = status.latest_valid_hash;
    match status.status {
        PayloadStatusEnum::Valid => PayloadStatus::Valid,
        PayloadStatusEnum::Invalid { validation_error } => {
            PayloadStatus::Invalid { reason: shortened(&validation_error), latest_valid }
        }
        PayloadStatusEnum::Syncing => PayloadStatus::Syncing,
        PayloadStatusEnum::Accepted => PayloadStatus::Accepted,
    }
}

/// Returns the beginning of a message, on one line.
fn shortened(message: &str) -> String {
    let words = message.split(|c: char| c.is_control() || c == ' ').filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ").chars().take(MAX_MESSAGE).collect()
}

/// Converts a transport error.
fn failure(method: &str, error: TransportError) -> EngineFailure {
    match error {
        RpcError::ErrorResp(refusal) => {
            EngineFailure::of_error(method, refusal.code, shortened(&refusal.message))
        }
        RpcError::Transport(TransportErrorKind::Custom(error)) => {
            match error.downcast_ref::<HttpError>() {
                Some(HttpError::Status { status: 401 | 403, .. }) => EngineFailure::Unauthorized,
                _ => EngineFailure::Unreachable(shortened(&error.to_string())),
            }
        }
        RpcError::Transport(error) => EngineFailure::Unreachable(shortened(&error.to_string())),
        RpcError::DeserError { err, text } => {
            let said = format!("the answer can't be read: {err}; it is {text}");
            EngineFailure::Other(format!("{method}: {}", shortened(&said)))
        }
        other => EngineFailure::Other(format!("{method}: {}", shortened(&other.to_string()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_message_separates_the_cause_from_the_answer() {
        let text = r#"{"status": "MAYBE",
            "latestValidHash": null}"#;
        let wrong = serde_json::from_str::<AlloyStatus>(text).expect_err("no such status");
        let error = TransportError::deser_err(wrong, text);
        let EngineFailure::Other(said) = failure("engine_newPayloadV4", error) else {
            panic!("not known")
        };
        for part in
            ["engine_newPayloadV4: the answer can't be read: ", "; it is {\"status\": \"MAYBE\", "]
        {
            assert!(said.contains(part), "{said}");
        }
        assert_eq!(shortened("a\n\n b\tc"), "a b c");
    }
}
