//! Every way by which user-data comes to a machine: all sources and places of the agent, and all platforms of
//! the simulator.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use firstboot::host::kvp;
use testkit::documents::Documents;

use super::fixture::TAG;
use super::formats::PASSWORD;

/// The service of the one platform that is asked by name and with TLS.
pub const EQUINIX: &str = "metadata.platformequinix.com";
/// The simulated machine that is nothing but QEMU, without a service.
const BARE: &str = "nocloud-drive";
/// A pair of Hyper-V holds less.
const PAIR: usize = 2000;

/// Files with their paths.
pub type Files = Vec<(String, Vec<u8>)>;

/// The form in which the user data is stored.
pub enum Way {
    /// The simulator has it: a service, a file.
    Simulated,
    /// These files of the machine.
    Files(fn(&[u8]) -> Files),
    /// These words of the kernel command line.
    Words(fn(&[u8]) -> String),
    /// The drive that the simulator describes.
    Drive,
    /// A file system with this label and these files.
    Disk(&'static str, fn(&[u8]) -> Files),
    /// A disc that only its files tell.
    Disc(fn(&[u8]) -> Files),
    /// A server with TLS.
    Https(fn(&[u8]) -> Documents),
}

/// The origin of a machine's user data.
pub struct Source {
    pub name: &'static str,
    /// The agent's source or place.
    pub covers: &'static str,
    /// The simulator's platform.
    pub platform: &'static str,
    /// Values of the firmware that differ from the simulated platform's.
    pub firmware: &'static [(&'static str, &'static str)],
    /// On the kernel command line.
    pub words: &'static str,
    /// Whether it can hold text only; anything else is then put into base64.
    pub is_text: bool,
    pub way: Way,
}

const fn simulated(name: &'static str) -> Source {
    Source {
        name,
        covers: name,
        platform: name,
        firmware: &[],
        words: "",
        is_text: false,
        way: Way::Simulated,
    }
}

const fn on(name: &'static str, covers: &'static str, platform: &'static str, way: Way) -> Source {
    Source { name, covers, platform, firmware: &[], words: "", is_text: false, way }
}

const VMWARE: &[(&str, &str)] = &[("sys_vendor", "VMware, Inc."), ("product_name", "VMware7,1")];
const HYPERV: &[(&str, &str)] =
    &[("sys_vendor", "Microsoft Corporation"), ("product_name", "Virtual Machine")];
const NUTANIX: &[(&str, &str)] = &[("sys_vendor", "Nutanix"), ("product_name", "AHV")];
const METAL: &[(&str, &str)] = &[("sys_vendor", "Dell Inc."), ("product_name", "PowerEdge R650")];
const KUBEVIRT: &[(&str, &str)] = &[("sys_vendor", "KubeVirt"), ("product_name", "None")];

pub const SOURCES: &[Source] = &[
    simulated("akamai"),
    simulated("alibaba"),
    simulated("azure"),
    on(
        "azure-disc",
        "azure",
        "azure",
        Way::Disc(|bytes| vec![("CustomData.bin".to_owned(), bytes.to_vec())]),
    ),
    on(
        "azure-ovf",
        "azure",
        "azure",
        Way::Disc(|bytes| vec![("ovf-env.xml".to_owned(), azure_environment(bytes))]),
    ),
    simulated("cloudstack"),
    Source { is_text: true, ..simulated("digitalocean") },
    simulated("ec2"),
    on("equinix", "equinix", "equinix", Way::Https(equinix)),
    simulated("exoscale"),
    Source { is_text: true, ..simulated("gce") },
    simulated("hetzner"),
    simulated("maas"),
    Source { covers: "url", ..simulated("metal") },
    Source { words: "firstboot.config-sha256=${digest}", ..simulated("nocloud") },
    on("nocloud-drive", "nocloud", "nocloud-drive", Way::Drive),
    on("nocloud-folder", "nocloud", BARE, Way::Files(|bytes| seed("var/lib/cloud/seed/nocloud/", bytes))),
    simulated("openstack"),
    on("openstack-drive", "openstack", "openstack-drive", Way::Drive),
    Source { firmware: METAL, ..on("config-drive", "config-drive", "openstack-drive", Way::Drive) },
    simulated("oracle"),
    Source { covers: "qemu", ..simulated("qemu-fw-cfg") },
    simulated("scaleway"),
    simulated("tinkerbell"),
    Source { is_text: true, ..simulated("upcloud") },
    simulated("vultr"),
    Source { words: "firstboot.platform=proxmox", ..on("proxmox", "proxmox", "nocloud-drive", Way::Drive) },
    Source { firmware: KUBEVIRT, ..on("kubevirt", "kubevirt", "openstack-drive", Way::Drive) },
    Source { firmware: KUBEVIRT, ..on("kubevirt-nocloud", "kubevirt", "nocloud-drive", Way::Drive) },
    Source { firmware: NUTANIX, ..on("nutanix", "nutanix", "openstack-drive", Way::Drive) },
    Source { firmware: VMWARE, ..on("vmware-nocloud", "vmware", "nocloud-drive", Way::Drive) },
    Source { firmware: VMWARE, ..on("vmware-ovf", "vmware", BARE, Way::Disk("OVF-TRANSPORT", ovf)) },
    Source {
        firmware: HYPERV,
        is_text: true,
        ..on("hyperv", "hyperv", BARE, Way::Files(|bytes| pairs("firstboot.config", bytes)))
    },
    Source {
        firmware: HYPERV,
        is_text: true,
        ..on("hyperv-ignition", "hyperv", BARE, Way::Files(|bytes| pairs("ignition.config", bytes)))
    },
    Source { firmware: HYPERV, ..on("hyperv-nocloud", "hyperv", "nocloud-drive", Way::Drive) },
    Source { words: "firstboot.platform=metal", ..on("metal-inline", "inline", BARE, Way::Words(inline)) },
    simulated("file"),
    on(
        "file-in-run",
        "file",
        BARE,
        Way::Files(|bytes| vec![("run/firstboot/config.yaml".to_owned(), bytes.to_vec())]),
    ),
    on(
        "credential",
        "credential",
        BARE,
        Way::Files(|bytes| credential("run/credentials/@system/firstboot.config", bytes)),
    ),
    Source {
        is_text: true,
        ..on("smbios-text", "credential", BARE, Way::Files(|bytes| oem_string("", bytes)))
    },
    on(
        "smbios-binary",
        "credential",
        BARE,
        Way::Files(|bytes| oem_string(".binary", STANDARD.encode(bytes).as_bytes())),
    ),
    on(
        "fw-cfg-credential",
        "credential",
        BARE,
        Way::Files(|bytes| {
            credential(
                "sys/firmware/qemu_fw_cfg/by_name/opt/io.systemd.credentials/firstboot.config/raw",
                bytes,
            )
        }),
    ),
];

fn credential(path: &str, bytes: &[u8]) -> Files {
    vec![(path.to_owned(), bytes.to_vec())]
}

/// Beside what is taken stands what is not: a key.
fn seed(folder: &str, bytes: &[u8]) -> Files {
    let meta_data = format!("instance-id: i1\nlocal-hostname: n1\npublic-keys: ['{PASSWORD}']\n");
    vec![
        (format!("{folder}user-data"), bytes.to_vec()),
        (format!("{folder}meta-data"), meta_data.into_bytes()),
    ]
}

fn inline(bytes: &[u8]) -> String {
    format!("firstboot.config-inline={}", STANDARD.encode(bytes))
}

/// A structure of type 11 (DSP0134, 7.12) with a credential of systemd.
fn oem_string(kind: &str, value: &[u8]) -> Files {
    let string = [format!("io.systemd.credential{kind}:firstboot.config=").as_bytes(), value].concat();
    vec![(
        "sys/firmware/dmi/entries/11-0/raw".to_owned(),
        [b"\x0b\x05\x00\x00\x01", &string[..], b"\0\0"].concat(),
    )]
}

/// The pool of pairs that the host fills.
pub fn pairs(key: &str, bytes: &[u8]) -> Files {
    let text = std::str::from_utf8(bytes).expect("it is for text");
    let parts: Vec<char> = text.chars().collect();
    let record = |(number, part): (usize, &[char])| {
        kvp::record(&format!("{key}.{number}"), &part.iter().collect::<String>())
    };
    let pool = parts.chunks(PAIR).enumerate().flat_map(|part| record(part).expect("it fits"));
    vec![("var/lib/hyperv/.kvp_pool_0".to_owned(), pool.collect())]
}

fn ovf(bytes: &[u8]) -> Files {
    let text = format!(
        "<Environment xmlns=\"http://schemas.dmtf.org/ovf/environment/1\" xmlns:oe=\"http://schemas.dmtf.org/ovf/environment/1\"><PropertySection>\
         <Property oe:key=\"password\" oe:value=\"{PASSWORD}\"/><Property oe:key=\"user-data\" oe:value=\"{}\"/></PropertySection></Environment>",
        STANDARD.encode(bytes)
    );
    vec![("ovf-env.xml".to_owned(), text.into_bytes())]
}

fn azure_environment(bytes: &[u8]) -> Vec<u8> {
    let text = format!(
        "<Environment xmlns=\"http://schemas.dmtf.org/ovf/environment/1\" xmlns:wa=\"http://schemas.microsoft.com/windowsazure\">\
         <wa:ProvisioningSection><LinuxProvisioningConfigurationSet xmlns=\"http://schemas.microsoft.com/windowsazure\"><UserPassword>{PASSWORD}\
         </UserPassword><CustomData>{}</CustomData></LinuxProvisioningConfigurationSet></wa:ProvisioningSection></Environment>",
        STANDARD.encode(bytes)
    );
    text.into_bytes()
}

fn equinix(bytes: &[u8]) -> Documents {
    let metadata = format!(
        "{{\"id\": \"0d1e2f3a\", \"hostname\": \"n1\", \"customdata\": {{\"password\": \"{PASSWORD}\"}}, \
         \"tags\": [\"password={TAG}\", \"env:{TAG}\"], \"phone_home_url\": \"https://u:{PASSWORD}@{EQUINIX}/{PASSWORD}\", \
         \"user_state_url\": \"http://{EQUINIX}/{PASSWORD}?{PASSWORD}\"}}"
    );
    [("/metadata".to_owned(), metadata.into_bytes()), ("/userdata".to_owned(), bytes.to_vec())].into()
}
