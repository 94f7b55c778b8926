//! The store that the boot manager of Windows reads (BCD): a registry hive of objects and their elements.
//!
//! Types of objects and elements: Microsoft, "BCD reference"
//! (<https://learn.microsoft.com/previous-versions/windows/desktop/bcd/>), `BcdObject` and the enumerations of
//! elements; the bytes of a device are those that `bcdedit` writes.

use uuid::Uuid;

use crate::error::Result;
use crate::format::hive::{Hive, Value};

const BOOT_MANAGER: &str = "{9dea862c-5cdd-4e70-acc1-f32b344d4795}";
const GLOBAL_SETTINGS: &str = "{7ea2e1ac-2e61-4728-aaa3-896d9d0a9f0e}";
const LOADER_SETTINGS: &str = "{6efb52bf-1766-41db-a6b3-0ee5eff72bd7}";
const DEBUGGER_SETTINGS: &str = "{4636856e-540f-4170-a130-a84776f4c654}";
const EMERGENCY_SETTINGS: &str = "{0ce4991b-e6b3-4b16-b23c-5e0d9250e5d9}";
const BAD_MEMORY: &str = "{5189b25c-5558-4bf2-bca4-289b11bd29e2}";
const HYPERVISOR_SETTINGS: &str = "{7ff607e0-4395-11db-b0de-0800200c9a66}";

/// Elements of an object, by their types.
type Elements = Vec<(u32, Value)>;

/// What the boot manager starts.
#[derive(Debug, Clone)]
pub struct Store<'a> {
    /// The disk's identifier in its partition table.
    pub disk: Uuid,
    /// The EFI system partition.
    pub esp: Uuid,
    /// The partition with Windows.
    pub windows: Uuid,
    /// The identifier of the entry for Windows.
    pub entry: Uuid,
    /// Its title.
    pub title: &'a str,
    /// Whether the hypervisor is there and is to start too.
    pub hypervisor: bool,
    /// The time of all keys, seconds since 1970.
    pub epoch: u64,
}

impl Store<'_> {
    /// The file.
    ///
    /// # Errors
    /// When the title cannot be in it.
    pub fn make(&self) -> Result<Vec<u8>> {
        let mut hive = Hive::new("NewStoreRoot", self.epoch);
        for (name, value) in [
            ("KeyName", Value::String("BCD00000000".to_owned())),
            ("System", Value::Dword(1)),
            ("TreatAsSystem", Value::Dword(1)),
            ("FirmwareModified", Value::Dword(1)),
        ] {
            hive.set("Description", name, &value)?;
        }
        for (object, kind, elements) in self.objects() {
            let key = format!("Objects\\{object}");
            hive.set(&format!("{key}\\Description"), "Type", &Value::Dword(kind))?;
            hive.create_key(&format!("{key}\\Elements"))?;
            for (element, value) in elements {
                hive.set(&format!("{key}\\Elements\\{element:08x}"), "Element", &value)?;
            }
        }
        Ok(hive.into_bytes())
    }

    /// Each object's identifier, type and elements.
    fn objects(&self) -> Vec<(String, u32, Elements)> {
        let inherited = |id: &str, kind, from: &[&str]| {
            let elements = if from.is_empty() { Vec::new() } else { vec![(0x1400_0006, list(from))] };
            (id.to_owned(), kind, elements)
        };
        vec![
            (BOOT_MANAGER.to_owned(), 0x1010_0002, self.boot_manager()),
            (self.entry(), 0x1020_0003, self.loader()),
            inherited(GLOBAL_SETTINGS, 0x2010_0000, &[DEBUGGER_SETTINGS, EMERGENCY_SETTINGS, BAD_MEMORY]),
            inherited(LOADER_SETTINGS, 0x2020_0003, &[GLOBAL_SETTINGS, HYPERVISOR_SETTINGS]),
            inherited(DEBUGGER_SETTINGS, 0x2010_0000, &[]),
            inherited(EMERGENCY_SETTINGS, 0x2010_0000, &[]),
            inherited(BAD_MEMORY, 0x2010_0000, &[]),
            inherited(HYPERVISOR_SETTINGS, 0x2020_0003, &[]),
        ]
    }

    fn boot_manager(&self) -> Elements {
        vec![
            (0x1100_0001, self.partition(self.esp)),
            (0x1200_0002, text(r"\EFI\Microsoft\Boot\bootmgfw.efi")),
            (0x1200_0004, text("Windows Boot Manager")),
            (0x1200_0005, text("en-US")),
            (0x1400_0006, list(&[GLOBAL_SETTINGS])),
            (0x2300_0003, text(&self.entry())), // what starts by itself
            (0x2400_0001, list(&[&self.entry()])),
            (0x2500_0004, number(0)), // seconds to wait
        ]
    }

    fn loader(&self) -> Elements {
        let mut elements = vec![
            (0x1100_0001, self.partition(self.windows)),
            (0x1200_0002, text(r"\Windows\system32\winload.efi")),
            (0x1200_0004, text(self.title)),
            (0x1200_0005, text("en-US")),
            (0x1400_0006, list(&[LOADER_SETTINGS])),
            (0x1600_0060, Value::Binary(vec![1])), // settings of the boot environment are its own
            (0x2100_0001, self.partition(self.windows)),
            (0x2200_0002, text(r"\Windows")),
            (0x2500_0020, number(1)), // no execution of data, but for programs that opt out
            (0x2500_00c2, number(1)), // the standard menu
        ];
        if self.hypervisor {
            elements.push((0x2500_00f0, number(1)));
        }
        elements
    }

    fn entry(&self) -> String {
        format!("{{{}}}", self.entry)
    }

    /// The element of a device that is a partition of a GPT.
    fn partition(&self, partition: Uuid) -> Value {
        const PARTITION: u32 = 6;
        const LENGTH: u32 = 0x48;
        let mut bytes = vec![0; 16];
        for field in [PARTITION, 0, LENGTH, 0] {
            bytes.extend(field.to_le_bytes());
        }
        bytes.extend(partition.to_bytes_le());
        bytes.extend([0; 8]); // the second half: 0 for a GPT
        bytes.extend(self.disk.to_bytes_le());
        bytes.extend([0; 16]);
        Value::Binary(bytes)
    }
}

