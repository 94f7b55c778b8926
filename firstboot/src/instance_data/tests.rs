use serde_json::json;
use testkit::{Reply, TestServer};

use super::*;
use crate::host::files;
use crate::net::Deadline;
use crate::net::service::Protocol;
use crate::paths;

fn text(data: &InstanceData, path: &str) -> Option<String> {
    let mut steps = path.split('/');
    let root = steps.next().unwrap();
    let steps: Vec<Step> = steps
        .map(|step| step.parse().map_or_else(|_| Step::Attribute(step.to_owned()), Step::Index))
        .collect();
    match data.find(root, &steps).unwrap() {
        Found::Value(Value::String(text)) => Some(text),
        Found::Value(value) => Some(value.to_string()),
        Found::Missing { .. } => None,
    }
}

/// A machine that calls itself by this name.
fn machine(hostname: &str) -> (tempfile::TempDir, Root) {
    let folder = tempfile::tempdir().unwrap();
    let root = Root::at(folder.path());
    files::write(&root.path(paths::KERNEL_HOSTNAME), hostname.as_bytes(), 0o444).unwrap();
    (folder, root)
}

fn facts() -> Facts {
    let mut facts = Facts::default();
    for (name, value) in
        [("hostname", "n1.novalocal"), ("instance-id", "i-1"), ("zone", "nova"), ("platform", "openstack")]
    {
        facts.fact(name).add(value.to_owned(), "test");
    }
    facts
}

#[test]
fn each_name_space_has_its_own_host_name() {
    let document = json!({"hostname": "n1.novalocal", "name": "n1", "uuid": "u-1", "meta": {"a.b-c": "x"}});
    let mut data = InstanceData::new("openstack", document)
        .copied("hostname", "local-hostname")
        .beside("network_json", json!({"links": [{"id": "tap0"}]}));
    data.complete(&facts(), &machine("image").1);
    for (path, expected) in [
        ("ds/meta_data/local_hostname", Some("n1.novalocal")),
        ("ds/meta_data/local-hostname", Some("n1.novalocal")),
        ("ds/meta_data/name", Some("n1")),
        ("ds/meta_data/uuid", Some("u-1")),
        ("ds/meta_data/meta/a_b_c", Some("x")),
        ("ds/network_json/links/0/id", Some("tap0")),
        ("ds/meta_data/project", None),
        ("ds/name", None),
        ("v1/local_hostname", Some("n1")),
        ("v1/local-hostname", Some("n1")),
        ("local_hostname", Some("n1")),
        ("instance_id", Some("i-1")),
        ("availability_zone", Some("nova")),
        ("v1/cloud_name", Some("openstack")),
        ("v1/name", None),
        ("name", None),
    ] {
        assert_eq!(text(&data, path).as_deref(), expected, "{path}");
    }
    assert_eq!(data.text("v1.local_hostname").as_deref(), Some("n1"));
    assert_eq!((data.text("v1.nothing"), data.text("ds.meta_data"), data.text("")), (None, None, None));
}

#[test]
fn the_hosts_own_name_is_never_the_platforms() {
    let mut data = InstanceData::new("configdrive", json!({"name": "cl1-md-abc"}));
    let (_folder, root) = machine("kiln.example");
    data.complete(&Facts::default(), &root);
    let found =
        ["ds/meta_data/name", "ds/meta_data/local_hostname", "ds/meta_data/hostname", "local_hostname"];
    assert_eq!(
        found.map(|path| text(&data, path)),
        [Some("cl1-md-abc".to_owned()), None, None, Some("kiln".to_owned())]
    );
}

#[test]
fn the_cloud_has_cloud_inits_name() {
    for (source, meta_data, expected) in [
        ("ec2", json!({"region": "cn-north-1"}), ["aws", "aws-china", "ec2"]),
        ("ec2", json!({"region": "eu-west-1"}), ["aws", "aws", "ec2"]),
        ("nocloud", json!({}), ["unknown", "nocloud", "nocloud"]),
        ("nocloud", json!({"cloud-name": "Mine"}), ["mine", "mine", "nocloud"]),
        ("gce", json!({}), ["gce", "gce", "gce"]),
    ] {
        let mut data = InstanceData::new(source, meta_data);
        data.complete(&Facts::default(), &machine("").1);
        let found = ["v1/cloud_name", "v1/cloud_id", "v1/platform"].map(|path| text(&data, path));
        assert_eq!(found.map(Option::unwrap), expected, "{source}");
    }
}

