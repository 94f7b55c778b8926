//! The parts of a vendor's release with layers beside it. Layers become system extensions; those that say
//! `extension = false` are about the host itself, and go on its root partition as they are.
//!
//! | | on the disk | from the network |
//! |---|---|---|
//! | extensions | files on the root partition, and a link to each | files in the initrd, which the vendor's first boot links |
//! | files of other layers | on the root partition | written by the vendor's first boot |
//! | everything of the vendor's | unchanged | unchanged |

mod additions;
pub(crate) mod disk;
pub(crate) mod network;

pub(crate) use additions::additions;
