//! Signatures of this node's own blocks.

use super::super::signer::BlockSigner;
use super::Driver;
use opp2p_core::node::{Input, SignRequest};
use std::sync::Arc;

impl Driver {
    /// Signs a block. A remote signer does so in a task, since it takes time.
    pub(super) fn sign(&mut self, request: SignRequest) {
        let id = request.id;
        match &self.signer {
            Some(BlockSigner::Local(signer)) => {
                let result = Ok(signer.sign(&request.signing_hash));
                self.feed(Input::Signed { id, result });
            }
            Some(BlockSigner::Remote(signer)) => {
                let (signer, answer) = (Arc::clone(signer), self.signed.0.clone());
                tokio::spawn(async move {
                    let result = signer.sign(&request).await.map_err(|error| error.to_string());
                    // The node may have stopped meanwhile.
                    let _ = answer.send((id, result)).await;
                });
            }
            None => self.feed(Input::Signed { id, result: Err("this node has no signer".into()) }),
        }
    }
}
