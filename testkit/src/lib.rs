//! What the tests of all crates share. It is a dependency of tests only; nothing that ships links it.
//!
//! - [`TestServer`]: an HTTP/1.1 server, with TLS or without, that answers and fails by script;
//! - [`Ca`]: certificates that say what a test wants them to say;
//! - [`archive`]: package archives with signed lists;
//! - [`folder`]: serves the files of a folder, with ranges; [`documents`]: serves given documents;
//! - [`lookalike_flatcar`]: disks that look like those of Flatcar;
//! - [`PROGRAMS`]: what the preflight checks look for in PATH;
//! - [`not_run`]: how a test says that it could not run.

pub mod archive;
mod ca;
mod connection;
pub mod documents;
pub mod folder;
pub mod lookalike_flatcar;
mod not_run;
mod programs;
mod reply;
mod request;
mod server;

pub use ca::{Ca, Identity, Pair};
pub use connection::Connection;
pub use not_run::not_run;
pub use programs::PROGRAMS;
pub use reply::{Reply, message, text};
pub use request::Request;
pub use server::{Door, Options, TestServer};
