//! One execution of a call, with a fixed gas limit.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::marker::PhantomData;

use alloy_primitives::{Address, B256, Bytes, TxKind, U256};
use opp2p_core::proof::call::{Access, BlockFacts, Call, Fees, Job, Rules};
use revm::context::either::Either;
use revm::context::journaled_state::account::JournaledAccountTr;
use revm::context::result::{EVMError, ExecutionResult, HaltReason, InvalidTransaction};
use revm::context::transaction::{
    AccessList, AccessListItem, Authorization, SignedAuthorization, Transaction,
};
use revm::context::{
    BlockEnv, CfgEnv, ContextTr, Evm, JournalTr, LocalContext, TransactionType, TxEnv,
};
use revm::context_interface::block::BlobExcessGasAndPrice;
use revm::handler::instructions::EthInstructions;
use revm::handler::{EthFrame, EvmTr, FrameResult, Handler};
use revm::inspector::InspectorHandler;
use revm::interpreter::InitialAndFloorGas;
use revm::interpreter::interpreter::EthInterpreter;
use revm::{Context, Inspector, Journal};

use crate::precompiles::{ForkPrecompiles, instructions};
use crate::state::State;

/// The fixed surroundings of all executions of a job.
#[derive(Debug)]
pub(crate) struct Setting {
    cfg: CfgEnv,
    block: BlockEnv,
    transaction: TxEnv,
    pub(crate) rules: Rules,
    /// The most that a unit of gas may cost.
    pub(crate) fee_cap: u128,
}

/// How an execution ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Returned(Bytes),
    Reverted(Bytes),
    OutOfGas,
    Halted(HaltReason),
}

/// The result of an execution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) ended: Ended,
    /// Gas that is paid for.
    pub(crate) gas_used: u64,
    /// Gas that was used before the refund.
    pub(crate) gas_peak: u64,
}

/// The reason why an execution did not start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The gas limit does not cover what a transaction costs before it runs.
    LowGas(String),
    /// Another reason: one sentence.
    Invalid(String),
}

impl Setting {
    /// Prepares the executions of a job.
    ///
    /// # Errors
    /// If a fee has more than 128 bits.
    pub(crate) fn new(job: &Job) -> Result<Self, String> {
        let spec = instructions(job.rules);
        let mut cfg = CfgEnv::new_with_spec(spec).with_chain_id(job.chain_id);
        cfg.disable_nonce_check = true;
        cfg.disable_block_gas_limit = true;
        cfg.tx_chain_id_check = false;
        // The limit of transactions (EIP-7825) does not apply to calls.
        cfg.tx_gas_limit_cap = Some(u64::MAX);
        let transaction = transaction(&job.call)?;
        let fee_cap = transaction.gas_price;
        let mut block = block(&job.block);
        // Contracts rely on a base fee that is not above the price.
        if transaction.effective_gas_price(block.basefee.into()) == 0 {
            block.basefee = 0;
        }
        Ok(Self { cfg, block, transaction, rules: job.rules, fee_cap })
    }

    /// Returns the accounts that signed a usable authorization.
    pub(crate) fn authorities(&self) -> impl Iterator<Item = Address> {
        let chain_id = U256::from(self.cfg.chain_id);
        let each = self.transaction.authorization_list.iter();
        each.filter_map(move |authorization| {
            let signed = authorization.as_ref().left()?;
            let is_here = signed.chain_id.is_zero() || signed.chain_id == chain_id;
            let is_usable = is_here && signed.nonce != u64::MAX;
            is_usable.then(|| signed.recover_authority().ok()).flatten()
        })
    }

