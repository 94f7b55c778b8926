//! The kernel's command line when it boots from the disk.
//!
//! It is a part because it may depend on other parts: with verified boot it carries the hash of the root, so
//! the order is root, verity, command line, and then whatever the firmware checks (a unified kernel image,
//! the EFI system partition).

use crate::assembly::Image;
use crate::part::layout;

/// The arguments of the definition, and which root: two Kiln disks in one machine must not be confused.
pub fn make(image: &Image<'_>) -> String {
    let root = format!("root=PARTUUID={}", layout::root_guid(&image.identity));
    let arguments = image.plan.kernel_arguments.iter().map(String::as_str);
    arguments.chain([root.as_str()]).collect::<Vec<_>>().join(" ")
}
