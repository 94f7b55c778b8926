//! A file that is said to be an image of Windows: which form it has, and where on a raw disk its volume is;
//! the description of the images of a WIM, and the list of one's files.
#![no_main]

use kiln::base::windows::look_at;
use kiln::format::wim::images_in;
use kiln::format::wim_list;
use kiln_fuzz::{folder, write};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = images_in(bytes);
    let _ = wim_list::read(bytes);
    let folder = folder();
    let path = folder.path().join("disk");
    write(&path, bytes);
    let _ = look_at(&path, "fuzz");
});
