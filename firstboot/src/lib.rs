//! The agent in every Kiln image: one static program. As PID 1 of the initrd it mounts the real root; on the
//! running machine it joins a cluster.
//!
//! ```text
//! kernel ─► /init: initrd ─► systemd of the real root ─► firstboot.service ─► commands ─► run
//!
//! run:  platforms, locations ─► metadata ─► userdata ─► config ─► enrich ─► join (a role: a list of phases) ─► status ─► report
//! ```

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests make machines and servers"))]

pub mod binding;
pub mod checkpoint;
pub mod cli;
pub mod commands;
pub mod config;
pub mod document;
pub mod enrich;
pub mod error;
pub mod evidence;
pub mod facts;
pub mod guard;
#[expect(clippy::disallowed_methods, reason = "only host changes the machine")]
pub mod host;
#[cfg(target_os = "linux")]
#[expect(clippy::disallowed_methods, reason = "the init runs before there is a host")]
pub mod initrd;
#[cfg(target_os = "linux")]
pub mod install;
pub mod instance_data;
pub mod join;
pub mod kubernetes;
pub mod locations;
pub mod machine;
pub mod metadata;
#[expect(clippy::disallowed_methods, reason = "only net opens sockets")]
pub mod net;
#[expect(clippy::disallowed_methods, reason = "the lower half of host")]
pub mod os;
mod output;
pub mod paths;
pub mod platforms;
pub mod preflight;
pub mod report;
pub mod reporter;
pub mod run;
pub mod secret;
pub mod status;
mod text;
pub mod trust_policy;
pub mod userdata;
