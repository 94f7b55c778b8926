use super::*;

/// In the form of the files of virtio-win (BSD-3-Clause), with what they do not use.
pub const STORAGE: &str = r#"; a comment
[Version]
Signature="$Windows NT$" ; of all
Class=SCSIAdapter
ClassGUID={4D36E97B-E325-11CE-BFC1-08002BE10318}
DriverVer = 02/25/2024,100.94.104.24800

[Manufacturer]
%VENDOR%   = Stor,NTamd64,NTamd64.10.0...17763,NTamd64.10.0...99999,NTarm64.10.0,NTamd64.10.0.1

[Stor.NTamd64]
%Desc% = old_inst, PCI\VEN_1AF4&DEV_0001

[Stor.NTamd64.10.0...17763]
%Desc% = inst, PCI\VEN_1AF4&DEV_1001&SUBSYS_00021AF4&REV_00, \
  PCI\VEN_1AF4&DEV_1001
%Desc% = inst, PCI\VEN_1AF4&DEV_1042&SUBSYS_11001AF4&REV_01, PCI\VEN_1AF4&DEV_1042
"A filter, which Windows loads later" = filter, ACPI\QEMU0001

[inst]
CopyFiles=files

[inst.NT.Services]
AddService = helper, 0, helper_section
AddService = viostor, 0x00000002 , service, events

[filter.Services]
AddService = later, %FLAG%, later_section

[service]
ServiceType    = %SERVICE_KERNEL_DRIVER%
StartType      = 0
ErrorControl   = %SERVICE_ERROR_NORMAL%
ServiceBinary  = %12%\viostor.sys
LoadOrderGroup = SCSI miniport
AddReg         = settings

[later_section]
ServiceType = 1
StartType = 3
ErrorControl = 1
ServiceBinary = %13%\later.sys

[settings]
HKR, "Parameters\PnpInterface", "5", %REG_DWORD%, 0x00000001
HKR, "Parameters", BusType, 0x00010001, 10
HKR,,EventMessageFile,0x00020000,"%%SystemRoot%%\System32\IoLogMsg.dll"
HKR,Parameters,Text,,"a, ""b"""
HKR,Parameters,Key,0x00000010
HKR,Parameters,Bytes,1,01,02
HKLM,Software\x,y,,z

[Strings]
VENDOR = "Maker"
Desc = "Storage; of a kind"
FLAG = 2
REG_DWORD  = 0x00010001
SERVICE_KERNEL_DRIVER  = 1
SERVICE_ERROR_NORMAL   = 1
"#;

fn read(text: &str) -> Result<Package> {
    Package::read(text.as_bytes(), "amd64", 20348)
}

#[test]
fn a_file_tells_the_boot_service_and_the_devices_that_it_is_for() {
    let package = read(STORAGE).unwrap();
    assert_eq!(package.class.to_string(), "4d36e97b-e325-11ce-bfc1-08002be10318");
    let device = |id: &str, is_own| Device { id: id.into(), is_own, configuration: "inst".into() };
    assert_eq!(
        package.devices,
        [
            device(r"PCI\VEN_1AF4&DEV_1001&SUBSYS_00021AF4&REV_00", true),
            device(r"PCI\VEN_1AF4&DEV_1001", false),
            device(r"PCI\VEN_1AF4&DEV_1042&SUBSYS_11001AF4&REV_01", true),
            device(r"PCI\VEN_1AF4&DEV_1042", false),
        ]
    );
    let setting = |key: &str, name: &str, value| (key.to_owned(), name.to_owned(), value);
    let service = Service {
        name: "viostor".into(),
        configuration: "inst".into(),
        file: "viostor.sys".into(),
        kind: 1,
        error_control: 1,
        group: Some("SCSI miniport".into()),
        settings: vec![
            setting(r"Parameters\PnpInterface", "5", Setting::Number(1)),
            setting("Parameters", "BusType", Setting::Number(10)),
            setting("", "EventMessageFile", Setting::Expanded(r"%SystemRoot%\System32\IoLogMsg.dll".into())),
            setting("Parameters", "Text", Setting::Text("a, \"b\"".into())),
        ],
    };
    assert_eq!(package.services, [service]);
}

#[test]
fn utf_16_and_other_line_ends_are_the_same_file() {
    let wanted = read(STORAGE).unwrap();
    let windows = STORAGE.replace('\n', "\r\n");
    let little: Vec<u8> = "\u{feff}"
        .encode_utf16()
        .chain(windows.encode_utf16())
        .flat_map(u16::to_le_bytes)
        .collect();
    let big: Vec<u8> = "\u{feff}"
        .encode_utf16()
        .chain(windows.encode_utf16())
        .flat_map(u16::to_be_bytes)
        .collect();
    let marked = format!("\u{feff}{windows}").into_bytes();
    for bytes in [windows.into_bytes(), little, big, marked] {
        assert_eq!(Package::read(&bytes, "amd64", 20348).unwrap(), wanted);
    }
}

