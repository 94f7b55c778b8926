//! The OVF descriptor (DSP0243 1.1.1, schema DSP8023), with what VMware's products add to it.

use schemars::JsonSchema;
use serde::Deserialize;

/// What a machine boots with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Firmware {
    /// UEFI
    #[default]
    Efi,
    /// BIOS: the disk must have a boot loader for it
    Bios,
}

/// What runs in the machine: devices of which it has drivers by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Guest {
    /// Any Linux.
    Linux,
    /// Windows Server, by the newest name that the oldest hardware knows. VMware's own devices have drivers
    /// only once VMware Tools are there.
    Windows,
}

impl Guest {
    /// The kind of operating system: its number (CIM_OperatingSystem.OSType), and VMware's name.
    const fn system(self) -> (u32, &'static str) {
        match self {
            Self::Linux => (101, "other3xLinux64Guest"),
            Self::Windows => (112, "windows2019srv_64Guest"),
        }
    }

    const fn disk_controller(self) -> &'static str {
        match self {
            Self::Linux => "VirtualSCSI",
            Self::Windows => "lsilogicsas",
        }
    }

    const fn network_card(self) -> &'static str {
        match self {
            Self::Linux => "VmxNet3",
            Self::Windows => "E1000e",
        }
    }
}

/// The values of a descriptor.
#[derive(Debug)]
pub(super) struct Machine<'a> {
    pub name: &'a str,
    /// Name of the disk's file.
    pub disk: &'a str,
    /// Its length.
    pub size: u64,
    /// Length of the disk.
    pub capacity: u64,
    pub cpus: u32,
    /// In MiB.
    pub memory: u32,
    pub hardware_version: u32,
    pub firmware: Firmware,
    pub guest: Guest,
}

/// The properties that the agent reads from the environment of a machine, with their labels.
const PROPERTIES: [(&str, &str, &str); 3] = [
    ("user-data", "User data", "Node config or cloud-config of this machine, in base64"),
    ("hostname", "Host name", "Name of this machine"),
    ("instance-id", "Instance ID", "A new value makes this machine a new one"),
];

/// Types of resources (CIM_ResourceAllocationSettingData.ResourceType).
mod resource {
    pub const PROCESSOR: u32 = 3;
    pub const MEMORY: u32 = 4;
    pub const SCSI: u32 = 6;
    pub const ETHERNET: u32 = 10;
    pub const DISK: u32 = 17;
}

/// The descriptor. Names of images are made of letters, digits, dots, `-` and `_`, so nothing is escaped.
pub(super) fn text(machine: &Machine<'_>) -> String {
    let &Machine { name, disk, size, capacity, cpus, memory, hardware_version, firmware, guest } = machine;
    let (system, system_name) = guest.system();
    let card = guest.network_card();
    let firmware = match firmware {
        Firmware::Efi => "efi",
        Firmware::Bios => "bios",
    };
    let items = [
        item(&[
            ("AllocationUnits", "hertz * 10^6"),
            ("Description", "Number of Virtual CPUs"),
            ("ElementName", &format!("{cpus} virtual CPU(s)")),
            ("InstanceID", "1"),
            ("ResourceType", &resource::PROCESSOR.to_string()),
            ("VirtualQuantity", &cpus.to_string()),
        ]),
        item(&[
            ("AllocationUnits", "byte * 2^20"),
            ("Description", "Memory Size"),
            ("ElementName", &format!("{memory}MB of memory")),
            ("InstanceID", "2"),
            ("ResourceType", &resource::MEMORY.to_string()),
            ("VirtualQuantity", &memory.to_string()),
        ]),
        item(&[
            ("Address", "0"),
            ("Description", "SCSI Controller"),
            ("ElementName", "SCSI Controller 0"),
            ("InstanceID", "3"),
            ("ResourceSubType", guest.disk_controller()),
            ("ResourceType", &resource::SCSI.to_string()),
        ]),
        item(&[
            ("AddressOnParent", "0"),
            ("ElementName", "Hard Disk 1"),
            ("HostResource", "ovf:/disk/vmdisk1"),
            ("InstanceID", "4"),
            ("Parent", "3"),
            ("ResourceType", &resource::DISK.to_string()),
        ]),
        item(&[
            ("AddressOnParent", "7"),
            ("AutomaticAllocation", "true"),
            ("Connection", "VM Network"),
            ("Description", &format!("{card} ethernet adapter on \"VM Network\"")),
            ("ElementName", "Ethernet 1"),
            ("InstanceID", "5"),
            ("ResourceSubType", card),
            ("ResourceType", &resource::ETHERNET.to_string()),
        ]),
    ]
    .concat();
    let properties: String = PROPERTIES
        .iter()
        .map(|(key, label, description)| {
            format!(
                "      <Property ovf:key=\"{key}\" ovf:type=\"string\" ovf:userConfigurable=\"true\" \
                 ovf:value=\"\">\n        <Label>{label}</Label>\n        \
                 <Description>{description}</Description>\n      </Property>\n"
            )
        })
        .collect();
    format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1"
    xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1"
    xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData"
    xmlns:vmw="http://www.vmware.com/schema/ovf"
    xmlns:vssd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData">
  <References>
    <File ovf:href="{disk}" ovf:id="file1" ovf:size="{size}"/>
  </References>
  <DiskSection>
    <Info>Virtual disk information</Info>
    <Disk ovf:capacity="{capacity}" ovf:capacityAllocationUnits="byte" ovf:diskId="vmdisk1"
        ovf:fileRef="file1"
        ovf:format="http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"/>
  </DiskSection>
  <NetworkSection>
    <Info>The list of logical networks</Info>
    <Network ovf:name="VM Network">
      <Description>The network of the nodes</Description>
    </Network>
  </NetworkSection>
  <VirtualSystem ovf:id="{name}">
    <Info>A Kubernetes node</Info>
    <Name>{name}</Name>
    <OperatingSystemSection ovf:id="{system}" vmw:osType="{system_name}">
      <Info>The kind of installed guest operating system</Info>
    </OperatingSystemSection>
    <VirtualHardwareSection ovf:transport="com.vmware.guestInfo">
      <Info>Virtual hardware requirements</Info>
      <System>
        <vssd:ElementName>Virtual Hardware Family</vssd:ElementName>
        <vssd:InstanceID>0</vssd:InstanceID>
        <vssd:VirtualSystemIdentifier>{name}</vssd:VirtualSystemIdentifier>
        <vssd:VirtualSystemType>vmx-{hardware_version}</vssd:VirtualSystemType>
      </System>
{items}      <vmw:Config ovf:required="false" vmw:key="firmware" vmw:value="{firmware}"/>
    </VirtualHardwareSection>
    <ProductSection>
      <Info>Settings of this machine</Info>
      <Product>{name}</Product>
{properties}    </ProductSection>
  </VirtualSystem>
</Envelope>
"#
    )
}

/// A device. The schema wants its elements in the order of their names.
fn item(elements: &[(&str, &str)]) -> String {
    let lines = elements.iter().map(|(name, value)| {
        format!("        <rasd:{name}>{}</rasd:{name}>\n", value.replace('"', "&quot;"))
    });
    format!("      <Item>\n{}      </Item>\n", lines.collect::<String>())
}
