//! The precompiles of each fork.

use std::sync::OnceLock;

use alloy_primitives::Address;
use op_revm::precompiles::{fjord, granite, isthmus, jovian, karst};
use opp2p_core::proof::call::Rules;
use revm::context::{Cfg, ContextTr};
use revm::handler::{EthPrecompiles, PrecompileProvider};
use revm::interpreter::{CallInputs, InterpreterResult};
use revm::precompile::{
    EthPrecompileResult, Precompile, PrecompileHalt, PrecompileId, Precompiles, bn254,
    eth_precompile_fn,
};
use revm::primitives::hardfork::SpecId;

/// Maximum input of the pairing precompile from Karst on, in bytes: 300 pairs.
const KARST_PAIRING_INPUT: usize = 300 * 192;

const KARST_PAIRING: Precompile =
    Precompile::new(PrecompileId::Bn254Pairing, bn254::pair::ADDRESS, karst_pairing);

fn pairing_within_karst(input: &[u8], gas_limit: u64) -> EthPrecompileResult {
    if input.len() > KARST_PAIRING_INPUT {
        return Err(PrecompileHalt::Bn254PairLength);
    }
    let (point, base) = (bn254::pair::ISTANBUL_PAIR_PER_POINT, bn254::pair::ISTANBUL_PAIR_BASE);
    bn254::run_pair(input, point, base, gas_limit)
}

eth_precompile_fn!(karst_pairing, pairing_within_karst);

/// Karst's precompiles. The library's list lacks the lower limit of the pairing precompile.
fn karst_limited() -> &'static Precompiles {
    static LIST: OnceLock<Precompiles> = OnceLock::new();
    LIST.get_or_init(|| {
        let mut list = karst().clone();
        list.extend([KARST_PAIRING]);
        list
    })
}

/// Returns Ethereum's fork whose instructions a chain has.
pub(crate) const fn instructions(rules: Rules) -> SpecId {
    match rules {
        Rules::Bedrock => SpecId::MERGE,
        Rules::Canyon => SpecId::SHANGHAI,
        Rules::Ecotone | Rules::Fjord | Rules::Granite => SpecId::CANCUN,
        Rules::Isthmus | Rules::Jovian => SpecId::PRAGUE,
        Rules::Karst => SpecId::OSAKA,
    }
}

/// The precompiles of one fork.
#[derive(Clone, Debug)]
pub(crate) struct ForkPrecompiles(EthPrecompiles);

impl ForkPrecompiles {
    pub(crate) fn new(rules: Rules) -> Self {
        let spec = instructions(rules);
        let precompiles = match rules {
            Rules::Bedrock | Rules::Canyon => Precompiles::berlin(),
            Rules::Ecotone => Precompiles::cancun(),
            Rules::Fjord => fjord(),
            Rules::Granite => granite(),
            Rules::Isthmus => isthmus(),
            Rules::Jovian => jovian(),
            Rules::Karst => karst_limited(),
        };
        Self(EthPrecompiles { precompiles, spec })
    }

    pub(crate) fn addresses(&self) -> impl Iterator<Item = Address> {
        self.0.precompiles.addresses().copied()
    }
}

impl<CTX: ContextTr> PrecompileProvider<CTX> for ForkPrecompiles {
    type Output = InterpreterResult;

    /// The precompiles stay those of the fork that they were made for.
    fn set_spec(&mut self, _: <CTX::Cfg as Cfg>::Spec) -> bool {
        false
    }

    fn run(
        &mut self,
        context: &mut CTX,
        inputs: &CallInputs,
    ) -> Result<Option<InterpreterResult>, String> {
        self.0.run(context, inputs)
    }

    fn warm_addresses(&self) -> Box<impl Iterator<Item = Address>> {
        Box::new(self.addresses())
    }

    fn contains(&self, address: &Address) -> bool {
        self.0.contains(address)
    }
}
