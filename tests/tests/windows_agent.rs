//! The agent for Windows, run by wine. Windows itself cannot be had here: what wine does not do as Windows
//! does is not proven.

use kiln_tests::wine::Windows;
use kiln_tests::workspace;
use serde_json::Value;

/// The limit on the size of the agent, in bytes.
const LARGEST: u64 = 5_000_000;

const CONFIG: &str = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: JoinConfiguration\nnodeRegistration: {name: n1}\n\
    discovery: {bootstrapToken: {apiServerEndpoint: '10.0.0.1:6443', token: abcdef.0123456789abcdef, \
    unsafeSkipCAVerification: true}}\n";

#[test]
fn the_agent_runs_and_finds_nothing_on_a_machine_without_anything() {
    let machine = Windows::new();
    let version = machine.run(&["--version"]);
    assert_eq!((version.code, version.text.trim_end()), (Some(0), "firstboot 0.1.0"));
    let run = machine.run(&["run"]);
    assert_eq!(run.code, Some(0), "{}", run.text);
    let status: Value =
        serde_json::from_str(&machine.text("/ProgramData/firstboot/boot/status.json").unwrap()).unwrap();
    assert_eq!(status["outcome"], "no-config");
    assert!(status["began"].as_f64().unwrap() > 0.0, "{status}");
    assert!(machine.run(&["status"]).text.starts_with("outcome   no-config"));
    let install = machine.run(&["install", "--list"]);
    assert!(install.code == Some(64) && install.text.is_empty(), "{install:?}");
}

#[test]
fn a_config_of_the_image_is_found_and_its_token_not_shown() {
    let machine = Windows::new();
    machine.write("/ProgramData/firstboot/config.yaml", CONFIG);
    machine.write("/usr/lib/kiln/image.json", r#"{"variables": {"kubernetes": "1.36.2"}}"#);
    let explained = machine.run(&["explain", "--json"]);
    assert_eq!(explained.code, Some(0), "{}", explained.text);
    assert!(explained.text.contains("/ProgramData/firstboot/config.yaml"), "{}", explained.text);
    assert!(!explained.text.contains("0123456789abcdef"), "{}", explained.text);
}

#[test]
fn the_agent_is_small() {
    let machine = Windows::new();
    let size = std::fs::metadata(machine.agent(&[]).get_args().next().unwrap()).unwrap().len();
    assert!(size <= LARGEST, "{size} bytes");
}

#[test]
fn the_agent_is_a_service_that_starts_at_boot_and_again_after_a_failure() {
    const SERVICE: &str = r"SYSTEM\CurrentControlSet\Services\firstboot";
    const SOURCE: &str = r"SYSTEM\CurrentControlSet\Services\EventLog\Application\firstboot";
    let machine = Windows::new();
    for _ in 0..2 {
        let installed = machine.run(&["service", "install"]);
        assert_eq!(installed.code, Some(0), "{}", installed.text);
    }
    let command_line = machine.value(SERVICE, "ImagePath").unwrap();
    assert!(command_line.ends_with("firstboot.exe\" service run"), "{command_line}");
    assert_eq!(machine.value(SERVICE, "Start").as_deref(), Some("0x2"));
    assert!(machine.value(SOURCE, "EventMessageFile").unwrap().ends_with("EventLogMessages.dll"));
    machine.succeed("net.exe", &["start", "firstboot"]);
    let deadline = std::time::Instant::now() + workspace::patience(std::time::Duration::from_secs(60));
    let log = loop {
        let log = machine.text("/var/log/firstboot/firstboot.log").unwrap_or_default();
        if log.contains("firstboot-verdict") {
            break log;
        }
        assert!(std::time::Instant::now() < deadline, "{log}");
        std::thread::sleep(std::time::Duration::from_millis(100));
    };
    assert!(log.contains("no-config"), "{log}");
    assert_eq!(machine.run(&["service", "remove"]).code, Some(0));
    assert_eq!((machine.value(SERVICE, "ImagePath"), machine.value(SOURCE, "TypesSupported")), (None, None));
    assert_eq!(machine.run(&["service", "other"]).code, Some(64));
}
