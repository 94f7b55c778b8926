//! Templates get the same values as from cloud-init: the distribution's package reads the metadata of the
//! same simulated machine with its own data source, and renders the same expressions. Host names are those
//! that it sets.

use std::ffi::OsStr;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use firstboot::host::root::Root;
use firstboot::instance_data::{Found, InstanceData};
use firstboot::metadata;
use firstboot::trust_policy::TrustPolicy;
use firstboot::userdata::bounds::Budget;
use firstboot::userdata::{Env, Trust, jinja, open};
use kiln_simulator::Simulation;
use kiln_tests::simulated::{self, Machine};
use kiln_tests::workspace;
use serde::de::DeserializeOwned;
use testkit::not_run;

const USER_DATA: &[u8] = b"#cloud-config\n";
/// The platforms of the simulator for which the packaged cloud-init has a data source.
const PLATFORMS: &[&str] = &[
    "alibaba",
    "azure",
    "cloudstack",
    "digitalocean",
    "ec2",
    "exoscale",
    "gce",
    "hetzner",
    "maas",
    "openstack",
    "oracle",
    "scaleway",
    "upcloud",
    "vultr",
];
const NOCLOUD: &str = "nocloud";

/// What every platform is asked, besides each value in its documents.
const COMMON: &[&str] = &[
    "ds.meta_data.local_hostname",
    "ds.meta_data['local-hostname']",
    "ds.meta_data.local_hostname.split('.')[0]",
    "ds.meta_data.instance_id",
    "ds.meta_data.hostname",
    "ds.meta_data.name",
    "ds.meta_data.uuid",
    "ds.meta_data.region",
    "ds.meta_data.nothing",
    "ds.meta_data.nothing.deeper",
    "ds.nothing",
    "local_hostname",
    "v1.local_hostname",
    "v1['local-hostname']",
    "instance_id",
    "v1.instance_id",
    "region",
    "v1.region",
    "availability_zone",
    "v1.availability_zone",
    "cloud_name",
    "v1.cloud_name",
    "v1.cloud_id",
    "v1.platform",
    "v1.machine",
    "v1.distro",
    "v1.distro_version",
    "v1.distro_release",
    "v1.kernel_release",
    "v1.variant",
    "v1.nothing",
    "nothing",
];

/// Expressions of the language, on the machine of EC2.
const LANGUAGE: &[&str] = &[
    "ds.meta_data.local_hostname.split('.')[1]",
    "ds.meta_data.local_hostname.split('.')[-1]",
    "ds.meta_data.local_hostname.split('.', 1)[1]",
    "ds.meta_data.local_hostname.split('.')[9]",
    "ds.meta_data.local_hostname.split()[0]",
    "ds.meta_data.local_hostname.upper()",
    "ds.meta_data.local_hostname.upper().lower()",
    "ds.meta_data.local_hostname.replace('.', '-')",
    "ds.meta_data.local_hostname[0]",
    "ds.meta_data.local_hostname[-1]",
    "ds.meta_data.local_hostname | upper",
    "ds.meta_data.local_hostname|upper|lower",
    "ds.meta_data.local_hostname | replace('.', '_')",
    "ds.meta_data.local_hostname | default('x')",
    "(ds.meta_data.local_hostname | replace('.', '-')).split('-')[1]",
    "(ds.meta_data.nothing | default(v1.instance_id)).split('-')[0]",
    "ds.meta_data.nothing | default('x')",
    "ds.meta_data.nothing | d('x')",
    "ds.meta_data.nothing | default",
    "ds.meta_data.nothing | default('')",
    "ds.meta_data.nothing | default(7)",
    "ds.meta_data.nothing | default(true)",
    "ds.meta_data.nothing | default(v1.nothing) | default('y')",
    "ds.meta_data.nothing | default(v1.nothing)",
    "ds.meta_data.nothing.deeper | default('x')",
    "ds.meta_data.nothing['deeper'] | default('x')",
    "ds.dynamic.instance_identity.document.kernelId | default('x', true)",
    "ds.dynamic.instance_identity.document.kernelId | default('x', boolean=true)",
    "ds['dynamic']['instance-identity']['document']['region']",
    "ds.dynamic['instance_identity'].document.region",
    "ds.meta_data.placement.availability_zone.split('-') | last",
    "ds.meta_data.placement.availability_zone.split('-') | first",
    "ds.meta_data.placement.availability-zone",
    "ds.meta_data[v1.nothing]",
    "ds.meta_data.network.interfaces.macs[ds.meta_data.mac]['vpc-id']",
    "'x'",
    "\"x\" | upper",
    "7",
    "true",
    "' x '.strip()",
    "' x ' | trim",
    "ds . meta_data . instance_id",
    "ds.meta_data [ 'instance-id' ]",
    "v1.region.split('')",
    "v1.region.",
    "",
];

