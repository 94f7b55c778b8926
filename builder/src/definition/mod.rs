//! 1. Image and layer definitions, read strictly, composed and resolved into a [`plan::ImagePlan`].
//!
//! ```text
//! TOML text ─► source (where things stand) ─► image_spec, layer_spec (types) ─► compose (extends, --set)
//!           ─► compatibility (versions left open) ─► resolve (layers, conditions, ${variables}, paths) ─► plan
//! ```

pub mod alone;
mod check_system;
pub(crate) mod compatibility;
pub(crate) mod compose;
pub(crate) mod condition;
pub(crate) mod image_spec;
pub mod interpolate;
mod layer;
mod layer_folder;
mod mentioned;
pub mod layer_spec;
pub mod plan;
mod registries;
pub mod registry;
pub(crate) mod resolve;
mod resolve_base;
mod resolve_layer;
mod resolve_metadata;
mod resolve_preload;
mod resolve_signature;
mod resolve_test;
mod resolve_windows;
pub mod snapshot;
pub(crate) mod source;
pub(crate) mod value;
mod warnings;
pub mod windows;

pub(crate) use layer::operating_systems;
pub use resolve::{Definition, load};
