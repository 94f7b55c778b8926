//! A kubeconfig: a discovery file, or what cluster-info publishes.
#![no_main]

use std::path::Path;

use firstboot::kubernetes::kubeconfig::parse;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(kubeconfig) = parse(bytes, Path::new("/")) {
        assert!(kubeconfig.server.endpoint.port > 0);
    }
});
