use std::fs;
use std::path::Path;

use super::*;
use crate::definition::alone::LayerAlone;
use crate::definition::resolve_layer::resolve_layer;
use crate::definition::windows::firewall::{Direction, Protocol};
use crate::definition::windows::path_value;
use crate::definition::windows::registry::Hive;
use crate::registry::Release;

const LAYER: &str = r#"
schema = 1
summary = "x"
os = ["windows"]
path = ['C:\Program Files\containerd', 'c:/k']
windows-features = ["Containers"]

[environment]
CONTAINERD_LOG = 'C:\var\log'
HOME_OF = '%SystemDrive%\x'

[[file]]
path = 'C:\Program Files\containerd\config.toml'
content = "x"

[[directory]]
path = 'C:\var\log\kubelet'

[[registry]]
key = 'HKLM\SYSTEM\CurrentControlSet\Services\hns\State'
name = "HNSControlFlag"
type = "dword"
data = 0x50
patch = "2022-11B"

[[registry]]
key = 'HKLM\SOFTWARE\OpenSSH'
name = "DefaultShell"
type = "sz"
data = 'C:\k\${kubernetes}'

[[registry]]
key = 'HKLM\SOFTWARE\x'
type = "multi-sz"
data = ["a", "b"]

[[registry]]
key = 'HKLM\SOFTWARE\x'
name = "bytes"
type = "binary"
data = "01 ff,00 00"

[[registry]]
key = 'HKLM\SOFTWARE\x'
name = "large"
type = "qword"
data = 0x1_0000_0000

[[windows-service]]
name = "containerd"
command = '"C:\Program Files\containerd\containerd.exe" --run-service'
restart-after = [5, 10]

[[firewall]]
name = "kubelet"
ports = ["10250"]
"#;

fn read(text: &str) -> LayerAlone {
    let folder = tempfile::tempdir().unwrap();
    let layer = folder.path().join("acme");
    fs::create_dir(&layer).unwrap();
    fs::write(layer.join("layer.toml"), text).unwrap();
    LayerAlone::read(&layer, &Release).unwrap_or_else(|error| panic!("{error}"))
}

/// What is said of the layer: of its definition as a whole, or of single steps.
fn said(text: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let layer = folder.path().join("acme");
    fs::create_dir(&layer).unwrap();
    fs::write(layer.join("layer.toml"), text).unwrap();
    match LayerAlone::read(&layer, &Release) {
        Err(error) => error.to_string(),
        Ok(layer) => layer.errors.iter().map(ToString::to_string).collect(),
    }
}

fn plan(text: &str) -> WindowsPlan {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("layer.toml"), text).unwrap();
    resolved(folder.path()).windows.unwrap()
}

fn resolved(folder: &Path) -> LayerPlan {
    let variables = [("kubernetes".to_owned(), "1.36.4".to_owned())].into();
    let layer = Layer::read(folder.to_owned(), &Release).unwrap();
    resolve_layer(&layer, &variables).unwrap()
}

#[test]
fn a_layer_for_windows_says_what_changes_besides_files() {
    let layer = read(LAYER);
    assert!(layer.is_for_windows && layer.errors.is_empty(), "{:?}", layer.errors);
    assert_eq!(layer.files[&0].path, "Program Files/containerd/config.toml");
    assert_eq!(layer.directories[&0].path, "var/log/kubelet");
    let plan = plan(LAYER);
    let data: Vec<&RegistryData> = plan.registry.iter().map(|value| &value.data).collect();
    assert_eq!(
        data,
        [
            &RegistryData::Dword(80),
            &RegistryData::Sz(r"C:\k\1.36.4".to_owned()),
            &RegistryData::MultiSz(vec!["a".to_owned(), "b".to_owned()]),
            &RegistryData::Binary(vec![1, 255, 0, 0]),
            &RegistryData::Qword(1 << 32),
        ]
    );
    assert_eq!(plan.registry[0].patch.as_deref(), Some("2022-11B"));
    assert_eq!(plan.registry[1].hive, Hive::Software);
    assert_eq!(plan.path, [r"C:\Program Files\containerd", r"C:\k"]);
    assert_eq!(plan.features, ["Containers"]);
    assert_eq!((plan.firewall[0].protocol, plan.firewall[0].direction), (Protocol::Tcp, Direction::In));
    assert_eq!(
        (plan.services[0].display_name.as_str(), plan.services[0].reset_failures_after),
        ("containerd", 86_400)
    );
}

#[test]
fn services_rules_and_variables_are_values_of_the_registry_in_the_end() {
    let values = plan(LAYER).values();
    let find = |key: &str, name: &str| {
        let found = values.iter().find(|value| value.key.ends_with(key) && value.name == name);
        found.map(|value| value.data.clone())
    };
    assert_eq!(find(r"Services\containerd", "Start"), Some(RegistryData::Dword(2)));
    assert!(matches!(find("FirewallRules", "kubelet"), Some(RegistryData::Sz(_))));
    let environment = r"CurrentControlSet\Control\Session Manager\Environment";
    let log = RegistryData::Sz(r"C:\var\log".to_owned());
    assert_eq!(find(environment, "CONTAINERD_LOG"), Some(log));
    let home = RegistryData::ExpandSz(r"%SystemDrive%\x".to_owned());
    assert_eq!(find(environment, "HOME_OF"), Some(home));
    assert_eq!(path_value(), (environment.to_owned(), "Path"));
}

