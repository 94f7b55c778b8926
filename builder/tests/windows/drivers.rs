//! Drivers that Windows needs to start. The package is one in the form of virtio-win's, without code.

use std::fs;
use std::path::Path;

use crate::bake::{definition, done, kiln};
use crate::lookalike;
use crate::tools::run;

const INF: &str = r#"; for tests
[Version]
Signature = "$Windows NT$"
Class = SCSIAdapter
ClassGUID = {4D36E97B-E325-11CE-BFC1-08002BE10318}
Provider = %VENDOR%
DriverVer = 01/01/2008,0.0.0.1
CatalogFile = viostor.cat

[Manufacturer]
%VENDOR% = VioStor,NTamd64

[VioStor.NTamd64]
%Device% = scsi_inst, PCI\VEN_1AF4&DEV_1001&SUBSYS_00021AF4&REV_00, PCI\VEN_1AF4&DEV_1001

[scsi_inst.Services]
AddService = viostor, 2, scsi_Service_Inst

[scsi_Service_Inst]
ServiceType = 1
StartType = 0
ErrorControl = 1
ServiceBinary = %12%\viostor.sys
LoadOrderGroup = SCSI miniport
AddReg = parameters

[parameters]
HKR, "Parameters", "BusType", 0x00010001, 1

[Strings]
VENDOR = "Maker"
Device = "Storage"
"#;

/// A layer that brings the package, its files in a folder that it writes in another case than the base.
const LAYER: &str = r#"
[[file]]
path = 'C:\windows\Drivers\virtio\viostor.inf'
source = "viostor.inf"
[[file]]
path = 'C:\windows\Drivers\virtio\VioStor.sys'
content = "MZ driver"
[[file]]
path = 'C:\windows\Drivers\virtio\viostor.cat'
content = "catalog"
[[windows-driver]]
inf = 'C:\Windows\Drivers\virtio\viostor.inf'
"#;

