//! The command tamiz.
