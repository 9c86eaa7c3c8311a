//! Tests of the whole machine under a clock of our own.
