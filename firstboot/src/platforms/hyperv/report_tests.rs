use super::*;
use crate::host::kvp::record;
use crate::host::root::Root;
use crate::net::trust::Trust;
use crate::report::tests::support::{SECONDS, context, facts, status, target};
use crate::status::Outcome;

#[test]
fn records_have_their_size_and_values_their_limit() {
    let full = record("k", "value").unwrap();
    assert_eq!(full.len(), 2560);
    assert_eq!((&full[..2], &full[512..518]), (&b"k\0"[..], &b"value\0"[..]));
    assert!(record(&"k".repeat(511), &"v".repeat(2047)).is_some());
    assert!(
        record(&"k".repeat(512), "").is_none()
            && record("", &"v".repeat(2048)).is_none()
            && record("", &"v".repeat(9999)).is_none()
    );
    let (root, facts) = (Root::at("/nonexistent"), facts(&[]));
    for (length, whole) in [(10, true), (5000, false)] {
        let mut status = status(Outcome::Failed);
        status.failure.as_mut().unwrap().message = "é\"".repeat(length);
        let context = context(&root, &facts, &status, None, Trust::System, SECONDS);
        let value = value(&context);
        let parsed: serde_json::Value = serde_json::from_str(&value).unwrap();
        assert!(value.len() <= SHOWN_VALUE && parsed["class"] == "untrusted", "{value}");
        assert_eq!(parsed["message"].as_str().unwrap().len() == 3 * length, whole);
    }
}

#[test]
fn a_pool_without_a_daemon_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let (root, facts, status) = (Root::at(folder.path()), facts(&[]), status(Outcome::Joined));
    let context = context(&root, &facts, &status, None, Trust::System, SECONDS);
    let failure = deliver(&target("hyperv", &[]), &context).unwrap_err();
    assert!(failure.message.contains("No such file") && failure.help.unwrap().contains("hv_kvp_daemon"));
    std::fs::create_dir_all(root.path("/var/lib/hyperv")).unwrap();
    for count in 1..3 {
        assert_eq!(deliver(&target("hyperv", &[]), &context), Ok(Delivery::Accepted));
        assert_eq!(
            std::fs::read(crate::host::pools::path(&root, crate::host::kvp::GUEST)).unwrap().len(),
            2560 * count
        );
    }
}
