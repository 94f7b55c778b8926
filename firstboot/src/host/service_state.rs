//! What is said of a service, whichever manager has it.

/// Whether a service starts by itself at boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enablement {
    /// It starts at boot; on Windows also by the agent.
    Enabled,
    /// It exists, but does not start at boot; on Windows: it cannot be started.
    Disabled,
    /// There is no such service.
    Absent,
    /// Unknown.
    Unknown,
}

/// Whether a service that does not answer is worth waiting for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prospect {
    /// It runs, is starting, or will be started, or its state is unknown.
    Hopeful,
    /// It does not run, and no job will start it.
    Idle,
    /// It has failed, and its manager has given up.
    Failed,
}

/// Whether the caller waits until a service has started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Waits until the service has started.
    Started,
    /// Waits only until the manager has accepted the job.
    Queued,
}
