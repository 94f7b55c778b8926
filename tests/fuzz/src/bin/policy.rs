//! The image's policy: what is accepted is written again as it was meant, and nothing that is not an object
//! is.
#![no_main]

use contract::trust_policy::TrustPolicyFile;
use firstboot::trust_policy::TrustPolicy;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| match TrustPolicy::parse(bytes) {
    Ok(policy) => {
        assert_eq!(bytes.trim_ascii_start().first(), Some(&b'{'));
        let written: TrustPolicyFile = serde_json::from_slice(bytes).expect("it was read");
        let again = serde_json::to_vec(&written).expect("it can be written");
        assert_eq!(TrustPolicy::parse(&again).as_ref(), Ok(&policy));
        for name in written.config.iter().flatten() {
            assert!(policy.allows_config(name));
        }
        assert!(written.config.is_none() || !policy.allows_config("no such source"));
    }
    Err(failure) => assert!(!failure.message.is_empty()),
});
