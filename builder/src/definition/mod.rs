//! 1. What the user wants: image and layer definitions, read strictly, composed and resolved into a [`plan::ImagePlan`].
//!
//! ```text
//! TOML text ─► source (where things stand) ─► image_file, layer_file (types) ─► compose (extends, --set)
//!           ─► resolve (layers, conditions, ${variables}, paths) ─► plan
//! ```

pub mod compose;
pub mod condition;
pub mod image_file;
pub mod interpolate;
pub mod layer_file;
pub mod plan;
pub mod resolve;
mod resolve_layer;
mod resolve_metadata;
pub mod source;
pub mod value;

pub use resolve::{Resolved, load};