fn text(text: &str) -> Value {
    Value::String(text.to_owned())
}

fn list(texts: &[&str]) -> Value {
    Value::MultiString(texts.iter().map(|text| (*text).to_owned()).collect())
}

fn number(number: u64) -> Value {
    Value::Binary(number.to_le_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_names_the_disk_and_its_partition() {
        let id = |byte| Uuid::from_bytes([byte; 16]);
        let store = Store {
            disk: id(1),
            esp: Uuid::from_u128(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff),
            windows: id(3),
            entry: id(4),
            title: "Windows Server",
            hypervisor: true,
            epoch: 0,
        };
        let hive = Hive::read(store.make().unwrap(), 0).unwrap();
        let of = |object: &str, element: &str| {
            let key = format!("Objects\\{object}\\Elements\\{element}");
            hive.value(&key, "Element").unwrap().unwrap_or_else(|| panic!("{key}"))
        };
        let Value::Binary(device) = of(BOOT_MANAGER, "11000001") else { panic!("bytes") };
        assert_eq!(device.len(), 88);
        assert_eq!(hex::encode(&device[32..48]), "33221100554477668899aabbccddeeff");
        assert_eq!(device[56..72], [1; 16]);
        let entry = format!("{{{}}}", id(4));
        assert_eq!(of(BOOT_MANAGER, "23000003"), Value::String(entry.clone()));
        assert_eq!(of(BOOT_MANAGER, "24000001"), Value::MultiString(vec![entry.clone()]));
        assert_eq!(of(&entry, "22000002"), Value::String(r"\Windows".to_owned()));
        assert_eq!(of(&entry, "250000f0"), number(1));
        assert_eq!(store.make().unwrap(), store.make().unwrap());
    }

    #[test]
    fn a_device_has_the_bytes_that_a_windows_10_has_in_its_own_store() {
        let id = |text| Uuid::parse_str(text).unwrap();
        let store = Store {
            disk: id("0b2394a9-095e-487d-8d48-719ecd4d78ca"),
            esp: id("36be3955-63bf-4068-a6ab-00195cca3a22"),
            windows: id("8e0f2c38-e4ea-47ba-b7fc-9d8c74dccf0b"),
            entry: id("733b62e5-f608-11eb-825c-c112f60133ab"),
            title: "Windows 10",
            hypervisor: false,
            epoch: 0,
        };
        let Value::Binary(device) = store.partition(store.windows) else { panic!("bytes") };
        let expected = [
            "00000000000000000000000000000000",
            "06000000000000004800000000000000",
            "382c0f8eeae4ba47b7fc9d8c74dccf0b",
            "0000000000000000",
            "a994230b5e097d488d48719ecd4d78ca",
            "00000000000000000000000000000000",
        ];
        assert_eq!(hex::encode(device), expected.concat());
    }
}
