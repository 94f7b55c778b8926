//! How the upper side of an overlay says what it changes in folders below: extended attributes (the kernel's
//! Documentation/filesystems/overlayfs.rst), behind `trusted.` or `user.`.

/// A file that is not there.
pub const WHITEOUT: &str = "overlay.whiteout";
/// A folder that hides all that is below.
pub const OPAQUE: &str = "overlay.opaque";
/// A folder that had another name.
pub const REDIRECT: &str = "overlay.redirect";
