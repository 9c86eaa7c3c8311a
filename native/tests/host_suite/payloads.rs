//! What the payload server does with strangers' streams.
