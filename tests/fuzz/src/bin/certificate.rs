//! What a cluster issues: a certificate with its key, a CA bundle, an event of a watch.
#![no_main]

use firstboot::join::certificate_request::public_key_of_request;
use firstboot::join::identity::ClientCertificate;
use firstboot::net::trust::Authorities;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = ClientCertificate::from_pem(bytes);
    if let Ok(authorities) = Authorities::from_pem(bytes) {
        assert!(!authorities.pem().is_empty());
        let _ = (authorities.pins(), authorities.validity());
    }
    let _ = public_key_of_request(bytes);
});