    fn evm<'a, I>(
        &self,
        state: &'a mut State,
        gas_limit: u64,
        access_list: &[Access],
        inspector: I,
    ) -> CallEvm<'a, I> {
        let spec = self.cfg.spec;
        let mut transaction = self.transaction.clone();
        transaction.gas_limit = gas_limit;
        let items = access_list.iter().map(|access| AccessListItem {
            address: access.address,
            storage_keys: access.storage_keys.clone(),
        });
        transaction.access_list = AccessList(items.collect());
        // A legacy transaction has no access list.
        if transaction.tx_type == TransactionType::Legacy as u8 && !access_list.is_empty() {
            transaction.tx_type = TransactionType::Eip2930 as u8;
        }
        let mut context: CallContext<'a> = Context::new(state, spec);
        context = context.with_cfg(self.cfg.clone());
        context.block = self.block.clone();
        context.tx = transaction;
        let instructions = EthInstructions::new_mainnet_with_spec(spec);
        let precompiles = ForkPrecompiles::new(self.rules);
        Evm::new_with_inspector(context, inspector, instructions, precompiles)
    }

    /// Executes the call.
    ///
    /// # Errors
    /// The reason why it is refused before its start.
    pub(crate) fn run(
        &self,
        state: &mut State,
        gas_limit: u64,
        access_list: &[Access],
    ) -> Result<Run, Refused> {
        let mut evm = self.evm(state, gas_limit, access_list, ());
        read(CallHandler::of(&evm).run(&mut evm))
    }

    /// Executes the call under inspection.
    ///
    /// # Errors
    /// The reason why it is refused before its start.
    pub(crate) fn inspect<I>(
        &self,
        state: &mut State,
        gas_limit: u64,
        access_list: &[Access],
        inspector: &mut I,
    ) -> Result<Run, Refused>
    where
        I: for<'a> Inspector<CallContext<'a>>,
    {
        let mut evm = self.evm(state, gas_limit, access_list, inspector);
        read(CallHandler::of(&evm).inspect_run(&mut evm))
    }

    /// Returns the accounts that are warm anyway: the caller, the called one, the precompiles, and
    /// those that signed an authorization.
    pub(crate) fn warm(&self, called: Address) -> BTreeSet<Address> {
        let precompiles = ForkPrecompiles::new(self.rules);
        let mut warm: BTreeSet<_> = precompiles.addresses().chain(self.authorities()).collect();
        warm.extend([self.transaction.caller, called]);
        warm
    }
}

fn block(facts: &BlockFacts) -> BlockEnv {
    BlockEnv {
        number: U256::from(facts.number),
        beneficiary: facts.beneficiary,
        timestamp: U256::from(facts.timestamp),
        gas_limit: facts.gas_limit,
        basefee: facts.base_fee,
        difficulty: U256::ZERO,
        prevrandao: Some(facts.mix_hash),
        // The chain has no blobs, so that their price is the lowest.
        blob_excess_gas_and_price: Some(BlobExcessGasAndPrice {
            excess_blob_gas: 0,
            blob_gasprice: 1,
        }),
        slot_num: 0,
    }
}

fn transaction(call: &Call) -> Result<TxEnv, String> {
    let fee = |fee: U256| u128::try_from(fee).map_err(|_| "the fee per gas is too high".to_owned());
    let (price, priority) = match call.fees {
        Fees::Free => (0, None),
        Fees::Price(price) => (fee(price)?, None),
        Fees::Caps { max, priority } => (fee(max)?, Some(fee(priority)?)),
    };
    let kind = match (&call.authorizations, priority) {
        (Some(_), _) => TransactionType::Eip7702,
        (None, Some(_)) => TransactionType::Eip1559,
        (None, None) => TransactionType::Legacy,
    };
    let authorizations = call.authorizations.iter().flatten().map(|one| {
        let inner =
            Authorization { chain_id: one.chain_id, address: one.address, nonce: one.nonce };
        Either::Left(SignedAuthorization::new_unchecked(inner, one.y_parity, one.r, one.s))
    });
    Ok(TxEnv {
        tx_type: kind as u8,
        caller: call.from,
        gas_limit: 0,
        gas_price: price,
        kind: call.to.map_or(TxKind::Create, TxKind::Call),
        value: call.value,
        data: call.input.clone(),
        nonce: 0,
        chain_id: None,
        access_list: AccessList::default(),
        gas_priority_fee: priority,
        blob_hashes: Vec::<B256>::new(),
        max_fee_per_blob_gas: 0,
        authorization_list: authorizations.collect(),
    })
}

type CallContext<'a> =
    Context<BlockEnv, TxEnv, CfgEnv, &'a mut State, Journal<&'a mut State>, (), LocalContext>;

type CallEvm<'a, I> = Evm<
    CallContext<'a>,
    I,
    EthInstructions<EthInterpreter, CallContext<'a>>,
    ForkPrecompiles,
    EthFrame<EthInterpreter>,
>;

type CallError = EVMError<Infallible>;

/// The handler of calls, as op-geth treats them: neither the nonce nor the sender's code is
/// checked, no fee for L1 data is charged, and no account receives the fees.
#[derive(Debug)]
struct CallHandler<EVM>(PhantomData<EVM>);

