//! A record of an OSV database.
#![no_main]

use kiln::audit::Component;
use kiln::audit::osv::{Order, Record};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(record) = Record::parse(bytes) else { return };
    assert!(!record.vulnerabilities().is_empty());
    for (ecosystem, order) in [("Debian:13", Order::Package), ("Go", Order::Semver)] {
        for name in record.packages() {
            let component = Component {
                ecosystem: ecosystem.to_owned(),
                name: name.to_owned(),
                version: "1.2.3-1".to_owned(),
                pins: Vec::new(),
                order,
            };
            if let Some(hit) = record.hit(&component) {
                assert!(hit.fixed.is_none_or(|fixed| fixed != component.version));
            }
        }
    }
});
