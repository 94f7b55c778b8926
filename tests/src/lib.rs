//! Harness of the end-to-end tests: builds images with the real programs, starts them in QEMU, looks inside
//! through the serial console.
//!
//! ```text
//! lab (parts) ─► kiln (builds) ─► qemu (machine) ─► console (lines) ─► probe (facts)
//! ```

pub mod agent;
pub mod audit;
pub mod canary;
pub mod console;
pub mod control_plane;
pub mod fault_proxy;
pub mod join_cache;
pub mod join_case;
pub mod join_compare;
pub mod join_outcome;
pub mod join_support;
pub mod kiln;
pub mod lab;
pub mod lab_network;
pub mod lab_node;
pub mod lookalike_flatcar;
pub mod lookalike_ubuntu;
pub mod loop_device;
pub mod netns;
pub mod pods;
pub mod probe;
pub mod qemu;
pub mod simulated;
pub mod socket_forward;
pub mod ssh;
pub mod user;
pub mod wine;
pub mod workspace;