impl<EVM> CallHandler<EVM> {
    const fn of(_: &EVM) -> Self {
        Self(PhantomData)
    }
}

impl<'a, I> Handler for CallHandler<CallEvm<'a, I>> {
    type Evm = CallEvm<'a, I>;
    type Error = CallError;
    type HaltReason = HaltReason;

    fn validate_against_state_and_deduct_caller(
        &self,
        evm: &mut Self::Evm,
        _: &mut InitialAndFloorGas,
    ) -> Result<(), CallError> {
        let (block, tx, _, journal, _, _) = evm.ctx_mut().all_mut();
        let mut caller = journal.load_account_mut(tx.caller)?.data;
        let balance = *caller.balance();
        let gas = U256::from(tx.gas_limit);
        let most = gas.saturating_mul(U256::from(tx.gas_price)).saturating_add(tx.value);
        if most > balance {
            let (fee, balance) = (Box::new(most), Box::new(balance));
            return Err(InvalidTransaction::LackOfFundForMaxFee { fee, balance }.into());
        }
        let price = tx.effective_gas_price(block.basefee.into());
        caller.set_balance(balance - gas * U256::from(price));
        if tx.kind.is_call() {
            caller.bump_nonce();
        }
        Ok(())
    }

    fn reimburse_caller(&self, _: &mut Self::Evm, _: &mut FrameResult) -> Result<(), CallError> {
        Ok(())
    }

    fn reward_beneficiary(&self, _: &mut Self::Evm, _: &mut FrameResult) -> Result<(), CallError> {
        Ok(())
    }
}

impl<'a, I> InspectorHandler for CallHandler<CallEvm<'a, I>>
where
    I: Inspector<CallContext<'a>>,
{
    type IT = EthInterpreter;
}

fn read(result: Result<ExecutionResult, CallError>) -> Result<Run, Refused> {
    let result = result.map_err(refused)?;
    let gas = *result.gas();
    let ended = match result {
        ExecutionResult::Success { output, .. } => Ended::Returned(output.into_data()),
        ExecutionResult::Revert { output, .. } => Ended::Reverted(output),
        ExecutionResult::Halt { reason: HaltReason::OutOfGas(_), .. } => Ended::OutOfGas,
        ExecutionResult::Halt { reason, .. } => Ended::Halted(reason),
    };
    let gas_peak = gas.total_gas_spent().max(gas.floor_gas());
    Ok(Run { ended, gas_used: gas.tx_gas_used(), gas_peak })
}

/// Returns the reason in the words of op-geth, which wallets search for.
fn refused(error: CallError) -> Refused {
    let reason = match error {
        EVMError::Transaction(reason) => reason,
        EVMError::Header(_) => return Refused::Invalid("the header lacks fields".into()),
        EVMError::Custom(text) => return Refused::Invalid(text),
        EVMError::CustomAny(error) => return Refused::Invalid(error.to_string()),
        EVMError::Database(never) => match never {},
    };
    Refused::Invalid(match reason {
        InvalidTransaction::CallGasCostMoreThanGasLimit { initial_gas, gas_limit } => {
            let text = format!("intrinsic gas too low: have {gas_limit}, want {initial_gas}");
            return Refused::LowGas(text);
        }
        InvalidTransaction::GasFloorMoreThanGasLimit { gas_floor, gas_limit } => {
            let text = "insufficient gas for floor data gas cost";
            return Refused::LowGas(format!("{text}: have {gas_limit}, want {gas_floor}"));
        }
        InvalidTransaction::LackOfFundForMaxFee { fee, balance } => {
            format!("insufficient funds for gas * price + value: have {balance} want {fee}")
        }
        InvalidTransaction::GasPriceLessThanBasefee => {
            "max fee per gas less than block base fee".into()
        }
        InvalidTransaction::PriorityFeeGreaterThanMaxFee => {
            "max priority fee per gas higher than max fee per gas".into()
        }
        InvalidTransaction::CreateInitCodeSizeLimit => "max initcode size exceeded".into(),
        InvalidTransaction::EmptyAuthorizationList => {
            "EIP-7702 transaction with empty auth list".into()
        }
        InvalidTransaction::Eip7702NotSupported => "transaction type not supported".into(),
        other => other.to_string(),
    })
}
