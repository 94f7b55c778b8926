//! The variables of Afterburn (<https://coreos.github.io/afterburn/usage/attributes/>), which Ignition configs
//! have `envsubst` fill in. Each platform has names of its own; they begin with `AFTERBURN_`, in older
//! releases with `COREOS_`.

use serde_json::Value;

use self::Origin::{Data, Ec2Data, Fact, Ip};
use crate::error::Result;
use crate::facts::{Facts, Scope};
use crate::instance_data::{Found, InstanceData, Step};

/// In front of every name.
const PREFIXES: &[&str] = &["AFTERBURN_", "COREOS_"];

/// Where a value comes from.
enum Origin {
    /// A fact.
    Fact(&'static str),
    /// A path in the instance data, below `ds.meta_data`.
    Data(&'static str),
    /// The same below `ds.ec2_metadata`.
    Ec2Data(&'static str),
    /// The addresses of a scope and a family (6 or 4), or of any scope. In a name that ends with `_`, the
    /// number of the address follows.
    Ip(Option<Scope>, u8),
}

const PRIVATE: Option<Scope> = Some(Scope::Private);
const PUBLIC: Option<Scope> = Some(Scope::Public);

/// The names of one platform: the agent's names of the platform, Afterburn's, and the variables.
struct Row(&'static [&'static str], &'static [&'static str], &'static [(&'static str, Origin)]);

