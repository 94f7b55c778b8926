use super::super::verify;
use super::*;
use crate::definition::plan::Arch;

const ENVIRONMENT_OF_NODE: [&str; 6] = [
    r"k\kubelet.exe",
    r"Program Files\containerd\containerd.exe",
    r"Program Files\containerd\config.toml",
    r"opt\cni\bin\win-bridge.exe",
    r"Windows\System32\svchost.exe",
    r"k",
];

/// A node of this build without faults.
fn healthy(build: &str, revision: u32) -> Subject {
    let (mut system, mut software) = (Hive::new("ROOT", 0), Hive::new("ROOT", 0));
    let text = |text: &str| Value::String(text.to_owned());
    let mut set = |key: &str, name: &str, value: Value| system.set(key, name, &value).unwrap();
    set("Select", "Default", Value::Dword(1));
    let services = r"ControlSet001\Services";
    set(&format!("{services}\\kubelet"), "ImagePath", text(r"c:\k\kubelet.exe --windows-service"));
    set(
        &format!("{services}\\containerd"),
        "ImagePath",
        text(r#""C:\Program Files\containerd\containerd.exe" --run-service"#),
    );
    set(&format!("{services}\\containerd"), "Start", Value::Dword(2));
    set(&format!("{services}\\Tcpip"), "ImagePath", text(r"System32\drivers\tcpip.sys"));
    for service in ["hns", "vmcompute"] {
        set(&format!("{services}\\{service}"), "ImagePath", text(r"%systemroot%\system32\svchost.exe -k"));
    }
    set(&format!("{services}\\hns\\State"), "HNSControlFlag", Value::Dword(0x50));
    set(&format!("{services}\\wcifs"), "WcifsSOPCountDisabled", Value::Dword(0));
    let rule = "v2.30|Action=Allow|Active=TRUE|Dir=In|Protocol=6|LPort=10250|Name=kubelet|";
    set(&format!("ControlSet001\\{FIREWALL_RULES}"), "kubelet", text(rule));
    let version = r"Microsoft\Windows NT\CurrentVersion";
    for (key, name, value) in [
        (version, "ProductName", text("Windows Server")),
        (version, "EditionID", text("ServerStandardCore")),
        (version, "CurrentBuildNumber", text(build)),
        (version, "UBR", Value::Dword(revision)),
        (
            r"Microsoft\Windows\CurrentVersion\Setup\State",
            "ImageState",
            text("IMAGE_STATE_GENERALIZE_RESEAL_TO_OOBE"),
        ),
        (AUTO_UPDATE, "NoAutoUpdate", Value::Dword(1)),
        (AUTO_UPDATE, "AUOptions", Value::Dword(2)),
    ] {
        software.set(key, name, &value).unwrap();
    }
    let release = Release::of(&software, &system).unwrap();
    let windows = Windows {
        release,
        system,
        software,
        control_set: "ControlSet001".to_owned(),
        files: Files::named(&ENVIRONMENT_OF_NODE),
        runtime: Some("  sandbox = \"registry.k8s.io/pause:3.10\"\n".to_owned()),
        enables: Vec::new(),
    };
    Subject::of_windows(windows, Arch::Amd64)
}

/// A fault: the check that finds it, what it says, and what makes it.
type Fault = (&'static str, &'static str, fn(&mut Windows));

#[test]
fn a_sound_node_of_windows_has_no_findings() {
    for (build, revision) in [("20348", 1), ("26100", 1), ("17763", 1817)] {
        let node = healthy(build, revision);
        assert_eq!(verify(&node, &[]), [], "{build}");
        assert!(node.is_node() && node.count() == 6);
    }
}

#[test]
fn every_planted_fault_of_windows_is_found_by_its_check_alone() {
    let faults: &[Fault] = &[
        ("windows-state", "IMAGE_STATE_COMPLETE", |windows| {
            windows.release.state = Some("IMAGE_STATE_COMPLETE".to_owned());
        }),
        ("windows-patch", "17763.1816 is older", |windows| windows.release.revision = 1816),
        ("windows-update", "NoAutoUpdate: it is missing", |windows| {
            windows.software.remove_value(AUTO_UPDATE, "NoAutoUpdate").unwrap();
        }),
        ("windows-update", "AUOptions: it is \"2\", and not the number 2", |windows| {
            windows.software.set(AUTO_UPDATE, "AUOptions", &Value::String("2".to_owned())).unwrap();
        }),
        ("windows-service", "C:\\k\\gone.exe is missing", |windows| {
            let command = Value::String(r"C:\k\gone.exe -x".to_owned());
            windows.system.set(r"ControlSet001\Services\x", "ImagePath", &command).unwrap();
        }),
        ("windows-service", "C:\\Windows\\System32\\drivers\\viostor.sys is missing", |windows| {
            let key = r"ControlSet001\Services\viostor";
            let path = Value::ExpandString(r"\SystemRoot\System32\drivers\viostor.sys".to_owned());
            windows.system.set(key, "ImagePath", &path).unwrap();
            windows.system.set(key, "Start", &Value::Dword(0)).unwrap();
        }),
        ("windows-service", "the service containerd: it is missing", |windows| {
            let key = r"ControlSet001\Services\containerd";
            for name in ["ImagePath", "Start"] {
                windows.system.remove_value(key, name).unwrap();
            }
        }),
        ("windows-service", "does not start by itself", |windows| {
            windows
                .system
                .set(r"ControlSet001\Services\containerd", "Start", &Value::Dword(3))
                .unwrap();
        }),
        ("windows-runtime", "config.toml: it is missing", |windows| windows.runtime = None),
        ("windows-runtime", "does not name the image", |windows| {
            windows.runtime = Some("version = 3\n# sandbox = \"x\"\n".to_owned());
        }),
        ("windows-kubelet", "no rule", |windows| {
            let key = format!("ControlSet001\\{FIREWALL_RULES}");
            let rule = Value::String("v2.30|Action=Block|Active=TRUE|Dir=In|LPort=10250|".to_owned());
            windows.system.set(&key, "kubelet", &rule).unwrap();
        }),
        ("windows-kubelet", "no CNI plugins", |windows| {
            let others = ENVIRONMENT_OF_NODE.iter().filter(|path| !path.starts_with("opt"));
            windows.files = Files::named(&others.copied().collect::<Vec<_>>());
        }),
        ("windows-feature", "the feature Containers: its service vmcompute is missing", |windows| {
            windows.system.remove_value(r"ControlSet001\Services\vmcompute", "ImagePath").unwrap();
        }),
        ("windows-network", "HNSControlFlag: it is 16", |windows| {
            windows
                .system
                .set(r"ControlSet001\Services\hns\State", "HNSControlFlag", &Value::Dword(16))
                .unwrap();
        }),
        ("windows-network", "WcifsSOPCountDisabled: it is missing", |windows| {
            windows
                .system
                .remove_value(r"ControlSet001\Services\wcifs", "WcifsSOPCountDisabled")
                .unwrap();
        }),
    ];
    for (check, says, change) in faults {
        let mut node = healthy("17763", 1817);
        change(node.windows.as_mut().unwrap());
        let found = verify(&node, &[]);
        let [finding] = found.as_slice() else { panic!("{check} {says}: {found:?}") };
        assert_eq!(finding.check, *check);
        let said = format!("{}: {}", finding.what, finding.why);
        assert!(said.contains(says), "{says}: {said}");
    }
    for row in CHECKS {
        assert!(faults.iter().any(|(check, ..)| *check == row.name), "{} has no fault here", row.name);
    }
}

#[test]
fn an_image_without_a_kubelet_is_not_asked_for_what_a_node_needs() {
    let mut subject = healthy("20348", 1);
    let windows = subject.windows.as_mut().unwrap();
    for (name, value) in [("kubelet", "ImagePath"), ("containerd", "ImagePath"), ("containerd", "Start")] {
        windows.system.remove_value(&format!("ControlSet001\\Services\\{name}"), value).unwrap();
    }
    (windows.files, windows.runtime) = (Files::named(&[]), None);
    assert_eq!(verify(&subject, &[]), []);
    assert!(!subject.is_node());
}

#[test]
fn a_feature_that_is_enabled_at_the_first_start_need_not_be_there() {
    let mut subject = healthy("20348", 1);
    let windows = subject.windows.as_mut().unwrap();
    windows.system.remove_value(r"ControlSet001\Services\hns", "ImagePath").unwrap();
    windows.enables = vec!["Containers".to_owned()];
    assert_eq!(verify(&subject, &[]), []);
}

#[test]
fn programs_are_found_in_command_lines() {
    for (command, wanted) in [
        (r"C:\k\kubelet.exe --x", Some(r"k\kubelet.exe")),
        (r#""c:\Program Files\x y.exe" --x "a""#, Some(r"Program Files\x y.exe")),
        (r"%SystemRoot%\System32\svchost.exe -k", None),
        (r"system32\drivers\x.sys", None),
        ("", None),
        ("é", None),
    ] {
        assert_eq!(program(command), wanted, "{command}");
    }
}
