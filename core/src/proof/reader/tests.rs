//! Tests of the reader, in conversation with servers that know a small chain.

mod bounds;
mod failures;
mod lags;
mod lies;
mod methods;
mod talk;
mod transactions;
mod world;
