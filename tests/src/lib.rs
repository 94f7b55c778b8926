//! Harness of the end-to-end tests: builds images with the real programs, starts them in QEMU, looks inside through the serial console.
//!
//! ```text
//! lab (parts) ─► kiln (builds) ─► qemu (machine) ─► console (lines) ─► probe (facts)
//! ```

pub mod agent;
pub mod answers;
pub mod audit;
pub mod authority;
pub mod canary;
pub mod console;
pub mod control_plane;
pub mod http;
pub mod island;
pub mod join_cache;
pub mod join_case;
pub mod join_compare;
pub mod join_outcome;
pub mod joining;
pub mod kiln;
pub mod lab;
pub mod liar;
pub mod pods;
pub mod probe;
pub mod qemu;
pub mod simulated;
pub mod twin;
pub mod user;
pub mod workspace;
