//! 4. The operating system below the layers.

pub mod debian;