/// A definition whose layer `runtime` brings the package too.
fn with_driver(here: &Path, inf: &[u8], layer: &str) {
    let _ = fs::remove_file(here.join("x.wim"));
    lookalike::export(here);
    definition(here, "x.wim", "'wim'");
    // Both layers write the folder in the same way.
    let node = fs::read_to_string(here.join("node/layer.toml")).unwrap();
    fs::write(here.join("node/layer.toml"), node.replace(r"C:\Windows", r"C:\windows")).unwrap();
    let path = here.join("runtime/layer.toml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(path, format!("{text}{layer}")).unwrap();
    fs::write(here.join("runtime/viostor.inf"), inf).unwrap();
}

#[test]
fn lookalike_windows_has_a_driver_of_a_layer_when_it_starts() {
    let test = "lookalike_windows_has_a_driver_of_a_layer_when_it_starts";
    let Some(folder) = lookalike::folder(test) else { return };
    let here = folder.path();
    let utf16: Vec<u8> = format!("\u{feff}{INF}").encode_utf16().flat_map(u16::to_le_bytes).collect();
    with_driver(here, &utf16, LAYER);
    done(here, &["build", "win.toml", "--output-dir", "out"]);
    let out = here.join("out");
    run("wimlib-imagex", &["extract", "win.wim", "1", "/Windows", "--dest-dir=."], &out);
    assert_eq!(fs::read_to_string(out.join("Windows/System32/drivers/viostor.sys")).unwrap(), "MZ driver");
    let list = run("wimlib-imagex", &["dir", "win.wim", "1"], &out);
    assert_eq!(list.lines().filter(|line| line.eq_ignore_ascii_case("/windows")).count(), 1, "{list}");
    for file in ["viostor.inf", "VioStor.sys", "viostor.cat"] {
        assert!(list.lines().any(|line| line == format!("/Windows/Drivers/virtio/{file}")), "{file}: {list}");
    }
    let config = out.join("Windows/System32/config");
    let service = r"\ControlSet001\Services\viostor";
    let label = "kiln_viostor.inf_amd64_0000000000000000";
    let package = format!(r"\DriverDatabase\DriverPackages\{label}");
    let configuration = format!(r"{package}\Configurations\scsi_inst");
    let own = format!(r"{package}\Descriptors\PCI\VEN_1AF4&DEV_1001&SUBSYS_00021AF4&REV_00");
    let compatible = format!(r"{package}\Descriptors\PCI\VEN_1AF4&DEV_1001");
    for (hive, key, name, value) in [
        ("SYSTEM", service, "Type", "1"),
        ("SYSTEM", service, "Start", "0"),
        ("SYSTEM", service, "ErrorControl", "1"),
        ("SYSTEM", service, "ImagePath", r"System32\drivers\viostor.sys"),
        ("SYSTEM", service, "Group", "SCSI miniport"),
        ("SYSTEM", r"\ControlSet001\Services\viostor\Parameters", "BusType", "1"),
        ("SYSTEM", r"\DriverDatabase\DriverInfFiles\kiln_viostor.inf", "Active", label),
        ("SYSTEM", r"\DriverDatabase\DriverInfFiles\kiln_viostor.inf", "@", label),
        ("SYSTEM", r"\DriverDatabase\DriverInfFiles\kiln_viostor.inf", "Configurations", "scsi_inst"),
        ("SYSTEM", &configuration, "Service", "viostor"),
        ("SYSTEM", &configuration, "ConfigFlags", "0"),
        ("SYSTEM", &own, "Configuration", "scsi_inst"),
        ("SYSTEM", &compatible, "Configuration", "scsi_inst"),
        (
            "SOFTWARE",
            r"\Microsoft\Windows\CurrentVersion",
            "DevicePath",
            r"%SystemRoot%\inf;C:\Windows\Drivers\virtio",
        ),
    ] {
        assert_eq!(run("hivexget", &[hive, key, name], &config).trim_end(), value, "{key} {name}");
    }
    // As virt-v2v writes it, and as Windows leaves it but for the date, the version and the name.
    let export = run("hivexregedit", &["--export", "SYSTEM", "\\DriverDatabase"], &config);
    let bytes: Vec<&str> = export.lines().filter(|line| line.contains("=hex(3):")).collect();
    let version =
        "\"Version\"=hex(3):00,ff,09,00,00,00,00,00,7b,e9,36,4d,25,e3,ce,11,bf,c1,08,00,2b,e1,03,18";
    let zeros = ",00".repeat(24);
    assert_eq!(
        bytes,
        [
            "\"kiln_viostor.inf\"=hex(3):02,ff,00,00",
            "\"kiln_viostor.inf\"=hex(3):01,ff,00,00",
            &format!("{version}{zeros}"),
        ]
    );
    let verified = kiln(here, &["verify", "out/win.wim"]);
    let said = String::from_utf8_lossy(&verified.stdout).into_owned();
    assert!(!said.contains("viostor"), "{said}");
}

#[test]
fn lookalike_drivers_that_cannot_be_in_the_image_are_refused_by_name() {
    let test = "lookalike_drivers_that_cannot_be_in_the_image_are_refused_by_name";
    let Some(folder) = lookalike::folder(test) else { return };
    let here = folder.path();
    let second = r#"
[[file]]
path = 'C:\Drivers\viostor.inf'
source = "viostor.inf"
[[file]]
path = 'C:\Drivers\viostor.sys'
content = "MZ other"
[[windows-driver]]
inf = 'C:\Drivers\viostor.inf'
"#;
    let own = "\n[[file]]\npath = 'C:\\windows\\System32\\drivers\\VIOSTOR.SYS'\ncontent = 'x'\n";
    for (inf, layer, says) in [
        (INF.to_owned(), LAYER.replace("VioStor.sys", "other.sys"), "no layer brings C:\\windows\\"),
        (INF.replace("%12%", "%12%\\.."), LAYER.to_owned(), "cannot name a file"),
        (INF.replace("NTamd64", "NTarm64"), LAYER.to_owned(), "no device for Windows on amd64, build 20348"),
        ("MZ".to_owned(), LAYER.to_owned(), "no [Version] with the signature"),
        (INF.to_owned(), format!("{LAYER}{second}"), "VIOSTOR.SYS has two sources"),
        (INF.to_owned(), format!("{LAYER}{own}"), "VIOSTOR.SYS has two sources"),
    ] {
        with_driver(here, inf.as_bytes(), &layer);
        let _ = fs::remove_file(here.join("win.lock"));
        let output = kiln(here, &["build", "win.toml"]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{says}");
        for part in [says, "the layer \"runtime\"", "viostor.inf", "help:"] {
            assert!(said.to_lowercase().contains(&part.to_lowercase()), "{part}: {said}");
        }
    }
}
