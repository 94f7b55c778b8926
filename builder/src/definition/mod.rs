//! 1. What the user wants: image and layer definitions, read strictly, composed and resolved into a [`plan::ImagePlan`].

pub mod plan;
