//! Items of QEMU's firmware configuration device, and the answers of VMware's host: the user-data that they
//! are taken for.
#![no_main]

use firstboot::host::root::Root;
use firstboot::host::vmware;
use firstboot::metadata;
use kiln_fuzz::{folder, write};
use libfuzzer_sys::fuzz_target;

const ITEMS: [&str; 2] = ["org.kiln.firstboot/config", "io.systemd.credentials/firstboot.config"];

fuzz_target!(|bytes: &[u8]| {
    let Some((first, bytes)) = bytes.split_first() else { return };
    let folder = folder();
    let item = folder
        .path()
        .join("sys/firmware/qemu_fw_cfg/by_name/opt")
        .join(ITEMS[usize::from(first & 1)]);
    write(&item.join("raw"), bytes);
    let metadata = metadata::gather(
        &Root::at(folder.path()),
        &firstboot::trust_policy::TrustPolicy::default(),
        &|_, _| panic!("no network"),
    )
    .expect("an item is only bytes");
    let found = metadata.user_data.map(|(_, user_data)| user_data.document.bytes().to_vec());
    assert_eq!(found.as_deref(), Some(bytes).filter(|bytes| !bytes.iter().all(u8::is_ascii_whitespace)));
    assert!(vmware::value(bytes).is_none_or(|value| value.len() < bytes.len()));
});
