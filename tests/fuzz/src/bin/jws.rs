//! A detached signature of cluster-info: none but the right one is taken.
#![no_main]

use firstboot::join::jws::verify;
use firstboot::kubernetes::token::Token;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, &str)| {
    let (kubeconfig, signature) = input;
    let token: Token = "abcdef.0123456789abcdef".parse().expect("it is a token");
    // Without the secret it is impossible to forge one.
    assert!(verify(kubeconfig, signature, &token).is_err());
});
