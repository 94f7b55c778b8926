use std::collections::BTreeMap;

use super::node_ip::Addresses;
use super::variables::variables;
use super::*;
use crate::config::model::NodeIp;
use crate::config::{HostDefaults, parse};
use crate::facts::{Address, Scope};
use crate::host::files;
use crate::host::root::Root;
use crate::platforms::{Platform, PlatformData, ReadContext};

const JOIN: &str = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: JoinConfiguration\ndiscovery: {bootstrapToken: {apiServerEndpoint: 'api.example:6443', token: 'abcdef.0123456789abcdef', unsafeSkipCAVerification: true}}\n";
const AGENT: &str = "---\napiVersion: firstboot.kiln/v1\nkind: FirstbootConfiguration\n";

fn nothing(_: &mut ReadContext) -> Result<PlatformData> {
    Ok(PlatformData::default())
}

static PLATFORM: Platform = Platform {
    provider_id: Some("x://${zone}/${instance-id}"),
    node_name: Some("${hostname}"),
    ..Platform::named("x", nothing)
};

fn address(text: &str) -> Address {
    let (scope, ip) = text.split_once(' ').unwrap();
    Address {
        scope: if scope == "private" { Scope::Private } else { Scope::Public },
        ip: ip.parse().unwrap(),
    }
}

