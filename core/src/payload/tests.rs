//! Tests over whole payloads: real blocks, round trips, and the rules of the decoder.
