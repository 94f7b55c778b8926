//! The service's own reports to the service manager are in `service_process`; there is no line of status.

/// Does nothing.
pub fn send(_: &str) {}
