//! Kiln bakes immutable Kubernetes node images.
//!
//! ```text
//! images/*.toml ─► definition ─► lock ─► fetch ─► layer ─► tree ─► final layer ─► assembly ─► part ─► output
//! layers/*/layer.toml ─┘            ▲       │        ▲ archive                                 │        │
//!                                   └─ base ┴─ store ┘                                       format     └─► provenance
//! ```
//!
//! The modules stand in the order of that flow. Only `fetch` (and `base`, through apt) opens sockets; only
//! `determinism` knows the time. `pipeline` runs the whole line.

pub mod definition;
pub mod lock;
pub mod fetch;
pub mod archive;
pub mod base;
mod kernel_module;
pub mod layer;
pub mod tree;
pub mod final_layer;
pub mod assembly;
pub mod format;
pub(crate) mod sign;
pub mod part;
pub mod output;
pub mod provenance;
pub(crate) mod pipeline;
pub mod mirror;
pub mod audit;
pub mod lint;
pub mod boot_test;
pub mod qemu;
pub mod verify;
pub mod compare;
pub mod size_map;
pub(crate) mod markup;
pub mod registry;
pub mod serve;

pub(crate) mod address;
pub mod certificates;
pub mod cli;
pub(crate) mod columns;
pub mod commands;
pub(crate) mod container_image;
pub mod determinism;
pub mod digest;
mod disk_space;
pub(crate) mod disk_rule;
pub(crate) mod elf;
pub mod error;
pub mod image_source;
pub(crate) mod namespaces;
pub mod process;
pub mod progress;
pub(crate) mod purl;
pub(crate) mod scratch;
pub mod signature;
pub mod size;
pub(crate) mod sparse;
pub mod store;
pub mod threads;