#[test]
fn what_belongs_to_the_other_system_is_refused_by_name() {
    let windows = "schema = 1\nsummary = \"x\"\nos = [\"windows\"]\n";
    let linux = "schema = 1\nsummary = \"x\"\n";
    for (head, step, message, help) in [
        (
            linux,
            "[[registry]]\nkey = 'HKLM\\SYSTEM\\x'\ntype = \"sz\"\ndata = \"\"\n",
            "\"registry\" is for Windows",
            "os = [\"windows\"]",
        ),
        (linux, "path = ['C:\\k']\n", "\"path\" is for Windows", "os = [\"windows\"]"),
        (
            linux,
            "[[file]]\npath = 'C:\\k\\x'\ncontent = \"\"\n",
            "a path of Windows, and the layer is for Linux",
            "/etc/hosts",
        ),
        (
            windows,
            "[[file]]\npath = \"/etc/x\"\ncontent = \"\"\n",
            "a path of Linux, and the layer is for Windows",
            "C:\\k\\kubelet.exe",
        ),
        (
            windows,
            "[[artifact]]\nname = \"x\"\nversion = \"1\"\nurl = \"https://x.invalid/x\"\nchecksum = \"unpublished\"\narchive = { into = \"/opt\" }\n",
            "a path of Linux",
            "with the drive",
        ),
        (windows, "[units]\nenable = [\"x.service\"]\n", "\"units\" is for Linux", "[[windows-service]]"),
        (windows, "packages = [\"curl\"]\n", "\"packages\" is for Linux", "no packages"),
        (windows, "extension = false\n", "\"extension\" is for Linux", "leave it out"),
        (
            windows,
            "[[file]]\npath = 'C:\\k\\x'\ncontent = \"\"\nmode = \"0755\"\n",
            "no mode, uid or gid",
            "the rights of their folder",
        ),
        (windows, "[[file]]\npath = 'C:\\k\\aux.txt'\ncontent = \"\"\n", "name of a device", "rename it"),
        (windows, "[[directory]]\npath = 'C:\\k\\x.'\n", "ends with a dot or a space", "without that"),
        (
            "schema = 1\nsummary = \"x\"\nos = [\"windows\", \"debian\"]\n",
            "",
            "for Windows or for Linux",
            "two layers",
        ),
    ] {
        let said = said(&format!("{head}{step}"));
        assert!(said.contains(message) && said.contains(help), "{step}: {said}");
    }
}

