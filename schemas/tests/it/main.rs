//! Tests of the published schemas: they are whole, frozen, and every version is still read.
#![allow(clippy::unwrap_used)]

mod container;
mod json;
mod published;
mod signals;