fn facts(texts: &[(&'static str, &str)], addresses: &[&str], tags: &[(&str, &str)]) -> Facts {
    let mut facts = Facts::default();
    texts.iter().for_each(|(name, value)| facts.fact(name).add((*value).to_owned(), "test"));
    facts.addresses.add(addresses.iter().map(|text| address(text)).collect(), "test");
    let tags: BTreeMap<String, String> =
        tags.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    facts.tags.add(tags, "test");
    facts
}

fn root() -> (tempfile::TempDir, Root) {
    let folder = tempfile::tempdir().unwrap();
    let root = Root::at(folder.path());
    (folder, root)
}

/// The config in `text`, completed.
fn enriched(text: &str, facts: &Facts, interfaces: &[&str]) -> Result<(NodeConfig, Vec<String>)> {
    let (_folder, root) = root();
    let mut config = parse(text.as_bytes(), &HostDefaults { hostname: "host".to_owned() })?;
    let interfaces = interfaces.iter().map(|ip| ip.parse().unwrap()).collect();
    let known = KnownFacts {
        kubelet: None,
        facts,
        source: Some(&PLATFORM),
        variables: variables(facts, &root),
        interfaces: Some(interfaces),
    };
    let notices = enrich(&mut config, &known)?;
    Ok((config, notices))
}

fn arguments(config: &NodeConfig) -> Vec<String> {
    config
        .from_facts
        .iter()
        .map(|argument| format!("{}={}", argument.name, argument.value))
        .collect()
}

#[test]
fn a_plain_config_on_a_machine_without_facts_stays_as_it_is() {
    let (config, notices) =
        enriched(JOIN, &facts(&[("instance-id", "i1")], &[], &[]), &["10.0.0.1"]).unwrap();
    assert_eq!((config.join.node.name.as_str(), arguments(&config)), ("host", Vec::new()));
    assert_eq!(notices, ["no provider-id: the zone of this machine is not known"]);
}

#[test]
fn facts_become_arguments_and_the_users_words_win() {
    let known = facts(
        &[("instance-id", "i-1"), ("zone", "r1-a"), ("region", "r1"), ("instance-type", "big one")],
        &["private 10.0.0.5", "public 203.0.113.5"],
        &[],
    );
    let (config, notices) = enriched(JOIN, &known, &["127.0.0.1", "10.0.0.5"]).unwrap();
    let labels = "node-labels=node.kubernetes.io/instance-type=big-one,topology.kubernetes.io/region=r1,topology.kubernetes.io/zone=r1-a";
    assert_eq!(arguments(&config), ["node-ip=10.0.0.5", labels, "provider-id=x://r1-a/i-1"]);
    let cut =
        "the label node.kubernetes.io/instance-type is \"big-one\": it cannot hold all of instance-type";
    assert_eq!(notices, [cut]);

    let own = "nodeRegistration: {kubeletExtraArgs: [{name: node-ip, value: 10.9.9.9}, {name: provider-id, value: mine}, {name: node-labels, value: 'topology.kubernetes.io/zone=z,a=b'}]}\n";
    let (config, _) = enriched(&format!("{JOIN}{own}"), &known, &["10.0.0.5"]).unwrap();
    assert_eq!(
        arguments(&config),
        ["node-labels=node.kubernetes.io/instance-type=big-one,topology.kubernetes.io/region=r1"]
    );
    let kubelet =
        "---\napiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nproviderID: mine\n";
    let off = "nodeIP: none\nnodeLabels: {topology: false}\n";
    let (config, _) = enriched(&format!("{JOIN}{kubelet}{AGENT}{off}"), &known, &["10.0.0.5"]).unwrap();
    assert_eq!(arguments(&config), Vec::<String>::new());
}

#[test]
fn the_provider_id_is_the_configs_then_the_platforms_then_the_sources() {
    let with = |texts: &[(&'static str, &str)]| facts(texts, &[], &[]);
    let own = format!("{JOIN}{AGENT}providerID: 'y://${{instance-id}}'\n");
    for (text, known, expected) in [
        (own.as_str(), with(&[("instance-id", "1"), ("provider-id", "z://1")]), Some("provider-id=y://1")),
        (
            JOIN,
            with(&[("instance-id", "1"), ("zone", "a"), ("provider-id", "z://1")]),
            Some("provider-id=z://1"),
        ),
        (JOIN, with(&[("instance-id", "1"), ("zone", "a")]), Some("provider-id=x://a/1")),
        (JOIN, with(&[("instance-id", "1"), ("provider-id", "has blank")]), None),
    ] {
        let (config, _) = enriched(text, &known, &[]).unwrap();
        assert_eq!(
            arguments(&config)
                .into_iter()
                .find(|argument| argument.starts_with("provider"))
                .as_deref(),
            expected
        );
    }
    let failure = enriched(&own, &with(&[]), &[]).unwrap_err();
    assert_eq!(failure.message, "providerID: the instance-id of this machine is not known");
    for (template, expected) in [
        ("y://${instance_id}", "no fact is called \"instance_id\"; did you mean \"instance-id\"?"),
        ("y://${nonsense}", "there are hostname, instance-id"),
        ("y://${uuid", "does not end with }"),
    ] {
        let failure =
            enriched(&format!("{JOIN}{AGENT}providerID: '{template}'\n"), &with(&[]), &[]).unwrap_err();
        assert!(failure.message.contains(expected), "{template}: {failure}");
    }
}

/// The rule, among others for DigitalOcean, whose first interface also has the anchor address of a floating
/// IP (here 10.19.0.5).
#[test]
fn the_nodes_address_follows_the_rule() {
    let droplet = ["public 203.0.113.5", "private 10.110.0.2", "public 2001:db8::5"];
    let interfaces = ["203.0.113.5", "10.19.0.5", "10.110.0.2", "2001:db8::5"];
    let public_only = ["public 203.0.113.5"];
    let linked = ["private 169.254.3.4", "private fe80::1"];
    let v6 = ["private fd00::5", "public 203.0.113.5"];
    for (wish, platform, interfaces, is_v6, expected) in [
        (NodeIp::Auto, &droplet[..], &interfaces[..], None, Some("10.110.0.2")),
        (NodeIp::Auto, &droplet, &interfaces, Some(true), Some("2001:db8::5")),
        (NodeIp::Auto, &droplet, &["203.0.113.5", "10.19.0.5"], None, Some("203.0.113.5")),
        (NodeIp::Auto, &public_only, &["203.0.113.5", "10.19.0.5"], None, Some("203.0.113.5")),
        (NodeIp::Auto, &droplet, &["192.168.0.1"], None, None),
        (NodeIp::Auto, &[], &interfaces, None, None),
        (NodeIp::Auto, &linked, &["169.254.3.4", "fe80::1"], None, None),
        (NodeIp::Auto, &v6, &["fd00::5"], None, Some("fd00::5")),
        (NodeIp::Public, &droplet, &interfaces, None, Some("203.0.113.5")),
        (NodeIp::Private, &droplet, &interfaces, Some(true), Some("10.110.0.2")),
        (NodeIp::None, &droplet, &interfaces, None, None),
        (NodeIp::Address("192.0.2.1".parse().unwrap()), &droplet, &interfaces, None, Some("192.0.2.1")),
    ] {
        let platform: Vec<Address> = platform.iter().map(|text| address(text)).collect();
        let interfaces: Vec<IpAddr> = interfaces.iter().map(|text| text.parse().unwrap()).collect();
        let interfaces = Some(&interfaces[..]);
        let known = Addresses { platform: &platform, interfaces, is_v6, cloud_provider: "", kubelet: None };
        let found = node_ip::choose(wish, &known, &mut Vec::new()).unwrap();
        assert_eq!(found.as_deref(), expected, "{wish:?} {platform:?} {interfaces:?}");
    }
    let unseen = |wish, text: &str| {
        let platform = [address(text)];
        let known = Addresses {
            platform: &platform,
            interfaces: None,
            is_v6: None,
            cloud_provider: "",
            kubelet: None,
        };
        node_ip::choose(wish, &known, &mut Vec::new())
    };
    let failure = unseen(NodeIp::Private, "public 203.0.113.5").unwrap_err();
    assert!(failure.message.contains("nodeIP: private"), "{failure}");
    assert!(unseen(NodeIp::Auto, "private 10.0.0.1").unwrap().is_some());
    assert!(unseen(NodeIp::Auto, "public 203.0.113.5").unwrap().is_none());
}

#[test]
fn no_family_is_taken_from_the_node() {
    let platform = ["private 10.0.0.5", "private fd00::5"].map(address);
    let both = NodeIp::parse("fd00::9, 10.0.0.9").unwrap();
    let (v4, v4_first, v6_first) = (Some("10.0.0.5"), Some("10.0.0.5,fd00::5"), Some("fd00::5,10.0.0.5"));
    for (wish, cloud_provider, version, is_v6, expected) in [
        (NodeIp::Auto, "", "1.21.0", None, v4_first),
        (NodeIp::Auto, "", "1.36.2", Some(true), v6_first),
        (NodeIp::Auto, "", "1.20.2", None, v4),
        (NodeIp::Auto, "external", "1.36.2", None, None),
        (NodeIp::Auto, "external", "1.20.2", None, None),
        (NodeIp::Private, "external", "1.29.0", None, v4_first),
        (NodeIp::Private, "external", "1.28.9", None, v4),
        (NodeIp::Private, "aws", "1.25.0", None, v4),
        (both, "", "1.36.2", None, Some("fd00::9,10.0.0.9")),
    ] {
        let kubelet = version.parse().ok();
        let known = Addresses { platform: &platform, interfaces: None, is_v6, cloud_provider, kubelet };
        let found = node_ip::choose(wish, &known, &mut Vec::new()).unwrap();
        assert_eq!(found.as_deref(), expected, "{wish:?} {cloud_provider} {version}");
        if cloud_provider == "external" && version == "1.28.9" {
            let refused = node_ip::choose(both, &known, &mut Vec::new()).unwrap_err();
            assert!(refused.message.ends_with("takes only one address with --cloud-provider"), "{refused}");
        }
    }
    for wrong in ["10.0.0.5,10.0.0.6", "10.0.0.5,", "10.0.0.5,fd00::5,fd00::6", "auto,10.0.0.5"] {
        assert_eq!(NodeIp::parse(wrong), None, "{wrong}");
    }
}

#[test]
fn the_family_of_the_api_endpoint_counts() {
    let known = facts(&[], &["private 10.0.0.5", "private fd00::5"], &[]);
    for (endpoint, expected) in [
        ("[fd00::1]:6443", "node-ip=fd00::5"),
        ("10.0.0.1:6443", "node-ip=10.0.0.5"),
        ("a:6443", "node-ip=10.0.0.5"),
    ] {
        let (config, _) =
            enriched(&JOIN.replace("api.example:6443", endpoint), &known, &["10.0.0.5", "fd00::5"]).unwrap();
        assert_eq!(arguments(&config), [expected], "{endpoint}");
    }
}

#[test]
fn chosen_tags_become_labels() {
    let tags = [
        ("pool", "gpu"),
        ("k8s-team", "a b/c"),
        ("k8s-owner", ""),
        ("secret", "x"),
        ("node-role.kubernetes.io/worker", ""),
        ("node.kubernetes.io/tier", "1"),
        ("example.com/a/b", "v"),
        ("ünïcode", "ü"),
        ("::", "x"),
    ];
    let known = facts(&[("zone", "z")], &[], &tags);
    let wish = "nodeLabels: {topology: false, tags: [pool, 'k8s-*', 'node*', 'example.com/*', 'ünïcode', '::'], labels: {example.com/at: '${zone}', b: '${region}'}}\n";
    let (config, notices) = enriched(&format!("{JOIN}{AGENT}{wish}"), &known, &[]).unwrap();
    let expected = "node-labels=example.com/a-b=v,example.com/at=z,k8s-owner=,k8s-team=a-b-c,n-code=,node.kubernetes.io/tier=1,pool=gpu";
    assert_eq!(arguments(&config), [expected]);
    for expected in [
        "no label b: the region",
        "no label node-role.kubernetes.io/worker",
        "the tag \"::\" is no label",
        "the label k8s-team is \"a-b-c\": it cannot hold all of the tag \"k8s-team\"",
    ] {
        assert!(notices.iter().any(|notice| notice.contains(expected)), "{expected}: {notices:?}");
    }
    for (wish, expected) in [
        ("{tags: ['']}", "a tag has a name"),
        ("{labels: {'a b': x}}", "no name of a label"),
        ("{labels: {kubernetes.io/role: x}}", "may not give itself"),
        ("{topolgy: true}", "did you mean \"topology\""),
    ] {
        let failure = enriched(&format!("{JOIN}{AGENT}nodeLabels: {wish}\n"), &known, &[]).unwrap_err();
        assert!(failure.message.contains(expected), "{wish}: {failure}");
    }
}

#[test]
fn a_node_is_called_by_the_config_the_platform_or_the_host() {
    let long = format!("n1.{}", "long-domain.".repeat(9));
    for (hostname, expected, notice) in [
        ("N1.Example.", Some("n1.example"), None),
        ("ip-1.ec2.internal corp.example", Some("ip-1.ec2.internal"), None),
        (long.as_str(), Some("n1"), Some("too long for a label")),
        ("under_score", None, Some("is not used")),
        ("localhost", None, None),
        ("", None, None),
    ] {
        let mut notices = Vec::new();
        let named = name::by_platform(&facts(&[("hostname", hostname)], &[], &[]), &PLATFORM, &mut notices);
        assert_eq!(named.as_deref(), expected, "{hostname}");
        assert_eq!(notices.len(), usize::from(notice.is_some()), "{notices:?}");
        assert!(notice.is_none_or(|notice| notices[0].contains(notice)), "{notices:?}");
    }
    let named = |template: &str, facts: &Facts| {
        enriched(
            &format!("{JOIN}nodeRegistration: {{name: other}}\n{AGENT}nodeName: '{template}'\n"),
            facts,
            &[],
        )
        .map(|(config, _)| config.node_name())
    };
    let known = facts(&[("instance-id", "I-1")], &[], &[]);
    assert_eq!(named("Node-${instance-id}", &known).as_deref(), Ok("node-i-1"));
    assert!(
        named("a_${instance-id}", &known)
            .unwrap_err()
            .message
            .contains("nodeName: name: Invalid value")
    );
    assert!(
        named("${zone}", &known)
            .unwrap_err()
            .message
            .contains("the zone of this machine is not known")
    );
}

#[test]
fn the_machine_itself_has_names_too() {
    let (_folder, root) = root();
    let uuid = "4C4C4544-0042-3510-8052-B4C04F4E3232";
    for (path, text) in [
        ("/sys/class/dmi/id/product_uuid", uuid),
        ("/sys/class/dmi/id/product_serial", "S1"),
        ("/proc/sys/kernel/hostname", "own"),
    ] {
        files::write(&root.path(path), text.as_bytes(), 0o600).unwrap();
    }
    let known = variables(&Facts::default(), &root);
    assert_eq!(
        template::expand("${uuid} ${serial} ${hostname} $x {y}", &known).unwrap(),
        format!("{} S1 own $x {{y}}", uuid.to_lowercase())
    );
    let known = variables(&facts(&[("hostname", "theirs"), ("project", "p")], &[], &[]), &root);
    assert_eq!(template::expand("${hostname}/${project}", &known).as_deref(), Ok("theirs/p"));
    assert_eq!(
        template::expand(&"x".repeat(1025), &known),
        Err(TemplateError::Text("the template is longer than 1024 characters".to_owned()))
    );
}

#[test]
fn the_hosts_own_name_is_in_no_provider_id_of_a_platform() {
    static BY_NAME: Platform =
        Platform { provider_id: Some("x://${hostname}"), ..Platform::named("x", nothing) };
    let (_folder, root) = root();
    files::write(&root.path("/proc/sys/kernel/hostname"), b"image", 0o444).unwrap();
    for (hostname, expected) in [(None, vec![]), (Some("theirs"), vec!["provider-id=x://theirs".to_owned()])]
    {
        let facts = facts(&hostname.map(|name| ("hostname", name)).into_iter().collect::<Vec<_>>(), &[], &[]);
        let mut config = parse(JOIN.as_bytes(), &HostDefaults { hostname: "host".to_owned() }).unwrap();
        let known = KnownFacts {
            kubelet: None,
            facts: &facts,
            source: Some(&BY_NAME),
            variables: variables(&facts, &root),
            interfaces: None,
        };
        enrich(&mut config, &known).unwrap();
        assert_eq!(arguments(&config), expected);
    }
}

#[test]
fn a_machine_of_openstack_is_called_without_its_domain() {
    let openstack = crate::platforms::ALL.iter().find(|platform| platform.name == "openstack").unwrap();
    let facts = facts(&[("hostname", "worker-7.novalocal")], &[], &[]);
    assert_eq!(name::by_platform(&facts, openstack, &mut Vec::new()).as_deref(), Some("worker-7"));
}

/// A platform, facts of a machine there, and the machine's provider-id.
type Machine = (&'static str, &'static [(&'static str, &'static str)], &'static str);

const MACHINES: &[Machine] = &[
    ("akamai", &[("instance-id", "43211234")], "linode://43211234"),
    ("alibaba", &[("region", "cn-h"), ("instance-id", "i-2zeg")], "cn-h.i-2zeg"),
    (
        "azure",
        &[(
            "resource-id",
            "/subscriptions/0-a/resourceGroups/Röhre_(a).b-1/providers/Microsoft.Compute/v/vm_0",
        )],
        "azure:///subscriptions/0-a/resourceGroups/Röhre_(a).b-1/providers/Microsoft.Compute/v/vm_0",
    ),
    ("cloudstack", &[("instance-id", "6b1c-0f")], "cloudstack:///6b1c-0f"),
    ("digitalocean", &[("instance-id", "2756294")], "digitalocean://2756294"),
    ("ec2", &[("zone", "eu-west-1a"), ("instance-id", "i-0abc")], "aws:///eu-west-1a/i-0abc"),
    ("equinix", &[("instance-id", "7d2c-1")], "equinixmetal://7d2c-1"),
    ("exoscale", &[("instance-id", "8a-b")], "exoscale://8a-b"),
    (
        "gce",
        &[("project", "example.com:p-1"), ("zone", "europe-west1-b"), ("name", "n-1")],
        "gce://example.com:p-1/europe-west1-b/n-1",
    ),
    ("hetzner", &[("instance-id", "42")], "hcloud://42"),
    ("kubevirt", &[("hostname", "vm-1")], "kubevirt://vm-1"),
    ("nutanix", &[("instance-id", "c0-ffee")], "nutanix://c0-ffee"),
    ("openstack", &[("instance-id", "5f0e-7a52")], "openstack:///5f0e-7a52"),
    ("oracle", &[("instance-id", "ocid1.instance.oc1.iad.an")], "oci://ocid1.instance.oc1.iad.an"),
    ("proxmox", &[("uuid", "aa-bb")], "proxmox://aa-bb"),
    ("scaleway", &[("zone", "fr-par-1"), ("instance-id", "11-22")], "scaleway://instance/fr-par-1/11-22"),
    ("upcloud", &[("instance-id", "00-c1")], "upcloud:////00-c1"),
    ("vmware", &[("uuid", "421c-00")], "vsphere://421c-00"),
    ("vultr", &[("instance-id", "cb-67")], "vultr://cb-67"),
    // Of these the platform's metadata has the whole provider-id.
    ("config-drive", &[("provider-id", "metal3://ns/host-0/machine.x")], "metal3://ns/host-0/machine.x"),
    ("nocloud", &[("provider-id", "ibm://acc///cluster/id_1")], "ibm://acc///cluster/id_1"),
];

#[test]
fn every_provider_id_of_a_platform_is_plain() {
    for platform in crate::platforms::ALL.iter().filter(|platform| platform.provider_id.is_some()) {
        assert!(MACHINES.iter().any(|(name, ..)| *name == platform.name), "{}", platform.name);
    }
    for (name, texts, expected) in MACHINES {
        let facts = facts(texts, &[], &[]);
        let (_folder, root) = root();
        let mut config = parse(JOIN.as_bytes(), &HostDefaults { hostname: "host".to_owned() }).unwrap();
        let mut variables = variables(&facts, &root);
        texts.iter().for_each(|(name, value)| variables.set(name, Some((*value).to_owned())));
        let source = crate::platforms::ALL.iter().copied().find(|platform| platform.name == *name);
        let known = KnownFacts { facts: &facts, source, variables, interfaces: None, kubelet: None };
        let notices = enrich(&mut config, &known).unwrap();
        let found = arguments(&config)
            .into_iter()
            .find_map(|text| Some(text.strip_prefix("provider-id=")?.to_owned()));
        assert_eq!(found.as_deref(), Some(*expected), "{name}: {notices:?}");
    }
}

#[test]
fn no_fact_that_a_shell_or_systemd_would_read_becomes_an_argument() {
    for hostile in [
        "x$(touch${IFS}f)",
        "`id`",
        "$HOME",
        "a;b",
        "a|b",
        "a&b",
        "a<b",
        "a>b",
        "a\\b",
        "a'b'",
        "a\"b",
        "a b",
        "a*",
        "a?",
        "[a]",
        "{a,b}",
        "a#b",
        "a!b",
        "a%b",
        "a\nb",
        "a\u{202e}b",
        "a\u{a0}b",
        "a\u{2028}b",
    ] {
        let texts =
            [("provider-id", hostile), ("instance-id", hostile), ("zone", hostile), ("region", hostile)];
        let all = facts(&texts, &[], &[("pool", hostile), (hostile, "v")]);
        let (config, notices) =
            enriched(&format!("{JOIN}{AGENT}nodeLabels: {{tags: ['*']}}\n"), &all, &[]).unwrap();
        assert!(
            notices.iter().any(|notice| notice.starts_with("no provider-id: ")),
            "{hostile:?}: {notices:?}"
        );
        let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./=,".contains(letter);
        for argument in &config.from_facts {
            assert!(argument.name == "node-labels" && argument.value.chars().all(is_plain), "{argument:?}");
        }
        let text = format!("{JOIN}{AGENT}providerID: 'x://${{instance-id}}'\n");
        assert_eq!(
            enriched(&text, &all, &[]).unwrap_err().kind,
            crate::error::ErrorKind::Config,
            "{hostile:?}"
        );
    }
}