#[test]
fn mistakes_in_steps_for_windows_are_told_with_their_line() {
    let head = "schema = 1\nsummary = \"x\"\nos = [\"windows\"]\n";
    let registry = "[[registry]]\nkey = 'HKLM\\SYSTEM\\x'\nname = \"n\"\n";
    let service = "[[windows-service]]\nname = \"x\"\n";
    for (step, message) in [
        (format!("{registry}type = \"dword\"\ndata = -1\n"), "from 0 to 0xffffffff"),
        (format!("{registry}type = \"dword\"\ndata = 0x1_0000_0000\n"), "from 0 to 0xffffffff"),
        (format!("{registry}type = \"dword\"\ndata = \"1\"\n"), "without quotes"),
        (format!("{registry}type = \"sz\"\ndata = 1\n"), "in quotes"),
        (format!("{registry}type = \"multi-sz\"\ndata = [\"\"]\n"), "none of them empty"),
        (format!("{registry}type = \"binary\"\ndata = \"0\"\n"), "two hexadecimal digits"),
        (format!("{registry}type = \"word\"\ndata = 1\n"), "did you mean \"dword\"?"),
        (format!("{registry}type = \"sz\"\ndata = \"a\\u0000b\"\n"), "no NUL"),
        (
            "[[registry]]\nkey = 'HKLM\\SYSTEM\\select'\nname = \"Current\"\ntype = \"dword\"\ndata = 7\n".to_owned(),
            "which control set",
        ),
        (
            "[[registry]]\nkey = 'HKLM\\SYSTEM\\CURRENTCONTROLSET\\Control\\Session manager\\Environment'\nname = \"PATH\"\ntype = \"sz\"\ndata = \"x\"\n"
                .to_owned(),
            "entries of the base",
        ),
        (format!("{service}command = 'C:\\k\\x.exe'\ndepends-on = [\"X\"]\n"), "cannot wait for itself"),
        (format!("[environment]\nx = \"{}\"\n", "x".repeat(40_000)), "at most 32766"),
        (format!("{service}command = \"x.exe\"\n"), "not the whole path of a program"),
        (format!("{service}command = 'C:\\Program Files\\x.exe'\n"), "stands in quotes"),
        (format!("{service}command = 'C:\\k\\x.ps1'\n"), "does not end with .exe"),
        (format!("{service}command = 'C:\\k\\x.exe'\nstart = \"boot\"\n"), "unknown value \"boot\""),
        (format!("{service}command = 'C:\\k\\x.exe'\naccount = \"Administrator\"\n"), "unknown value"),
        (
            "[[windows-service]]\nname = 'a\\b'\ncommand = 'C:\\k\\x.exe'\n".to_owned(),
            "not the name of a service",
        ),
        ("[[firewall]]\nname = \"x\"\nports = [\"0\"]\n".to_owned(), "these are not ports"),
        (
            "[[firewall]]\nname = \"x\"\nports = [\"1\"]\ndisplay-name = \"a|b\"\n".to_owned(),
            "the firewall would read",
        ),
        (
            "[[firewall]]\nname = \"x\"\nports = [\"1\"]\nprogram = \"kubelet.exe\"\n".to_owned(),
            "would never apply",
        ),
        (
            "[[firewall]]\nname = \"x\"\nports = [\"1\"]\nprogram = '%ProgramFiles%'\n".to_owned(),
            "would never apply",
        ),
        ("path = ['D:\\k']\n".to_owned(), "not a folder of the system drive"),
        ("path = ['C:\\k;C:\\x']\n".to_owned(), "one folder"),
        ("[environment]\nPath = 'C:\\k'\n".to_owned(), "path = ['C:\\k']"),
        ("windows-features = [\"a b\"]\n".to_owned(), "not the name of a feature"),
        ("enables-windows-features = [\"\"]\n".to_owned(), "not the name of a feature"),
        ("[[windows-driver]]\ninf = 'viostor.inf'\n".to_owned(), "not the .inf file of a driver"),
        ("[[windows-driver]]\ninf = 'C:\\Drivers\\x.sys'\n".to_owned(), "not the .inf file of a driver"),
        ("[[windows-driver]]\ninf = 'C:\\x.inf'\n".to_owned(), "a folder of its own"),
        ("[[windows-driver]]\ninf = 'C:\\a;b\\x.inf'\n".to_owned(), "a folder of its own"),
        ("[[windows-driver]]\ninf = 'C:\\aux\\x.inf'\n".to_owned(), "name of a device"),
    ] {
        let said = said(&format!("{head}{step}"));
        assert!(said.contains(message), "{step}: {said}");
        assert!(said.contains("layer.toml:"), "{step}: {said}");
    }
}

/// A layer with one value of the registry and one file.
fn layer(name: &str, file: &str, data: u32, replaces: bool) -> LayerPlan {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::create_dir(&path).unwrap();
    let text = format!(
        "schema = 1\nsummary = \"x\"\nos = [\"windows\"]\n[[file]]\npath = 'C:\\{file}'\ncontent = \"\"\n\
         [[registry]]\nkey = 'HKLM\\SYSTEM\\x'\nname = \"{name}\"\ntype = \"dword\"\ndata = {data}\n\
         [[registry]]\nkey = 'HKLM\\Software\\X'\nname = \"Same\"\ntype = \"dword\"\ndata = {data}\nreplaces = {replaces}\n"
    );
    fs::write(path.join("layer.toml"), text).unwrap();
    resolved(&path)
}

#[test]
fn two_layers_agree_on_values_and_on_the_case_of_names() {
    let check = |upper: LayerPlan| check_together(&[layer("a", r"k\x", 1, false), upper]);
    assert_eq!(check(layer("b", r"k\y", 1, false)), Ok(()));
    assert_eq!(check(layer("b", r"k\y", 2, true)), Ok(()));
    let (index, message, help) = check(layer("b", r"k\y", 2, false)).unwrap_err();
    assert_eq!(index, 1);
    assert!(message.contains("\"a\" and \"b\"") && message.contains(r"HKLM\SOFTWARE\X Same"), "{message}");
    assert!(help.contains("replaces = true"), "{help}");
    let (_, message, _) = check(layer("b", r"K\X", 1, false)).unwrap_err();
    assert!(message.contains("differ in case alone"), "{message}");
}

#[test]
fn a_value_with_two_contents_in_one_layer_is_refused() {
    let text = LAYER.replace("name = \"HNSControlFlag\"", "name = \"hnscontrolflag\"");
    let twice = format!(
        "{text}\n[[registry]]\nkey = 'HKLM\\System\\CurrentControlSet\\services\\HNS\\State'\nname = \"HNSControlFlag\"\n\
         type = \"dword\"\ndata = 1\n"
    );
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("layer.toml"), twice).unwrap();
    let layer = Layer::read(folder.path().to_owned(), &Release).unwrap();
    let variables = [("kubernetes".to_owned(), "1.36.4".to_owned())].into();
    let error = resolve_layer(&layer, &variables).unwrap_err();
    assert!(error.message().contains("twice"), "{error}");
}
