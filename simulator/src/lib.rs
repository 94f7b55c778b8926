//! Simulates the metadata services of clouds from data files, with faults on demand.
//!
//! ```text
//! platforms/NAME.toml ─► platform ─► template (values) ─► routes ─► server ─► journal
//!                          │                                ▲ token   ▲ fault
//!                          ├─► keeper (user data that the metadata service only names)
//!                          └─► machine (a root folder, QEMU's arguments), namespace (the platform's own addresses)
//! ```
//!
//! A platform is one file, whose format is described in [`platform`]. A fault is one row of
//! [`fault::SCRIPTS`] and works on any platform.

pub mod platform;
pub mod template;
pub mod tree;
pub mod token;
pub mod routes;
pub mod fault;
pub mod http;
pub mod fault_injection;
pub mod journal;
pub mod keeper;
pub mod server;
pub mod simulation;
pub mod machine;
pub mod namespace;
pub mod error;

pub use error::{Error, Result};
pub use fault::Fault;
pub use server::Running;
pub use simulation::Simulation;
