//! The machine: the only module with side effects on it.

pub mod files;
pub mod root;
