//! The command line of the agent on a running node, and of the kubeadm that it replaces. Pure: words in, a
//! [`Request`] out.
//!
//! ```text
//! arguments ─► words ─► parse ─► Request ─► commands ─► exit code
//! ```

mod help;
mod parse;
pub mod request;
mod words;

#[cfg(test)]
mod tests;

pub use self::parse::parse;
