//! 1. What the user wants: image and layer definitions, read strictly, composed and resolved into a [`plan::ImagePlan`].
//!
//! ```text
//! TOML text ─► source (where things stand) ─► image_spec, layer_spec (types) ─► compose (extends, --set)
//!           ─► resolve (layers, conditions, ${variables}, paths) ─► plan
//! ```

pub mod compose;
pub mod condition;
pub mod image_spec;
pub mod interpolate;
pub mod layer_spec;
pub mod plan;
pub mod registry;
pub mod resolve;
mod resolve_layer;
mod resolve_metadata;
pub mod source;
pub mod value;

pub use resolve::{Definition, load};
