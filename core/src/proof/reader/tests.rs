//! Tests of the reader against servers with a small chain.

mod bounds;
mod calls;
mod failures;
mod fees;
mod lags;
mod lies;
mod methods;
mod talk;
mod transactions;
mod world;
