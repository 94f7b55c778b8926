//! Node config: bytes of a source, or kubeadm's own flags → one [`JoinConfiguration`].
//!
//! ```text
//! bytes ─► documents (YAML or JSON, split, keyed by kind) ─► v1beta2 | v1beta3 | v1beta4 ─► defaults ─► validation ─► model
//! ```

pub mod model;
