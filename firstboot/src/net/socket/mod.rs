//! Options of sockets that std does not offer.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(windows)]
mod windows;

#[cfg(target_os = "linux")]
pub(super) use linux::*;
#[cfg(windows)]
pub(super) use windows::*;

/// Seconds of silence before the kernel sends keep-alive probes.
const KEEPALIVE_IDLE: u32 = 15;
/// Seconds between probes.
const KEEPALIVE_INTERVAL: u32 = 5;
/// Unanswered probes before the connection counts as dead.
const KEEPALIVE_COUNT: u32 = 3;
