//! An Ignition config of spec 2 or 3, the scripts of its units included: what it carries, and that nothing that is said of it shows a token.
#![no_main]

use firstboot::userdata::bounds::Budget;
use firstboot::userdata::ignition::read;
use libfuzzer_sys::fuzz_target;

/// The token in the seeds.
const TOKEN: &str = "canary.canarycanarycana";

fuzz_target!(|bytes: &[u8]| {
    let budget = Budget::default();
    let lookup = |name: &str| name.len().is_multiple_of(2).then(|| "value".to_owned());
    let found = read(bytes, &budget).and_then(|mut carrier| {
        let carried = carrier.find(&lookup, &budget)?;
        assert!(!carrier.remarks.join(" ").contains(TOKEN));
        Ok(carried)
    });
    match found {
        Ok(Some(carried)) => {
            assert!(carried.document.is_some() || carried.flags.is_some());
            assert!(carried.files.iter().all(|file| file.path.starts_with('/') && !file.path.contains("/../") && file.mode <= 0o7777));
            assert!(carried.sentinel.is_none_or(|path| path.starts_with("/run/cluster-api/bootstrap") && !path.contains("/..")));
            assert!(!format!("{:?}{:?}", carried.document, carried.files).contains(TOKEN));
        }
        Ok(None) => {}
        Err(failure) => assert!(!failure.message.is_empty() && !format!("{failure:?}").contains(TOKEN)),
    }
});
