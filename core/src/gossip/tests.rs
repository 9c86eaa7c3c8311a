//! Tests of validation: each check by name.
