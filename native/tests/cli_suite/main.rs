//! The binary as people run it: arguments, standard input, signals, exit codes, and every word it says.
//!
//! Each test starts the real program, in a directory of its own and on loopback only, and ends it.
#![cfg(feature = "node")]

#[cfg(test)]
mod chain;
mod config;
#[cfg(test)]
mod devnet;
#[cfg(test)]
mod inspect;
#[cfg(test)]
mod key;
#[cfg(test)]
mod logs;
#[cfg(test)]
mod node;
mod parity;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod support;
#[cfg(test)]
mod tools;
#[cfg(test)]
mod usage;
#[cfg(test)]
mod web;
