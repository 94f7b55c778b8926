//! The agent's side of the Kubernetes API: one connection, reused; every request bounded; back-off with jitter.
