//! Harness of the end-to-end tests: builds images with the real programs, starts them in QEMU, looks inside through the serial console.
//!
//! ```text
//! lab (parts) ─► kiln (builds) ─► qemu (machine) ─► console (lines) ─► probe (facts)
//! ```

pub mod console;
pub mod http;
pub mod kiln;
pub mod lab;
pub mod probe;
pub mod qemu;
pub mod user;
pub mod workspace;
