//! The binary as users run it: arguments, standard input, signals, exit codes, and all of its
//! output.
//!
//! Each test starts the real program in its own directory, on loopback only, and ends it.

#[cfg(test)]
mod chain;
mod chains;
mod command_lines;
mod config;
#[cfg(test)]
mod devnet;
#[cfg(test)]
mod devnet_engines;
#[cfg(test)]
mod devnet_scenarios;
#[cfg(test)]
mod endings;
#[cfg(test)]
mod inspect;
#[cfg(test)]
mod key;
#[cfg(test)]
mod listeners;
#[cfg(test)]
mod logs;
#[cfg(test)]
mod node;
mod parity;
#[cfg(test)]
mod proxies;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod reload;
#[cfg(test)]
mod roles;
#[cfg(test)]
mod secrets;
#[cfg(test)]
mod store;
#[cfg(test)]
mod support;
#[cfg(test)]
mod tools;
#[cfg(test)]
mod troubles;
#[cfg(test)]
mod troubles_elsewhere;
#[cfg(test)]
mod troubles_of_peers;
#[cfg(test)]
mod usage;
#[cfg(test)]
mod web;