#[test]
fn a_driver_that_windows_loads_later_is_no_boot_service() {
    let package = read(&STORAGE.replace("StartType      = 0", "StartType = 3")).unwrap();
    assert_eq!((package.services, package.devices), (vec![], vec![]));
}

#[test]
fn an_older_windows_takes_the_section_that_fits_it() {
    let old = STORAGE.replace("[inst.NT.Services]", "[old_inst.Services]");
    let package = Package::read(old.as_bytes(), "amd64", 14393).unwrap();
    assert_eq!(package.devices[0].id, r"PCI\VEN_1AF4&DEV_0001");
    assert_eq!(package.services.len(), 1);
}

#[test]
fn what_no_driver_has_is_refused_by_name() {
    for (from, to, says) in [
        ("$Windows NT$", "x", "no [Version] with the signature"),
        ("ClassGUID={4D36E97B", "ClassGUID={x", "no ClassGuid"),
        (r"%12%\viostor.sys", r"%12%\..\viostor.sys", "cannot name a file"),
        (r"%12%\viostor.sys", r"%12%\a:b.sys", "cannot name a file"),
        (r"%12%\viostor.sys", r"C:\viostor.sys", "no driver in the folder of drivers"),
        (r"%12%\viostor.sys", r"%12%\viostor.exe", "no driver in the folder of drivers"),
        ("AddService = viostor", r"AddService = a\b", "cannot name a service"),
        (" = inst, PCI", r" = ..\inst, PCI", "cannot name a section"),
        (r"DEV_1042&SUBSYS_11001AF4&REV_01", r"DEV_1042\..\x", "cannot identify a device"),
        (r"DEV_1042&SUBSYS_11001AF4&REV_01", "DEV 1042", "cannot identify a device"),
        ("StartType      = 0", "StartType = boot", "StartType is no number"),
        ("BusType, 0x00010001, 10", "BusType, 0x00010001, ten", "a value of service is no number"),
        ("NTamd64,NTamd64.10.0...17763", "NTx86", "no device for Windows on amd64, build 20348"),
    ] {
        let text = STORAGE.replace(from, to);
        assert_ne!(text, STORAGE, "{from} is there");
        let error = read(&text).expect_err(to);
        assert!(error.message().contains(says) && error.hint().is_some(), "{to}: {error}");
    }
    let id = format!("PCI\\{}", "x".repeat(200));
    let long = STORAGE.replace(r"PCI\VEN_1AF4&DEV_1042&SUBSYS_11001AF4&REV_01", &id);
    assert!(read(&long).unwrap_err().message().contains("cannot identify a device"));
    let line = format!("{STORAGE}\n[x]\na={}\n", "y".repeat(4100));
    assert!(read(&line).unwrap_err().message().contains("longer than 4096"));
    // A line of tokens, each of which stands for a long text.
    let bomb = STORAGE
        .replace("LoadOrderGroup = SCSI miniport", &format!("LoadOrderGroup = {}", "%b%".repeat(1000)))
        + &format!("b = \"{}\"\n", "x".repeat(4000));
    assert!(read(&bomb).unwrap_err().message().contains("its tokens replaced"));
    let large = vec![b'\n'; LARGEST as usize + 1];
    assert!(Package::read(&large, "amd64", 20348).unwrap_err().message().contains("4 MiB"));
}

#[test]
fn makers_that_share_a_section_have_its_devices_once_and_there_are_not_too_many() {
    let maker = "%VENDOR%   = Stor,NTamd64";
    let twice = STORAGE.replacen(maker, &format!("Other = stor,NTamd64.10.0...17763\n{maker}"), 1);
    assert_eq!(read(&twice).unwrap(), read(STORAGE).unwrap());
    let line = "%Desc% = inst, PCI\\VEN_1AF4&DEV_1001";
    let many = STORAGE.replacen("[inst]", &format!("{}[inst]", format!("{line}\n").repeat(2000)), 1);
    assert!(read(&many).unwrap_err().message().contains("more than 1000 devices"));
}

#[test]
fn no_cut_and_no_flipped_byte_makes_it_panic() {
    let bytes = STORAGE.as_bytes();
    for at in 0..bytes.len() {
        let _ = Package::read(&bytes[..at], "amd64", 20348);
        let mut flipped = bytes.to_vec();
        flipped[at] ^= (at % 255) as u8 + 1;
        let _ = Package::read(&flipped, "amd64", 20348);
    }
}
