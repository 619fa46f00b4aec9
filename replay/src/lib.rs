//! Replays recorded traffic: what was decided is worked out again from the log, and compared.
//!
//! A *faithful* replay cuts its steps where the workers cut theirs, as the topic `steps` records it, and must give the
//! published decisions again, byte for byte. Reading order: [`recording`] (what a log must tell), [`faithful`] (the
//! replay), `tables` (the tables of the replayed operators).

mod error;
mod faithful;
pub mod recording;
mod tables;

pub use error::ReplayError;
pub use faithful::{Difference, Replayed, faithful};
pub use recording::Recording;
