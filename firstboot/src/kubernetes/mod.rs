//! What Kubernetes and kubeadm write and read: names, tokens, versions, kubeconfigs. No I/O.

pub mod endpoint;
pub mod features;
pub mod kubeconfig;
pub mod labels;
pub mod names;
pub mod server;
pub mod token;
pub mod version;
pub mod yaml;
