//! The reasons of failed calls in the words of op-geth, which wallets and libraries search for.

use alloy_primitives::{Bytes, U256};
use opp2p_core::proof::call::Outcome;
use revm::context::result::HaltReason;

/// Selector of `Error(string)`.
const ERROR: [u8; 4] = [0x08, 0xc3, 0x79, 0xa0];
/// Selector of `Panic(uint256)`.
const PANIC: [u8; 4] = [0x4e, 0x48, 0x7b, 0x71];
/// Maximum number of characters of a contract's reason. The outcome has all of its bytes.
const LONGEST: usize = 512;

pub(crate) fn reverted(output: Bytes) -> Outcome {
    let message = match reason(&output) {
        Some(reason) => format!("execution reverted: {reason}"),
        None => "execution reverted".into(),
    };
    Outcome::Reverted { message, output }
}

/// Reads the reason that Solidity's `revert`, `require` and `assert` give.
fn reason(output: &[u8]) -> Option<String> {
    let (selector, data) = output.split_at_checked(4)?;
    if selector == PANIC {
        return Some(panic(word(data, 0)?));
    }
    if selector != ERROR {
        return None;
    }
    let start = usize::try_from(word(data, 0)?).ok()?;
    let length = usize::try_from(word(data, start)?).ok()?;
    let text = data.get(start.checked_add(32)?..)?.get(..length)?;
    let text = String::from_utf8_lossy(text);
    let line = text.chars().take(LONGEST).map(|c| if c.is_control() { ' ' } else { c });
    Some(line.collect())
}

fn word(data: &[u8], start: usize) -> Option<U256> {
    U256::try_from_be_slice(data.get(start..start.checked_add(32)?)?)
}

fn panic(code: U256) -> String {
    let text = match u8::try_from(code) {
        Ok(0x00) => "generic panic",
        Ok(0x01) => "assert(false)",
        Ok(0x11) => "arithmetic underflow or overflow",
        Ok(0x12) => "division or modulo by zero",
        Ok(0x21) => "enum overflow",
        Ok(0x22) => "invalid encoded storage byte array accessed",
        Ok(0x31) => "out-of-bounds array access; popping on an empty array",
        Ok(0x32) => "out-of-bounds access of an array or bytesN",
        Ok(0x41) => "out of memory",
        Ok(0x51) => "uninitialized function",
        _ => return format!("unknown panic code: {code:#x}"),
    };
    text.into()
}

pub(crate) fn halted(reason: &HaltReason) -> String {
    let text = match reason {
        HaltReason::OutOfGas(_) => "out of gas",
        HaltReason::OpcodeNotFound | HaltReason::InvalidFEOpcode | HaltReason::NotActivated => {
            "invalid opcode"
        }
        HaltReason::InvalidJump => "invalid jump destination",
        HaltReason::StackUnderflow => "stack underflow",
        HaltReason::StackOverflow => "stack limit reached 1024",
        HaltReason::OutOfOffset => "return data out of bounds",
        HaltReason::CreateCollision => "contract address collision",
        HaltReason::NonceOverflow => "nonce uint64 overflow",
        HaltReason::CreateContractSizeLimit => "max code size exceeded",
        HaltReason::CreateContractStartingWithEF => "invalid code: must not begin with 0xef",
        HaltReason::CreateInitCodeSizeLimit => "max initcode size exceeded",
        HaltReason::StateChangeDuringStaticCall | HaltReason::CallNotAllowedInsideStatic => {
            "write protection"
        }
        HaltReason::OutOfFunds | HaltReason::OverflowPayment => "insufficient balance for transfer",
        HaltReason::CallTooDeep => "max call depth exceeded",
        other => return other.to_string(),
    };
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::hex;

    fn message(output: Vec<u8>) -> String {
        match reverted(output.into()) {
            Outcome::Reverted { message, .. } => message,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_contracts_reason_is_shown() {
        let mut output = ERROR.to_vec();
        output.extend(U256::from(32).to_be_bytes::<32>());
        output.extend(U256::from(4).to_be_bytes::<32>());
        output.extend(hex!("6e6f0a21"));
        output.extend([0; 28]);
        assert_eq!(message(output.clone()), "execution reverted: no !");
        // Shortened by one word, the text is not complete.
        output.truncate(4 + 64 + 3);
        assert_eq!(message(output), "execution reverted");
        let mut output = PANIC.to_vec();
        output.extend(U256::from(0x11).to_be_bytes::<32>());
        assert_eq!(message(output), "execution reverted: arithmetic underflow or overflow");
        let mut output = PANIC.to_vec();
        output.extend(U256::MAX.to_be_bytes::<32>());
        assert!(message(output).starts_with("execution reverted: unknown panic code: 0xff"));
    }

    #[test]
    fn other_output_gives_no_reason() {
        for output in [Vec::new(), vec![1, 2, 3], ERROR.to_vec(), PANIC.to_vec()] {
            assert_eq!(message(output), "execution reverted");
        }
        let mut far = ERROR.to_vec();
        far.extend([0xff; 64]);
        assert_eq!(message(far), "execution reverted");
    }
}
