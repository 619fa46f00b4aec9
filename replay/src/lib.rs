//! Replays recorded traffic.
