//! What the verbs of the command line do: one file each, wiring without logic.

pub mod status;
