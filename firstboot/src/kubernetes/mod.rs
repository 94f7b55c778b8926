//! Kubernetes: the client of the API server, and what Kubernetes and kubeadm write and read: names, tokens,
//! versions, kubeconfigs. Only [`client`] does I/O.

mod answer;
mod api_status;
pub mod client;
pub mod features;
pub mod flags_file;
pub mod kubeconfig;
pub mod labels;
pub mod names;
pub mod server;
pub mod token;
mod untrusted;
pub mod version;
pub mod yaml;

pub use answer::Answer;