/// What cloud-init evaluates and the agent refuses, and the words with which it names it.
const REFUSED: &[(&str, &str)] = &[
    ("v1.region ~ 'x'", "the sign ~"),
    ("v1.region + 'x'", "the sign +"),
    ("1 + 1", "the sign +"),
    ("v1.region[0:2]", "the sign :"),
    ("[1, 2][0]", "the sign ["),
    ("v1.region if true else 'x'", "the word if"),
    ("v1.region is defined", "the word is"),
    ("v1.region.title()", "a call of title"),
    ("range(3)", "a call of range"),
    ("v1.region | title", "the filter title"),
    ("v1.region | length", "the filter length"),
    ("ds.meta_data.placement", "is a mapping"),
    ("ds.meta_data.items", "ds.meta_data.items has no value"),
    ("ds.meta_data['keys']", "ds.meta_data.keys has no value"),
    ("v1.subplatform", "v1.subplatform is not supported"),
    ("subplatform | default('x')", "subplatform is not supported"),
    ("v1.system_platform", "v1.system_platform is not supported"),
    ("v1.python_version | default('x')", "v1.python_version is not supported"),
    ("sys_info.python | default('x')", "sys_info is not supported"),
    ("merged_cfg.syslog_fix_perms | default('x')", "merged_cfg is not supported"),
    ("none", "(None)"),
    ("ds.dynamic.instance_identity.document.kernelId | default('x')", "(None)"),
    ("ds.meta_data.nothing | default(\"it's\")", "would change the document"),
];