const ROWS: &[Row] = &[
    Row(
        &["akamai"],
        &["AKAMAI"],
        &[
            ("INSTANCE_HOST_UUID", Data("host_uuid")),
            ("INSTANCE_ID", Data("id")),
            ("INSTANCE_LABEL", Data("label")),
            ("INSTANCE_REGION", Data("region")),
            ("INSTANCE_TYPE", Data("type")),
            ("IPV6_SLAAC", Ip(PUBLIC, 6)),
            ("PRIVATE_IPV4_", Ip(PRIVATE, 4)),
            ("PUBLIC_IPV4_", Ip(PUBLIC, 4)),
        ],
    ),
    Row(
        &["alibaba"],
        &["ALIYUN"],
        &[
            ("EIPV4", Data("eipv4")),
            ("HOSTNAME", Data("hostname")),
            ("IMAGE_ID", Data("image-id")),
            ("INSTANCE_ID", Fact("instance-id")),
            ("INSTANCE_TYPE", Fact("instance-type")),
            ("IPV4_PRIVATE", Ip(PRIVATE, 4)),
            ("IPV4_PUBLIC", Data("public-ipv4")),
            ("REGION_ID", Fact("region")),
            ("VPC_ID", Data("vpc-id")),
            ("ZONE_ID", Fact("zone")),
        ],
    ),
    Row(
        &["ec2"],
        &["AWS", "EC2"],
        &[
            ("HOSTNAME", Data("hostname")),
            ("PUBLIC_HOSTNAME", Data("public-hostname")),
            ("IPV4_LOCAL", Data("local-ipv4")),
            ("IPV4_PUBLIC", Data("public-ipv4")),
            ("IPV6", Data("ipv6")),
            ("AVAILABILITY_ZONE", Fact("zone")),
            ("AVAILABILITY_ZONE_ID", Fact("zone-id")),
            ("INSTANCE_ID", Fact("instance-id")),
            ("INSTANCE_TYPE", Fact("instance-type")),
            ("REGION", Fact("region")),
        ],
    ),
    Row(
        &["azure"],
        &["AZURE"],
        &[
            ("IPV4_DYNAMIC", Ip(PUBLIC, 4)),
            ("IPV4_VIRTUAL", Ip(PRIVATE, 4)),
            ("VMSIZE", Fact("instance-type")),
        ],
    ),
    Row(
        &["cloudstack"],
        &["CLOUDSTACK"],
        &[
            ("AVAILABILITY_ZONE", Data("availability-zone")),
            ("CLOUD_IDENTIFIER", Data("cloud-identifier")),
            ("HOSTNAME", Data("local-hostname")),
            ("INSTANCE_ID", Data("instance-id")),
            ("IPV4_LOCAL", Data("local-ipv4")),
            ("IPV4_PUBLIC", Data("public-ipv4")),
            ("LOCAL_HOSTNAME", Data("local-hostname")),
            ("PUBLIC_HOSTNAME", Data("public-hostname")),
            ("SERVICE_OFFERING", Data("service-offering")),
            ("VM_ID", Data("vm-id")),
        ],
    ),
    Row(
        &["digitalocean"],
        &["DIGITALOCEAN"],
        &[
            ("HOSTNAME", Fact("hostname")),
            ("IPV4_ANCHOR_0", Data("interfaces/public/0/anchor_ipv4/ip_address")),
            ("IPV4_PUBLIC_", Ip(PUBLIC, 4)),
            ("IPV4_PRIVATE_", Ip(PRIVATE, 4)),
            ("IPV6_PUBLIC_", Ip(PUBLIC, 6)),
            ("IPV6_PRIVATE_", Ip(PRIVATE, 6)),
            ("REGION", Fact("region")),
        ],
    ),
    Row(
        &["equinix"],
        &["PACKET"],
        &[
            ("HOSTNAME", Fact("hostname")),
            ("PLAN", Fact("instance-type")),
            ("IPV4_PUBLIC_", Ip(PUBLIC, 4)),
            ("IPV4_PRIVATE_", Ip(PRIVATE, 4)),
            ("IPV6_PUBLIC_", Ip(PUBLIC, 6)),
        ],
    ),
    Row(
        &["exoscale"],
        &["EXOSCALE"],
        &[
            ("AVAILABILITY_ZONE", Data("availability-zone")),
            ("CLOUD_IDENTIFIER", Data("cloud-identifier")),
            ("INSTANCE_ID", Data("instance-id")),
            ("LOCAL_IPV4", Data("local-ipv4")),
            ("PUBLIC_IPV4", Data("public-ipv4")),
            ("LOCAL_HOSTNAME", Data("local-hostname")),
            ("PUBLIC_HOSTNAME", Data("public-hostname")),
            ("SERVICE_OFFERING", Data("service-offering")),
            ("VM_ID", Data("vm-id")),
        ],
    ),
    Row(
        &["gce"],
        &["GCP", "GCE"],
        &[
            ("HOSTNAME", Fact("hostname")),
            ("IP_EXTERNAL_0", Ip(PUBLIC, 4)),
            ("IP_LOCAL_0", Ip(PRIVATE, 4)),
            ("MACHINE_TYPE", Fact("machine-type")),
        ],
    ),
    Row(
        &["hetzner"],
        &["HETZNER"],
        &[
            ("AVAILABILITY_ZONE", Fact("zone")),
            ("HOSTNAME", Fact("hostname")),
            ("INSTANCE_ID", Fact("instance-id")),
            ("PUBLIC_IPV4", Ip(PUBLIC, 4)),
            ("PUBLIC_IPV6", Ip(PUBLIC, 6)),
            ("PRIVATE_IPV4_", Ip(PRIVATE, 4)),
            ("REGION", Fact("region")),
        ],
    ),
    Row(
        &["kubevirt"],
        &["KUBEVIRT"],
        &[
            ("HOSTNAME", Fact("hostname")),
            ("INSTANCE_ID", Fact("instance-id")),
            ("INSTANCE_TYPE", Fact("instance-type")),
            ("IPV4", Ip(None, 4)),
            ("IPV6", Ip(None, 6)),
        ],
    ),
    Row(
        &["openstack", "config-drive"],
        &["OPENSTACK"],
        &[
            ("HOSTNAME", Fact("hostname")),
            ("IPV4_LOCAL", Ec2Data("local-ipv4")),
            ("IPV4_PUBLIC", Ec2Data("public-ipv4")),
            ("INSTANCE_ID", Ec2Data("instance-id")),
            ("INSTANCE_UUID", Fact("instance-id")),
            ("INSTANCE_TYPE", Fact("instance-type")),
        ],
    ),
    Row(
        &["oracle"],
        &["ORACLECLOUD"],
        &[
            ("AVAILABILITY_DOMAIN", Fact("availability-domain")),
            ("COMPARTMENT_ID", Fact("compartment")),
            ("FAULT_DOMAIN", Fact("fault-domain")),
            ("HOSTNAME", Fact("hostname")),
            ("INSTANCE_ID", Fact("instance-id")),
            ("INSTANCE_SHAPE", Fact("instance-type")),
            ("REGION_ID", Fact("region")),
        ],
    ),
    Row(
        &["proxmox"],
        &["PROXMOXVE"],
        &[
            ("HOSTNAME", Fact("hostname")),
            ("INSTANCE_ID", Fact("instance-id")),
            ("IPV4", Ip(None, 4)),
            ("IPV6", Ip(None, 6)),
        ],
    ),
    Row(
        &["scaleway"],
        &["SCALEWAY"],
        &[
            ("HOSTNAME", Fact("hostname")),
            ("INSTANCE_ID", Fact("instance-id")),
            ("INSTANCE_TYPE", Fact("instance-type")),
            ("PRIVATE_IPV4", Ip(PRIVATE, 4)),
            ("IPV4_PRIVATE", Ip(PRIVATE, 4)),
            ("PUBLIC_IPV4", Ip(PUBLIC, 4)),
            ("IPV4_PUBLIC", Ip(PUBLIC, 4)),
            ("PUBLIC_IPV6", Ip(PUBLIC, 6)),
            ("IPV6_PUBLIC", Ip(PUBLIC, 6)),
            ("ZONE_ID", Fact("zone")),
        ],
    ),
    Row(
        &["upcloud"],
        &["UPCLOUD"],
        &[("HOSTNAME", Fact("hostname")), ("INSTANCE_ID", Fact("instance-id")), ("REGION", Fact("region"))],
    ),
    Row(
        &["vultr"],
        &["VULTR"],
        &[
            ("HOSTNAME", Fact("hostname")),
            ("INSTANCE_ID", Data("instanceid")),
            ("REGION_CODE", Fact("region")),
        ],
    ),
    // Set by units in the user data: templates for vSphere and Proxmox have them filled from the platform's
    // metadata.
    Row(
        &[],
        &["CUSTOM"],
        &[
            ("HOSTNAME", Fact("hostname")),
            ("INSTANCE_ID", Fact("instance-id")),
            ("PROVIDER_ID", Fact("provider-id")),
            ("PUBLIC_IPV4", Ip(PUBLIC, 4)),
            ("PRIVATE_IPV4", Ip(PRIVATE, 4)),
            ("PUBLIC_IPV6", Ip(PUBLIC, 6)),
            ("PRIVATE_IPV6", Ip(PRIVATE, 6)),
        ],
    ),
];

