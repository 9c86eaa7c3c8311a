//! The chain: its configuration and fork schedule, the built-in networks, and the unsafe chain view.