/// Where the agent differs on purpose: the platform, the expression (or, with `*` behind it, how it begins),
/// and the reason.
const DIFFERENT: &[(&str, &str, &str)] = &[
    ("*", "ds.meta_data.hostname", "the name that cloudbase-init gives to it is understood everywhere"),
    ("alibaba", "ds.meta_data.local_hostname*", "every platform has the names that most of them have"),
    ("alibaba", "ds.meta_data['local-hostname']", "likewise"),
    ("oracle", "ds.meta_data.*", "likewise; cloud-init has the document as ds, and its own metadata nowhere"),
    ("oracle", "ds.meta_data['local-hostname']", "likewise"),
    ("scaleway", "ds.meta_data.local_hostname*", "likewise"),
    ("scaleway", "ds.meta_data['local-hostname']", "likewise"),
    ("scaleway", "ds.meta_data.instance_id", "likewise"),
    ("digitalocean", "ds.meta_data.region", "the whole document is there, not a choice of its keys"),
    ("hetzner", "ds.meta_data.region", "likewise"),
    ("upcloud", "ds.meta_data.region", "likewise"),
    ("vultr", "ds.meta_data.interfaces[*", "aliases count in lists, too"),
    ("gce", "ds[\"meta_data\"][\"instance-data\"]", "the attributes are a mapping, as in later releases"),
    ("gce", "ds.meta_data.instance_data", "likewise"),
    ("gce", "ds[\"meta_data\"][\"project-data\"]", "likewise"),
    ("gce", "ds.meta_data.project_data", "likewise"),
    ("azure", "ds[\"meta_data\"][\"imds\"][\"compute\"][\"customData\"]", "user data is not kept"),
    ("azure", "ds.meta_data.imds.compute.customData", "likewise"),
    ("azure", "ds[\"meta_data\"][\"imds\"][\"compute\"][\"userData\"]", "likewise"),
    ("azure", "ds.meta_data.imds.compute.userData", "likewise"),
    ("oracle", "ds[\"metadata\"][\"user_data\"]", "likewise"),
    ("oracle", "ds.metadata.user_data", "likewise"),
    ("vultr", "ds[\"meta_data\"][\"user-data\"]", "likewise"),
    ("vultr", "ds.meta_data.user_data", "likewise"),
    ("vultr", "ds[\"meta_data\"][\"vendor-data\"]", "likewise"),
    ("vultr", "ds.meta_data.vendor_data", "likewise"),
    ("openstack", "ds[\"meta_data\"][\"random_seed\"]", "secrets are not kept"),
    ("openstack", "ds.meta_data.random_seed", "likewise"),
    (
        "ec2",
        "ds[\"dynamic\"][\"instance-identity\"][\"pkcs7\"]",
        "the signatures of the document are not read",
    ),
    ("ec2", "ds.dynamic.instance_identity.pkcs7", "likewise"),
    ("ec2", "ds[\"dynamic\"][\"instance-identity\"][\"rsa2048\"]", "likewise"),
    ("ec2", "ds.dynamic.instance_identity.rsa2048", "likewise"),
    ("ec2", "ds[\"dynamic\"][\"instance-identity\"][\"signature\"]", "likewise"),
    ("ec2", "ds.dynamic.instance_identity.signature", "likewise"),
    (
        "ec2",
        "ds[\"meta-data\"][\"ami-manifest-path\"]",
        "signs of YAML and the shell are refused: a fact may end as an argument",
    ),
    ("ec2", "ds.meta_data.ami_manifest_path", "likewise"),
    ("ec2", "ds[\"meta-data\"][\"events\"][\"maintenance\"]*", "likewise"),
    ("ec2", "ds.meta_data.events.maintenance.*", "likewise"),
    ("azure", "ds[\"meta_data\"][\"imds\"][\"compute\"][\"tags\"]", "likewise"),
    ("azure", "ds.meta_data.imds.compute.tags", "likewise"),
    ("ec2", "ds[\"_metadata_api_version\"]", "it is cloud-init's own"),
    ("ec2", "ds._metadata_api_version", "likewise"),
    ("nocloud", "ds[\"meta_data\"][\"dsmode\"]", "likewise"),
    ("nocloud", "ds.meta_data.dsmode", "likewise"),
];

/// The value that the agent gives to an expression; the message where it gives none.
fn ours(expression: &str, data: &InstanceData) -> Result<String, String> {
    let template = format!("## template: jinja\n<{{{{ {expression} }}}}>");
    let names = |root: &str, steps: &[_]| data.find(root, steps);
    let rendered = jinja::render(&template, &names, &Budget::default()).map_err(|failure| failure.message)?;
    jinja::check(&rendered.text, &rendered.missing).map_err(|failure| failure.message)?;
    let text = String::from_utf8(rendered.text.to_vec()).unwrap();
    Ok(text.strip_prefix('<').and_then(|text| text.strip_suffix('>')).unwrap().to_owned())
}