/// The value of a variable such as `COREOS_EC2_HOSTNAME`; none if it has none on this platform. Fails if the
/// platform's service does.
pub fn value(name: &str, facts: &Facts, data: &InstanceData) -> Result<Option<String>> {
    let Some(name) = PREFIXES.iter().find_map(|prefix| name.strip_prefix(prefix)) else { return Ok(None) };
    let platform = facts.platform.value().map_or("", String::as_str);
    let rows = ROWS.iter().filter(|row| row.0.is_empty() || row.0.contains(&platform));
    for Row(_, prefixes, variables) in rows {
        let rest = |prefix: &&str| name.strip_prefix(*prefix)?.strip_prefix('_');
        let Some(rest) = prefixes.iter().find_map(rest) else { continue };
        for (variable, origin) in *variables {
            if let Some(number) = number(rest, variable) {
                return read(origin, number, facts, data);
            }
        }
    }
    Ok(None)
}

/// The number at the end of `name` if it is `variable`: 0 in a name without a number.
fn number(name: &str, variable: &str) -> Option<usize> {
    let rest = name.strip_prefix(variable)?;
    if variable.ends_with('_') { rest.parse().ok() } else { rest.is_empty().then_some(0) }
}

fn read(origin: &Origin, number: usize, facts: &Facts, data: &InstanceData) -> Result<Option<String>> {
    Ok(match origin {
        Fact(name) => facts.text(name).map(str::to_owned),
        Data(path) => in_data("meta_data", path, data)?,
        Ec2Data(path) => in_data("ec2_metadata", path, data)?,
        Ip(scope, family) => facts
            .addresses
            .value()
            .into_iter()
            .flatten()
            .filter(|address| scope.is_none_or(|scope| scope == address.scope))
            .filter(|address| address.ip.is_ipv6() == (*family == 6))
            .nth(number)
            .map(|address| address.ip.to_string()),
    })
}

