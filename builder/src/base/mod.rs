//! 4. The operating system below the layers.
//!
//! One module per distribution. A base ends as a stream of one tar, which [`crate::layer`] turns into the lowest layer.

pub mod debian;
