//! Machines of the platforms whose metadata is served over HTTP, with documents in the shape of the real
//! ones.

pub(super) const CONFIG: &str = "kind: JoinConfiguration\n";
pub(super) const ENCODED: &str = "a2luZDogSm9pbkNvbmZpZ3VyYXRpb24K";

/// A machine of a platform, its service, and what must come of it.
pub(super) struct Case {
    pub name: &'static str,
    pub smbios: &'static [(&'static str, &'static str)],
    pub answers: &'static [(&'static str, &'static str)],
    /// Headers that some request must have had.
    pub headers: &'static [(&'static str, &'static str)],
    pub facts: &'static [(&'static str, &'static str)],
    pub addresses: &'static [&'static str],
    pub requests: usize,
}

pub(super) const CASES: &[Case] = &[
    Case {
        name: "ec2",
        smbios: &[("sys_vendor", "Amazon EC2")],
        answers: &[
            ("PUT /latest/api/token", "T"),
            (
                "GET /2021-03-23/dynamic/instance-identity/document",
                r#"{"instanceId": "i-1", "region": "r", "availabilityZone": "ra", "instanceType": "m", "privateIp": "10.0.0.5", "x": null}"#,
            ),
            ("GET /2021-03-23/meta-data/local-hostname", "ip-10-0-0-5"),
            ("GET /2021-03-23/meta-data/ipv6", "2001:db8::5"),
            ("GET /2021-03-23/meta-data/autoscaling/target-lifecycle-state", "Warmed:Stopped"),
            ("GET /2021-03-23/meta-data/tags/instance/", "pool\n../x"),
            ("GET /2021-03-23/meta-data/tags/instance/pool", "workers"),
            ("GET /2021-03-23/user-data", CONFIG),
        ],
        headers: &[("x-aws-ec2-metadata-token", "T")],
        facts: &[
            ("instance-id", "i-1"),
            ("hostname", "ip-10-0-0-5"),
            ("region", "r"),
            ("zone", "ra"),
            ("instance-type", "m"),
            ("lifecycle", "Warmed:Stopped"),
        ],
        addresses: &["10.0.0.5 (private)", "2001:db8::5 (private)"],
        requests: 13,
    },
    Case {
        name: "gce",
        smbios: &[("product_name", "Google Compute Engine")],
        answers: &[(
            "GET /computeMetadata/v1/?recursive=true&alt=json",
            r#"{"instance": {"attributes": {"user-data": "a2luZDogSm9pbkNvbmZpZ3VyYXRpb24K", "user-data-encoding": "base64"}, "hostname": "n.c.p.internal",
            "id": 4520031799277581759, "name": "n", "machineType": "projects/1/machineTypes/n2", "zone": "projects/1/zones/europe-west4-a",
            "networkInterfaces": [{"ip": "10.0.0.5", "ipv6": ["2600:1900::5"], "accessConfigs": [{"externalIp": "203.0.113.6"}]}],
            "scheduling": {"preemptible": "TRUE"}, "tags": ["x"]}, "project": {"projectId": "p", "numericProjectId": 1}}"#,
        )],
        headers: &[("metadata-flavor", "Google")],
        facts: &[
            ("instance-id", "4520031799277581759"),
            ("name", "n"),
            ("project", "p"),
            ("zone", "europe-west4-a"),
            ("region", "europe-west4"),
            ("instance-type", "n2"),
        ],
        addresses: &["10.0.0.5 (private)", "2600:1900::5 (public)", "203.0.113.6 (public)"],
        requests: 1,
    },
    Case {
        name: "azure",
        smbios: &[
            ("chassis_asset_tag", "7783-7084-3265-9085-8269-3286-77"),
            ("product_uuid", "A4B8AA02-EF74-6E47-8182-F6D2BA4166A6"),
        ],
        answers: &[
            (
                "GET /metadata/instance?api-version=2021-08-01&extended=true",
                r#"{"compute": {"vmId": "02aab8a4-74ef-476e-8182-f6d2ba4166a6", "name": "vm", "osProfile": {"computerName": "host"}, "location": "WestEurope",
                "zone": "1", "vmSize": "D4", "priority": "Spot", "resourceId": "/subscriptions/S/resourceGroups/MyGroup/providers/Microsoft.Compute/virtualMachines/vm",
                "tagsList": [{"name": "pool", "value": "w"}]}, "network": {"interface": [{"ipv4": {"ipAddress": [{"privateIpAddress": "10.1.0.5",
                "publicIpAddress": ""}]}, "ipv6": {"ipAddress": []}}]}}"#,
            ),
            ("GET /metadata/instance/compute/userData?api-version=2021-01-01&format=text", ENCODED),
        ],
        headers: &[("metadata", "true")],
        facts: &[
            ("instance-id", "02aab8a4-74ef-476e-8182-f6d2ba4166a6"),
            ("hostname", "host"),
            ("zone", "westeurope-1"),
            ("region", "westeurope"),
            (
                "resource-id",
                "/subscriptions/S/resourceGroups/mygroup/providers/Microsoft.Compute/virtualMachines/vm",
            ),
            ("wireserver", "168.63.129.16"),
        ],
        addresses: &["10.1.0.5 (private)"],
        requests: 2,
    },
    Case {
        name: "openstack",
        smbios: &[("product_name", "OpenStack Nova")],
        answers: &[
            (
                "GET /openstack/latest/meta_data.json",
                r#"{"uuid": "u-1", "hostname": "n1", "availability_zone": "nova", "project_id": "p", "meta": {"k": "v"}}"#,
            ),
            ("GET /openstack/latest/network_data.json", r#"{"networks": [{"ip_address": "10.2.0.5"}]}"#),
            ("GET /latest/meta-data/instance-type", "m1"),
            ("GET /latest/meta-data/local-ipv4", "10.2.0.5"),
            ("GET /openstack/latest/user_data", CONFIG),
        ],
        headers: &[],
        facts: &[
            ("instance-id", "u-1"),
            ("hostname", "n1"),
            ("zone", "nova"),
            ("instance-type", "m1"),
            ("project", "p"),
        ],
        addresses: &["10.2.0.5 (private)"],
        requests: 6,
    },
    Case {
        name: "digitalocean",
        smbios: &[("sys_vendor", "DigitalOcean"), ("product_serial", "7")],
        answers: &[
            (
                "GET /metadata/v1.json",
                r#"{"droplet_id": 7, "hostname": "n1", "region": "nyc3", "tags": ["a"], "interfaces": {"public": [{"ipv4": {"ip_address": "203.0.113.8"},
                "anchor_ipv4": {"ip_address": "10.17.0.5"}, "ipv6": {"ip_address": "2604:a880::5"}}], "private": [{"ipv4": {"ip_address": "10.132.0.5"}}]}}"#,
            ),
            ("GET /metadata/v1/user-data", CONFIG),
        ],
        headers: &[],
        facts: &[("instance-id", "7"), ("hostname", "n1"), ("region", "nyc3")],
        addresses: &["10.132.0.5 (private)", "203.0.113.8 (public)", "2604:a880::5 (public)"],
        requests: 2,
    },
    Case {
        name: "hetzner",
        smbios: &[("sys_vendor", "Hetzner"), ("product_serial", "42")],
        answers: &[
            (
                "GET /hetzner/v1/metadata",
                "instance-id: 42\nhostname: n1\nregion: eu\navailability-zone: hel1-dc2\npublic-ipv4: 203.0.113.9\nlocal-ipv4: ''\nnetwork-config:\n  config:\n  - subnets:\n    - type: dhcp\n    - address: 2001:db8::1/64\n",
            ),
            ("GET /hetzner/v1/metadata/private-networks", "- ip: 10.3.0.5\n  alias_ips: []\n"),
            ("GET /hetzner/v1/userdata", CONFIG),
        ],
        headers: &[],
        facts: &[("instance-id", "42"), ("hostname", "n1"), ("region", "eu"), ("zone", "hel1-dc2")],
        addresses: &["10.3.0.5 (private)", "203.0.113.9 (public)", "2001:db8::1 (public)"],
        requests: 3,
    },
    Case {
        name: "vultr",
        smbios: &[("sys_vendor", "Vultr")],
        answers: &[
            (
                "GET /v1.json",
                r#"{"instance-v2-id": "v2", "instanceid": "1", "hostname": "n1", "region": {"regioncode": "AMS"}, "interfaces": [
                {"ipv4": {"address": "203.0.113.10", "additional": []}, "ipv6": {"address": "2001:19f0::5"}}, {"ipv4": {"address": "10.4.0.5"}, "ipv6": {}}]}"#,
            ),
            ("GET /latest/user-data", CONFIG),
        ],
        headers: &[("metadata-token", "cloudinit")],
        facts: &[("instance-id", "v2"), ("hostname", "n1"), ("region", "AMS")],
        addresses: &["203.0.113.10 (public)", "10.4.0.5 (private)", "2001:19f0::5 (public)"],
        requests: 2,
    },
    Case {
        name: "oracle",
        smbios: &[("chassis_asset_tag", "OracleCloud.com")],
        answers: &[
            (
                "GET /opc/v2/instance/",
                r#"{"id": "ocid1", "hostname": "n1", "canonicalRegionName": "eu-frankfurt-1", "region": "fra", "availabilityDomain": "q:FRA-AD-2",
                "shape": "VM", "freeformTags": {"pool": "w"}, "metadata": {"user_data": "a2luZDogSm9pbkNvbmZpZ3VyYXRpb24K"}}"#,
            ),
            (
                "GET /opc/v2/vnics/",
                r#"[{"privateIp": "10.6.0.5", "ipv6Addresses": ["2603::5"], "publicIp": ""}]"#,
            ),
        ],
        headers: &[("authorization", "Bearer Oracle")],
        facts: &[
            ("instance-id", "ocid1"),
            ("region", "eu-frankfurt-1"),
            ("zone", "FRA-AD-2"),
            ("instance-type", "VM"),
        ],
        addresses: &["10.6.0.5 (private)", "2603::5 (public)"],
        requests: 2,
    },
    Case {
        name: "exoscale",
        smbios: &[("product_name", "Exoscale Compute Platform")],
        answers: &[
            ("GET /1.0/meta-data/instance-id", "e-1"),
            ("GET /1.0/meta-data/local-hostname", "n1"),
            ("GET /1.0/meta-data/availability-zone", "ch-gva-2"),
            ("GET /1.0/meta-data/service-offering", "Medium"),
            ("GET /1.0/meta-data/local-ipv4", "203.0.113.12"),
            ("GET /1.0/meta-data/public-ipv4", "203.0.113.12"),
            ("GET /1.0/user-data", CONFIG),
        ],
        headers: &[],
        facts: &[
            ("instance-id", "e-1"),
            ("hostname", "n1"),
            ("zone", "ch-gva-2"),
            ("region", "ch-gva-2"),
            ("instance-type", "Medium"),
        ],
        addresses: &["203.0.113.12 (public)"],
        requests: 7,
    },
    Case {
        name: "cloudstack",
        smbios: &[("product_name", "CloudStack KVM Hypervisor")],
        answers: &[
            ("GET /latest/meta-data/instance-id", "c-1"),
            ("GET /latest/meta-data/local-hostname", "n1"),
            ("GET /latest/meta-data/availability-zone", "z"),
            ("GET /latest/meta-data/local-ipv4", "10.7.1.5"),
            ("GET /latest/user-data", CONFIG),
        ],
        headers: &[],
        facts: &[("instance-id", "c-1"), ("hostname", "n1"), ("zone", "z")],
        addresses: &["10.7.1.5 (private)"],
        requests: 7,
    },
    Case {
        name: "akamai",
        smbios: &[("sys_vendor", "Akamai")],
        answers: &[
            ("PUT /v1/token", "T"),
            (
                "GET /v1/instance",
                r#"{"id": 12, "label": "n1", "region": "us-ord", "type": "g6", "tags": ["a"]}"#,
            ),
            (
                "GET /v1/network",
                r#"{"ipv4": {"public": ["203.0.113.14/32"], "private": ["192.168.134.5/17"]}, "ipv6": {"slaac": "2600:3c06::b/128"}}"#,
            ),
            ("GET /v1/user-data", ENCODED),
        ],
        headers: &[("metadata-token", "T"), ("accept", "application/json")],
        facts: &[("instance-id", "12"), ("hostname", "n1"), ("region", "us-ord"), ("instance-type", "g6")],
        addresses: &["192.168.134.5 (private)", "203.0.113.14 (public)", "2600:3c06::b (public)"],
        requests: 4,
    },
    Case {
        name: "upcloud",
        smbios: &[("sys_vendor", "UpCloud"), ("product_uuid", "00322B68-0096-4042-9406-faad61922128")],
        answers: &[
            (
                "GET /metadata/v1.json",
                r#"{"instance_id": "00322b68-0096-4042-9406-faad61922128", "hostname": "n1", "region": "fi-hel2", "tags": [], "network": {"interfaces": [
                {"ip_addresses": [{"address": "203.0.113.15"}]}, {"ip_addresses": [{"address": "10.8.0.5"}]}]}}"#,
            ),
            ("GET /metadata/v1/user_data", CONFIG),
        ],
        headers: &[],
        facts: &[
            ("instance-id", "00322b68-0096-4042-9406-faad61922128"),
            ("region", "fi-hel2"),
            ("zone", "fi-hel2"),
        ],
        addresses: &["203.0.113.15 (public)", "10.8.0.5 (private)"],
        requests: 2,
    },
    Case {
        name: "alibaba",
        smbios: &[("product_name", "Alibaba Cloud ECS")],
        answers: &[
            ("PUT /latest/api/token", "T"),
            (
                "GET /latest/dynamic/instance-identity/document",
                r#"{"instance-id": "i-2", "region-id": "eu-central-1", "zone-id": "eu-central-1a", "instance-type": "g7", "private-ipv4": "10.9.0.5", "mac": "00:16:3e:0f:99:81"}"#,
            ),
            ("GET /latest/meta-data/hostname", "n1"),
            ("GET /latest/meta-data/network/interfaces/macs/00:16:3e:0f:99:81/ipv6s", "[2408:4321::5]"),
            ("GET /latest/user-data", CONFIG),
        ],
        headers: &[("x-aliyun-ecs-metadata-token", "T")],
        facts: &[
            ("instance-id", "i-2"),
            ("hostname", "n1"),
            ("region", "eu-central-1"),
            ("zone", "eu-central-1a"),
            ("instance-type", "g7"),
        ],
        addresses: &["10.9.0.5 (private)", "2408:4321::5 (public)"],
        requests: 8,
    },
];