fn in_data(part: &str, path: &str, data: &InstanceData) -> Result<Option<String>> {
    let step = |key: &str| key.parse().map_or_else(|_| Step::Item(key.to_owned()), Step::Index);
    let steps: Vec<Step> = [part].into_iter().chain(path.split('/')).map(step).collect();
    Ok(match data.find("ds", &steps)? {
        Found::Value(Value::String(text)) => Some(text).filter(|text| !text.is_empty()),
        Found::Value(Value::Number(number)) => Some(number.to_string()),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::facts::Address;

    #[test]
    fn each_platform_has_afterburns_names_for_its_facts() {
        let mut openstack = Facts::default();
        for (name, value) in [("platform", "openstack"), ("hostname", "n1.novalocal"), ("instance-id", "u-1")]
        {
            openstack.fact(name).add(value.to_owned(), "test");
        }
        let ip = |scope, ip: &str| Address { scope, ip: ip.parse().unwrap() };
        let addresses = vec![
            ip(Scope::Private, "10.0.0.1"),
            ip(Scope::Public, "203.0.113.1"),
            ip(Scope::Public, "2001:db8::1"),
            ip(Scope::Public, "203.0.113.2"),
        ];
        openstack.addresses.add(addresses.clone(), "test");
        let openstack_data =
            InstanceData::new("openstack", json!({})).beside("ec2_metadata", json!({"instance-id": "i-1"}));
        let mut akamai = Facts::default();
        akamai.platform.add("akamai".to_owned(), "test");
        akamai.addresses.add(addresses, "test");
        let akamai_data = InstanceData::new("akamai", json!({"id": 7, "label": "n2", "region": "eu"}));
        for (facts, data, name, expected) in [
            (&openstack, &openstack_data, "COREOS_OPENSTACK_HOSTNAME", Some("n1.novalocal")),
            (&openstack, &openstack_data, "COREOS_OPENSTACK_INSTANCE_UUID", Some("u-1")),
            (&openstack, &openstack_data, "AFTERBURN_OPENSTACK_INSTANCE_ID", Some("i-1")),
            (&openstack, &openstack_data, "AFTERBURN_OPENSTACK_IPV4_LOCAL", None),
            (&openstack, &openstack_data, "COREOS_CUSTOM_HOSTNAME", Some("n1.novalocal")),
            (&openstack, &openstack_data, "COREOS_CUSTOM_PUBLIC_IPV4", Some("203.0.113.1")),
            (&openstack, &openstack_data, "COREOS_CUSTOM_INSTANCE_ID", Some("u-1")),
            (&openstack, &openstack_data, "COREOS_EC2_HOSTNAME", None),
            (&openstack, &openstack_data, "COREOS_OPENSTACK_HOST", None),
            (&openstack, &openstack_data, "OPENSTACK_HOSTNAME", None),
            (&openstack, &openstack_data, "COREOS_", None),
            (&akamai, &akamai_data, "AFTERBURN_AKAMAI_INSTANCE_LABEL", Some("n2")),
            (&akamai, &akamai_data, "AFTERBURN_AKAMAI_INSTANCE_ID", Some("7")),
            (&akamai, &akamai_data, "AFTERBURN_AKAMAI_PUBLIC_IPV4_1", Some("203.0.113.2")),
            (&akamai, &akamai_data, "AFTERBURN_AKAMAI_IPV6_SLAAC", Some("2001:db8::1")),
            (&akamai, &akamai_data, "AFTERBURN_AKAMAI_PUBLIC_IPV4_", None),
            (&akamai, &akamai_data, "AFTERBURN_AKAMAI_PUBLIC_IPV4_9", None),
        ] {
            assert_eq!(value(name, facts, data).unwrap().as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn every_row_is_of_a_platform() {
        for Row(platforms, _, variables) in ROWS {
            assert!(!variables.is_empty());
            for name in *platforms {
                assert!(crate::platforms::ALL.iter().any(|platform| platform.name == *name), "{name}");
            }
        }
    }

    #[test]
    fn the_page_has_every_variable() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/userdata.md");
        let page = std::fs::read_to_string(page).unwrap();
        for Row(_, prefixes, variables) in ROWS {
            let begin = format!("| `{}_`", prefixes[0]);
            let line =
                page.lines().find(|line| line.starts_with(&begin)).unwrap_or_else(|| panic!("{begin}"));
            for (name, _) in *variables {
                let number = if name.ends_with('_') { "N" } else { "" };
                assert!(line.contains(&format!("`{name}{number}`")), "{begin}: {name}");
            }
        }
    }
}
