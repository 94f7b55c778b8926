use super::*;
use crate::host::files;

const FW_CFG: &str = "/sys/firmware/qemu_fw_cfg/by_name/opt/org.kiln.firstboot/config/raw";
const ETC: &str = "/etc/firstboot/config.yaml";
const CONFIG: &[u8] = b"apiVersion: kubeadm.k8s.io/v1beta4\nkind: JoinConfiguration\n";

fn gathered(contents: &[(&str, &[u8])], pinned: Option<&str>) -> Result<Metadata> {
    let policy = TrustPolicy { platform: pinned.map(str::to_owned), ..TrustPolicy::default() };
    gathered_by(contents, &policy)
}

fn gathered_by(contents: &[(&str, &[u8])], policy: &TrustPolicy) -> Result<Metadata> {
    let folder = tempfile::tempdir().unwrap();
    let root = Root::at(folder.path());
    contents
        .iter()
        .for_each(|(path, bytes)| files::write(&root.path(path), bytes, 0o600).unwrap());
    gather(&root, policy, &|_, _| panic!("no network"))
}

#[test]
fn a_machine_without_evidence_has_no_platform_and_asks_no_service() {
    let metadata = gathered(&[("/sys/class/dmi/id/sys_vendor", b"Dell Inc.\n")], None).unwrap();
    assert!(
        metadata.platform.is_none() && metadata.user_data.is_none() && metadata.facts == Facts::default()
    );
}

#[test]
fn what_is_named_from_outside_comes_before_the_platforms_user_data() {
    let metadata = gathered(&[(FW_CFG, CONFIG)], None).unwrap();
    assert_eq!(metadata.user_data.as_ref().map(|(source, _)| *source), Some("qemu"));
    let metadata = gathered(&[(FW_CFG, CONFIG), (ETC, CONFIG)], None).unwrap();
    assert_eq!(metadata.user_data.as_ref().map(|(source, _)| *source), Some("file"));
    assert_eq!(metadata.facts.text("platform"), Some("qemu"));
    assert!(metadata.notices[0].contains("the user data of qemu is not used"), "{:?}", metadata.notices);
}

#[test]
fn a_pin_decides_and_must_name_a_platform() {
    let both: &[(&str, &[u8])] = &[(FW_CFG, CONFIG), ("/proc/cmdline", b"quiet firstboot.platform=none")];
    assert!(gathered(both, None).unwrap().platform.is_none());
    assert_eq!(gathered(both, Some("qemu")).unwrap().platform.unwrap().name, "qemu");
    let failure = gathered(both, Some("qmeu")).unwrap_err();
    assert!(failure.message.contains("did you mean \"qemu\""), "{failure}");
}

#[test]
fn the_trust_policy_decides_what_is_accepted_from_whom() {
    let policy = |text: &str| TrustPolicy::parse(text.as_bytes()).unwrap();
    let both: &[(&str, &[u8])] = &[
        (FW_CFG, CONFIG),
        (ETC, CONFIG),
        ("/sys/class/dmi/id/product_uuid", b"4c4c4544-0042-3510-8052-b4c04f4e3232"),
    ];
    for (text, config, has_facts, notice) in [
        ("{}", Some("file"), true, Some("the user data of qemu is not used")),
        (r#"{"config": ["qemu"]}"#, Some("qemu"), true, None),
        (r#"{"config": ["nocloud"]}"#, None, true, Some("the user data of qemu is not accepted")),
        (
            r#"{"config": ["qemu"], "facts": []}"#,
            Some("qemu"),
            false,
            Some("the facts of qemu are not accepted"),
        ),
        (
            r#"{"config": ["file"], "facts": ["ec2"]}"#,
            Some("file"),
            false,
            Some("the facts of qemu are not accepted"),
        ),
        (r#"{"platform": "none", "config": ["qemu"]}"#, None, false, None),
    ] {
        let metadata = gathered_by(both, &policy(text)).unwrap();
        assert_eq!(metadata.user_data.as_ref().map(|(source, _)| *source), config, "{text}");
        assert_eq!(metadata.facts.text("instance-id").is_some(), has_facts, "{text}");
        let notices = &metadata.notices;
        assert_eq!(
            notices.first().map(|first| first.contains(notice.unwrap_or("nothing"))),
            notice.map(|_| true),
            "{text}: {notices:?}"
        );
    }
}

#[test]
fn templates_get_nothing_of_a_platform_whose_facts_are_not_accepted() {
    let seed: &[(&str, &[u8])] = &[
        ("/var/lib/cloud/seed/nocloud/meta-data", b"instance-id: i-1\nname: n1\n"),
        ("/var/lib/cloud/seed/nocloud/user-data", b"#cloud-config\n"),
    ];
    for (text, expected) in [("{}", Some("n1")), (r#"{"facts": ["ec2"]}"#, None)] {
        let metadata = gathered_by(seed, &TrustPolicy::parse(text.as_bytes()).unwrap()).unwrap();
        assert_eq!(metadata.instance_data.text("ds.meta_data.name").as_deref(), expected, "{text}");
        assert_eq!(metadata.instance_data.text("v1.instance_id").is_some(), expected.is_some(), "{text}");
    }
}
