//! Tests of executions over a small world, whose parts are revealed as they are asked for.

mod calls;
mod estimates;
mod forks;
mod lists;
mod rounds;
mod world;
