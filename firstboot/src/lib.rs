//! The agent in every Kiln image.

pub mod contract;