/// What cloud-init makes of these texts.
fn asked<T: DeserializeOwned>(arguments: &[&OsStr], texts: &[&str]) -> T {
    let mut child = Command::new(workspace::root().join("tests/instance-data/cloud-init"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let input = serde_json::to_vec(texts).unwrap();
    child.stdin.take().unwrap().write_all(&input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{arguments:?}: see above");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The values that cloud-init gives to these expressions and to those of all values that it has.
fn theirs(platform: &str, root: &Path, expressions: &[&str]) -> Vec<(String, Option<String>)> {
    asked(&[OsStr::new(platform), root.as_os_str()], expressions)
}

/// A comparison that is not equal.
struct Difference {
    platform: &'static str,
    expression: String,
    theirs: Option<String>,
    ours: Result<String, String>,
}

impl Difference {
    fn shown(&self) -> String {
        format!("{}: {}: {:?}, here {:?}\n", self.platform, self.expression, self.theirs, self.ours)
    }

    /// Whether cloud-init writes None, or a value that would change the document around it.
    fn is_no_value(&self) -> bool {
        let refuses = self.ours.as_ref().is_err_and(|message| message.contains("would change the document"));
        self.theirs.as_ref().is_some_and(|value| {
            let is_odd = value.contains(['"', '\'', '{', '}', '\\', '#', '\n']) || value.ends_with(':');
            value == "None" || (refuses && is_odd)
        })
    }

    fn is(&self, row: &(&str, &str, &str)) -> bool {
        let (platform, expression, _) = row;
        let is_expression = match expression.strip_suffix('*') {
            Some(begin) => self.expression.starts_with(begin),
            None => self.expression == *expression,
        };
        is_expression && (*platform == "*" || *platform == self.platform)
    }
}

/// Gives the machine in `root` the distribution and the kernel of this machine, as cloud-init sees them.
fn add_system(root: &Path) {
    for path in ["etc/os-release", "proc/sys/kernel/osrelease"] {
        std::fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
        std::fs::write(root.join(path), std::fs::read(Path::new("/").join(path)).unwrap()).unwrap();
    }
}

/// Compares all expressions on the machine in `root`; returns how many they are, and the differences.
fn compare(platform: &'static str, root: &Path, expressions: &[&str]) -> (usize, Vec<Difference>) {
    add_system(root);
    let no_fetch = |url: &str, _| panic!("nothing names {url}");
    let found = metadata::gather(&Root::at(root), &TrustPolicy::default(), &no_fetch)
        .unwrap_or_else(|failure| panic!("{platform}: {failure}"));
    let answers = theirs(platform, root, expressions);
    let count = answers.len();
    let differences = answers.into_iter().filter_map(|(expression, theirs)| {
        let ours = ours(&expression, &found.instance_data);
        let is_same = theirs.as_ref() == ours.as_ref().ok();
        (!is_same).then_some(Difference { platform, expression, theirs, ours })
    });
    (count, differences.collect())
}

fn is_refused_by_name(difference: &Difference) -> bool {
    let row = REFUSED.iter().find(|row| row.0 == difference.expression);
    row.is_some_and(|row| difference.ours.as_ref().is_err_and(|message| message.contains(row.1)))
}

fn on_simulated(platform: &'static str) -> (usize, Vec<Difference>) {
    let simulation = Simulation::of(platform).user_data(USER_DATA).set("hostname", "n1.example.internal");
    let machine = Machine::start(simulation);
    machine.append("firstboot.source-deadline=20");
    let refused: Vec<&str> = REFUSED.iter().map(|row| row.0).collect();
    let language = if platform == "ec2" { [LANGUAGE, &refused].concat() } else { Vec::new() };
    compare(platform, machine.root(), &[COMMON, &language].concat())
}

/// A seed as Cluster API's provider for Metal3 makes the metadata.
fn on_nocloud() -> (usize, Vec<Difference>) {
    let folder = tempfile::tempdir().unwrap();
    let seed = folder.path().join("var/lib/cloud/seed/nocloud");
    std::fs::create_dir_all(&seed).unwrap();
    std::fs::create_dir_all(folder.path().join("sys/class/dmi/id")).unwrap();
    let meta_data = "instance-id: iid-1\nlocal-hostname: n1.example\nuuid: u-1\nname: node-1\nmetal3-name: m1\n\
        cloud-name: Mine\nregion: r1\na.b: dotted\nnumber: 7\nis-up: true\nlist: [a, {b: c}]\nnothing: null\n";
    std::fs::write(seed.join("meta-data"), meta_data).unwrap();
    std::fs::write(seed.join("user-data"), USER_DATA).unwrap();
    compare(NOCLOUD, folder.path(), COMMON)
}

fn has_cloud_init(test: &str) -> bool {
    let found = Command::new("/usr/bin/python3").args(["-c", "import cloudinit, jinja2"]).status();
    let is_there = found.is_ok_and(|status| status.success());
    if !is_there {
        not_run(test, "no cloud-init for /usr/bin/python3");
    }
    is_there
}

/// Parts of cloud-configs that set host names.
const HOST_NAMES: &[&str] = &[
    "{}",
    "hostname: a",
    "hostname: a.b",
    "hostname: a.b.c",
    "hostname: A.B",
    "fqdn: a",
    "fqdn: a.b.c",
    "hostname: a\nfqdn: b.c",
    "hostname: a.b\nfqdn: c.d",
    "hostname: a.b\nfqdn: c",
    "hostname: a.b.c\nprefer_fqdn_over_hostname: true",
    "fqdn: a.b.c\nprefer_fqdn_over_hostname: true",
    "hostname: a\nfqdn: b.c\nprefer_fqdn_over_hostname: true",
    "hostname: a.b\nfqdn: c.d\nprefer_fqdn_over_hostname: true",
    "hostname: a.b.c\nprefer_fqdn_over_hostname: false",
    "hostname: a\nfqdn: b.c\nprefer_fqdn_over_hostname: false",
    "hostname: a\nprefer_fqdn_over_hostname: true",
    "hostname: ''\nfqdn: b.c",
    "hostname: a\nfqdn: ''",
    "hostname: a\nfqdn: ''\nprefer_fqdn_over_hostname: true",
    "prefer_fqdn_over_hostname: true",
    "hostname: a\npreserve_hostname: true",
    "hostname: a\npreserve_hostname: false",
    "fqdn: a.b\npreserve_hostname: true",
];

#[test]
fn host_names_are_those_that_cloud_init_sets() {
    if !has_cloud_init("host_names_are_those_that_cloud_init_sets") {
        return;
    }
    let theirs: Vec<Option<String>> = asked(&[OsStr::new("host-names")], HOST_NAMES);
    for (text, theirs) in HOST_NAMES.iter().zip(theirs) {
        let join = "apiVersion: kubeadm.k8s.io/v1beta4, kind: JoinConfiguration";
        let files =
            format!("write_files: [{{path: /k, content: '{{{join}}}'}}]\nruncmd: [kubeadm join --config /k]");
        let text = if *text == "{}" { "" } else { text };
        let env = Env {
            trust: &Trust::Any,
            names: &|_, _| Ok(Found::Missing { is_last: true, known: Vec::new() }),
            lookup: &|_| None,
            fetch: &|_| panic!("there is no pointer"),
            follow: &|_| Ok(None),
        };
        let opened = open(format!("#cloud-config\n{text}\n{files}\n").as_bytes(), None, &env);
        let hostname = opened.unwrap_or_else(|failure| panic!("{text}: {failure}")).hostname;
        assert_eq!(hostname, theirs, "{text}");
    }
}

#[test]
fn templates_get_the_values_that_cloud_init_gives() {
    const NAME: &str = "templates_get_the_values_that_cloud_init_gives";
    if !has_cloud_init(NAME) || !simulated::can_start(NAME) {
        return;
    }
    let machines = PLATFORMS.iter().map(|platform| std::thread::spawn(|| on_simulated(platform)));
    let machines: Vec<_> = machines.chain([std::thread::spawn(on_nocloud)]).collect();
    let (mut count, mut differences) = (0, Vec::new());
    for machine in machines {
        let (compared, different) = machine.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        count += compared;
        differences.extend(different);
    }
    let unknown: Vec<String> = differences
        .iter()
        .filter(|difference| !difference.is_no_value() && !is_refused_by_name(difference))
        .filter(|difference| !DIFFERENT.iter().any(|row| difference.is(row)))
        .map(Difference::shown)
        .collect();
    assert!(unknown.is_empty(), "{} of {count}:\n{}", unknown.len(), unknown.concat());
    for (expression, _) in REFUSED {
        let is_refused = differences.iter().any(|difference| difference.expression == *expression);
        assert!(is_refused, "no longer refused: {expression}");
    }
    for row in DIFFERENT {
        assert!(differences.iter().any(|difference| difference.is(row)), "no longer different: {row:?}");
    }
    assert!(count > 500, "{count}");
}