#[test]
fn a_folder_is_read_key_by_key() {
    let answers = |line: &str| match line {
        "GET /m/" => Some("ami-id\nplacement/\nnetwork/\npublic-keys/\niam/\n"),
        "GET /m/ami-id" => Some("ami-1"),
        "GET /m/placement/" => Some("availability-zone\n"),
        "GET /m/placement/availability-zone" => Some("eu-1a"),
        "GET /m/network/" => Some("macs/\n"),
        "GET /m/network/macs/" => Some("06:0a/\n../\n"),
        "GET /m/network/macs/06:0a/" => Some("ips\n"),
        "GET /m/network/macs/06:0a/ips" => Some("10.0.0.1\n10.0.0.2"),
        "GET /m/public-keys/" => Some("0=my-key"),
        "GET /m/public-keys/0/openssh-key" => Some("ssh-ed25519 AAAA"),
        "GET /m/iam/" => Some("info\nsecurity-credentials/\n"),
        "GET /m/iam/info" => Some("{\"Code\": \"Success\"}"),
        "GET /m/iam/security-credentials/" => panic!("credentials are no instance data"),
        _ => None,
    };
    let server = TestServer::plain(move |request| match answers(&format!("GET {}", request.path)) {
        Some(text) => Reply::Text(200, String::new(), text.to_owned()),
        None => Reply::Text(404, String::new(), String::new()),
    });
    let deadline = Deadline::after(std::time::Duration::from_secs(10));
    let service = Service::new(&[&server.address.to_string()], Protocol::default(), deadline);
    let mut data = InstanceData::new("ec2", Value::Null).served("meta-data", service, "/m");
    data.complete(&facts(), &machine("").1);
    for (path, expected) in [
        ("ds/meta_data/ami_id", Some("ami-1")),
        ("ds/meta-data/ami-id", Some("ami-1")),
        ("ds/meta_data/placement/availability_zone", Some("eu-1a")),
        ("ds/meta_data/network/macs/06_0a/ips/1", Some("10.0.0.2")),
        ("ds/meta_data/public_keys/my_key", Some("ssh-ed25519 AAAA")),
        ("ds/meta_data/iam/info/Code", Some("Success")),
        ("ds/meta_data/iam/security_credentials", None),
        ("ds/meta_data/nothing", None),
        ("ds/meta_data/instance_id", Some("i-1")),
    ] {
        assert_eq!(text(&data, path).as_deref(), expected, "{path}");
    }
    assert_eq!(data.ssh_keys().unwrap(), ["ssh-ed25519 AAAA"]);
}

#[test]
fn user_data_and_secrets_are_not_kept() {
    let document =
        json!({"user_data": "canary", "admin_pass": "canary", "compute": [{"userData": "canary", "id": 1}]});
    let mut data = InstanceData::new("x", document);
    data.complete(&Facts::default(), &machine("").1);
    assert!(!format!("{data:?}").contains("canary"));
    assert_eq!(text(&data, "ds/meta_data/compute/0/id").as_deref(), Some("1"));
    for path in ["ds/meta_data/user_data", "ds/meta_data/admin_pass", "ds/meta_data/compute/0/userData"] {
        assert_eq!(text(&data, path), None, "{path}");
    }
}

#[test]
fn a_name_that_only_cloud_init_can_answer_is_refused_whatever_the_default() {
    let mut data = InstanceData::new("openstack", json!({"subplatform": "x"}));
    data.complete(&facts(), &machine("").1);
    let attribute = |key: &str| [Step::Attribute(key.to_owned())];
    for key in ["_beta_keys", "python_version", "subplatform", "system_platform"] {
        for failure in [data.find("v1", &attribute(key)), data.find(key, &[])] {
            let failure = failure.unwrap_err();
            assert_eq!(failure.kind, crate::error::ErrorKind::Config);
            assert!(failure.message.contains(key), "{failure}");
        }
    }
    for root in ["merged_cfg", "merged_system_cfg", "sys_info", "features"] {
        assert!(data.find(root, &attribute("uname")).is_err(), "{root}");
    }
    assert_eq!(text(&data, "ds/meta_data/subplatform").as_deref(), Some("x"));
    assert_eq!(text(&data, "v1/sys_info"), None);
}
