//! The agent in every Kiln image: one static program with two lives.
//!
//! ```text
//! kernel ─► /init (PID 1 in the initrd): initrd ─► systemd of the real root ─► firstboot.service: cli (`firstboot run`)
//!
//! platform ─► source ─► metadata ─► config ─► enrich ─► preflight ─► join (discovery ─► cluster ─► identity ─► files ─► kubelet ─► seal) ─► verdict ─► report
//!                                                            │ api: the only sockets          │ host: the only side effects, journal: what is done
//! ```
//!
//! `contract` holds what the builder bakes and the agent finds; the builder imports that very module.

pub mod net;
pub mod cli;
pub mod commands;
pub mod config;
pub mod enrich;
pub mod error;
pub mod facts;
pub mod guard;
pub mod host;
#[cfg(target_os = "linux")]
pub mod initrd;
pub mod join;
pub mod journal;
pub mod kubernetes;
pub mod machine;
pub mod metadata;
pub mod evidence;
pub mod policy;
pub mod preflight;
pub mod report;
pub mod secret;
mod text;
pub mod platforms;
pub mod userdata;
pub mod verdict;
