use std::os::unix::fs::symlink;

use super::*;
use crate::registry::Release;

const LAYER: &str = r##"schema = 1
summary = "a unit and a setting"

[[file]]
path = "/usr/lib/systemd/system/x.service"
source = "x.service"

[[file]]
path = "/etc/sysctl.d/90-x.conf"
content = "vm.max_map_count = 262144"
mode = "0644"

[[file]]
path = "/usr/local/bin/x"
content = "#!/bin/sh\necho ${kubernetes}"
mode = "0755"
interpolate = true
when = { kubernetes = ">=1.30" }

[[directory]]
path = "/etc/x"
mode = "0755"

[[artifact]]
name = "x"
version = "1.0"
url = "https://example.org/x.tar"
checksum = "${url}.sha256"
archive = { into = "/opt/x", mode = "0755" }

[units]
enable = ["x.service"]
"##;

const UNIT: &str = "\
[Unit]
Description=x \\
  and more

[Service]
ExecStart=/usr/local/bin/x --all

[Install]
WantedBy=multi-user.target
";

/// A change of the layer or its unit, and what it says.
struct Case {
    title: &'static str,
    from: &'static str,
    to: &'static str,
    finding: &'static str,
    help: &'static str,
}

const fn case(
    title: &'static str,
    from: &'static str,
    to: &'static str,
    finding: &'static str,
    help: &'static str,
) -> Case {
    Case { title, from, to, finding, help }
}

const CASES: [Case; 34] = [
    case("an unknown key", "summary", "sumary", "unknown key \"sumary\"", "summary"),
    case("a summary that says nothing", "a unit and a setting", " ", "not one line", "kiln plan shows it"),
    case(
        "an unknown variable",
        "${kubernetes}",
        "${kubernets}",
        "unknown variable ${kubernets}",
        "kubernetes",
    ),
    case(
        "an unknown name in a condition",
        "{ kubernetes =",
        "{ kuberntes =",
        "unknown variable ${kuberntes}",
        "kubernetes",
    ),
    case("a condition that is none", ">=1.30", ">=one", "not a version requirement", ">=1.26"),
    case(
        "a file that is missing",
        "source = \"x.service\"",
        "source = \"y.service\"",
        "y.service: No such file",
        "relative to the layer",
    ),
    case(
        "a checksum that is missing",
        "checksum = \"${url}.sha256\"\n",
        "",
        "either a checksum address or a sha256",
        "unpublished",
    ),
    case(
        "a unit's name without an ending",
        "enable = [\"x.service\"]",
        "enable = [\"x\"]",
        "\"x\" is not the name of a unit",
        ".service",
    ),
    case(
        "a file in memory",
        "/etc/sysctl.d/90-x.conf",
        "/run/x.conf",
        "/run/x.conf: hidden at boot",
        "tmpfiles.d",
    ),
    case(
        "an archive in a home",
        "/opt/x",
        "/root/x",
        "/root/x: hidden at boot by a folder of /var",
        "/var/roothome",
    ),
    case(
        "a folder of before the merged /usr",
        "/usr/local/bin/x\"",
        "/sbin/x\"",
        "/sbin/x: this is a link",
        "/usr in front",
    ),
    case(
        "a file for the boot loader",
        "/etc/sysctl.d/90-x.conf",
        "/boot/loader.conf",
        "Kiln makes what the machine boots from",
        "kernel-arguments",
    ),
    case(
        "a file where nobody looks",
        "/etc/sysctl.d/90-x.conf",
        "/data/x.conf",
        "no program looks there",
        "/etc, /opt, /usr, /var",
    ),
    case(
        "a file that everybody may write",
        "mode = \"0644\"",
        "mode = \"0666\"",
        "mode 0666: every user may write it",
        "0644",
    ),
    case(
        "a script that nobody may run",
        "mode = \"0755\"\ninterpolate",
        "interpolate",
        "mode 0644: it is a program, and nobody may run it",
        "0755",
    ),
    case("a setting that can be run", "mode = \"0644\"", "mode = \"0755\"", "it is no program", "0644"),
    case(
        "a file that cannot be read",
        "mode = \"0644\"",
        "mode = \"0044\"",
        "its owner cannot read it",
        "0600",
    ),
    case(
        "a folder that everybody may empty",
        "path = \"/etc/x\"\nmode = \"0755\"",
        "path = \"/etc/x\"\nmode = \"0777\"",
        "/etc/x, mode 0777: every user may remove",
        "1777",
    ),
    case(
        "a folder that nobody may enter",
        "path = \"/etc/x\"\nmode = \"0755\"",
        "path = \"/etc/x\"\nmode = \"0644\"",
        "nobody can enter it",
        "0755",
    ),
    case(
        "a drop-in without its ending",
        "90-x.conf",
        "90-x",
        "whose name ends in .conf are read",
        "sysctl.d(5)",
    ),
    case(
        "a unit beside the units",
        "/usr/lib/systemd/system/x.service",
        "/etc/systemd/x.service",
        "no units in this folder",
        "/usr/lib/systemd/system",
    ),
    case(
        "a private key",
        "#!/bin/sh",
        "#!/bin/sh\\n-----BEGIN OPENSSH PRIVATE KEY-----",
        "it holds a private key",
        "user data",
    ),
    case("line ends of Windows", "262144\"", "262144\\r\\n\"", "lines end as on Windows", "line feeds"),
    case(
        "a setting without a value",
        "vm.max_map_count = 262144",
        "vm.max_map_count 262144",
        "line 1, \"vm.max_map_count 262144\", is no setting",
        "name = value",
    ),
    case(
        "a module with options",
        "/etc/sysctl.d/90-x.conf\"\ncontent = \"vm.max_map_count = 262144",
        "/etc/modules-load.d/x.conf\"\ncontent = \"nbd nbds_max=4",
        "is not the name of a module",
        "/etc/modprobe.d",
    ),
    case(
        "a certificate in another form",
        "/etc/sysctl.d/90-x.conf",
        "/usr/local/share/ca-certificates/x.crt",
        "0 certificates in PEM",
        "openssl x509",
    ),
    case(
        "a certificate that is cut off",
        "/etc/sysctl.d/90-x.conf\"\ncontent = \"vm.max_map_count = 262144",
        "/usr/local/share/ca-certificates/x.crt\"\ncontent = \"-----BEGIN CERTIFICATE-----\\nMIIB",
        "certificate 1 is broken",
        "openssl x509",
    ),
    case(
        "a unit that is not there",
        "enable = [\"x.service\"]",
        "enable = [\"y.service\"]",
        "this layer has no unit y.service",
        "x.service",
    ),
    case(
        "a unit without a target",
        "[Install]\nWantedBy=multi-user.target\n",
        "",
        "x.service cannot be enabled",
        "WantedBy",
    ),
    case("a unit without a program", "ExecStart", "ExecStrat", "it starts no program", "ExecStart="),
    case(
        "a section of another kind",
        "[Service]",
        "[Timer]",
        "line 5: systemd knows no section [Timer] there",
        "[Service]",
    ),
    case(
        "a line that is nothing",
        "ExecStart=/usr/local/bin/x",
        "ExecStart=/usr/local/bin/x\nRestart",
        "line 7, \"Restart --all\", is no assignment",
        "Key=value",
    ),
    case(
        "an assignment before all sections",
        "[Unit]\n",
        "",
        "Description stands before the first section",
        "[Unit]",
    ),
    case("a pipe in a unit", "--all", "--all | logger", "\"|\" in ExecStart is an argument", "/bin/sh -c"),
];

/// The layer `x` in `root`, changed.
fn lay_out(root: &Path, from: &str, to: &str) -> PathBuf {
    let folder = root.join("x");
    fs::create_dir_all(&folder).unwrap();
    let (layer, unit) = (LAYER.replacen(from, to, 1), UNIT.replacen(from, to, 1));
    assert!(from.is_empty() || layer != LAYER || unit != UNIT, "the case does not fit its text: {from}");
    fs::write(folder.join("layer.toml"), layer).unwrap();
    fs::write(folder.join("x.service"), unit).unwrap();
    fs::write(folder.join("README.md"), "# x\nA unit and a setting.\n").unwrap();
    folder
}

fn found(folder: &Path) -> Vec<String> {
    check(folder, &Release, Verifier::Own).unwrap().iter().map(Error::to_string).collect()
}

#[test]
fn every_broken_layer_is_explained() {
    for Case { title, from, to, finding, help } in CASES {
        let root = tempfile::tempdir().unwrap();
        let found = found(&lay_out(root.path(), from, to));
        assert!(
            found.iter().any(|said| {
                let (message, hint) = said.rsplit_once("help: ").unwrap_or_default();
                message.contains(finding) && hint.contains(help)
            }),
            "{title}: {found:#?}"
        );
    }
}

#[test]
fn a_right_layer_has_no_findings_and_one_mistake_is_one_finding() {
    let root = tempfile::tempdir().unwrap();
    let folder = lay_out(root.path(), "", "");
    assert_eq!(found(&folder), Vec::<String>::new());
    fs::write(folder.join("forgotten.conf"), "").unwrap();
    fs::remove_file(folder.join("README.md")).unwrap();
    let found = found(&folder);
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(found[0].contains("README.md is missing or empty"), "{found:#?}");
    assert!(found[1].contains("forgotten.conf: no step takes this file"), "{found:#?}");
}

#[test]
fn a_folder_that_is_no_layer_is_an_error() {
    let root = tempfile::tempdir().unwrap();
    let error = check(root.path(), &Release, Verifier::Own).unwrap_err();
    assert!(error.message().contains("is no layer") && error.hint().is_some(), "{error}");
    assert!(check(&root.path().join("absent"), &Release, Verifier::Own).is_err());
    let bad = root.path().join("My_Layer");
    fs::rename(lay_out(root.path(), "", ""), &bad).unwrap();
    assert!(found(&bad)[0].contains("\"My_Layer\" is not a name"), "{:?}", found(&bad));
}

#[test]
fn a_layer_for_windows_is_checked_by_its_own_rules() {
    let folder = tempfile::tempdir().unwrap();
    let layer = folder.path().join("acme");
    fs::create_dir(&layer).unwrap();
    fs::write(layer.join("README.md"), "x").unwrap();
    let found = |path: &str, content: &str| {
        let head = "schema = 1\nsummary = \"x\"\nos = [\"windows\"]\n[[file]]\n";
        let text = format!("{head}path = '{path}'\ncontent = \"{content}\"\n");
        fs::write(layer.join("layer.toml"), text).unwrap();
        found(&layer).concat()
    };
    assert_eq!(found(r"C:\k\x.cmd", "@echo off\\r\\n"), "");
    assert_eq!(found(r"C:\etc\sysctl.d\x", "no setting"), "");
    for (path, content, message) in [
        (r"C:\k\x.cmd", "@echo off\\n:a\\n", "cmd.exe misses labels"),
        (r"c:\windows\System32\Config\SOFTWARE", "x", r"C:\windows\System32\Config\SOFTWARE: the hives"),
        (r"C:\Windows\WinSxS\x", "x", "the servicing of Windows"),
        (r"C:\k\key.pem", "-----BEGIN PRIVATE KEY-----", "it holds a private key"),
    ] {
        let said = found(path, content);
        assert!(said.contains(message), "{path}: {said}");
    }
}

#[test]
fn files_that_two_conditions_choose_between_are_both_looked_at() {
    let root = tempfile::tempdir().unwrap();
    let other = "when = { kubernetes = \">=1.30\" }\n\n[[file]]\npath = \"/usr/local/bin/x\"\ncontent = \"#!/bin/sh\"\n\
                 when = { kubernetes = \"<1.30\" }";
    let found = found(&lay_out(root.path(), "when = { kubernetes = \">=1.30\" }", other));
    assert!(found.len() == 1 && found[0].contains("mode 0644: it is a program"), "{found:#?}");
}

#[test]
fn a_link_out_of_the_folder_is_refused_here_as_in_a_build() {
    let root = tempfile::tempdir().unwrap();
    let folder = lay_out(root.path(), "", "");
    fs::remove_file(folder.join("x.service")).unwrap();
    symlink("/etc/passwd", folder.join("x.service")).unwrap();
    assert!(found(&folder)[0].contains("leads out of the layer's folder"));
}

#[test]
fn the_shipped_layers_and_the_example_have_no_findings() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let layers = fs::read_dir(here.join("../layers")).unwrap().map(|entry| entry.unwrap().path());
    let folders: Vec<PathBuf> = layers.filter(|path| path.is_dir()).collect();
    assert!(folders.len() > 10);
    for folder in folders.iter().chain([&here.join("../images/company")]) {
        assert_eq!(found(folder), Vec::<String>::new(), "{}", folder.display());
    }
}

#[test]
fn a_new_layer_has_no_findings_and_is_made_once() {
    let root = tempfile::tempdir().unwrap();
    let folder = start("my-drivers", System::Linux, root.path()).unwrap();
    assert_eq!(folder, root.path().join("my-drivers"));
    assert_eq!(found(&folder), Vec::<String>::new());
    for (name, into, says) in [
        ("my-drivers", root.path().to_owned(), "is there already"),
        ("My Drivers", root.path().to_owned(), "is not a name"),
        ("other", root.path().join("absent"), "there is no folder"),
    ] {
        let error = start(name, System::Linux, &into).unwrap_err();
        assert!(error.message().contains(says) && error.hint().is_some(), "{name}: {error}");
    }
}

#[test]
fn systemd_is_asked_about_lines_of_units_and_drop_ins() {
    let file = |path: &str, text: &str| FilePlan {
        path: path.to_owned(),
        content: text.as_bytes().to_vec(),
        mode: 0o644,
        uid: 0,
        gid: 0,
    };
    if Verifier::of_this_machine() == Verifier::Own {
        let test = "systemd_is_asked_about_lines_of_units_and_drop_ins";
        return testkit::not_run(test, "systemd-analyze is missing");
    }
    let right = "[Service]\nExecStart=/usr/bin/this-machine-has-it-not\n";
    for (path, text, expected) in [
        ("usr/lib/systemd/system/x.service", right, None),
        (
            "usr/lib/systemd/system/x.service",
            "[Service]\nExecStrat=/x\n",
            Some("line 2: systemd: Unknown key"),
        ),
        (
            "usr/lib/systemd/system/x.service.d/a.conf",
            "[Service]\nRestart=sometimes\n",
            Some("line 2: systemd: "),
        ),
        ("usr/lib/systemd/system/x@.service", "[Service]\nType=onshot\n", Some("line 2: systemd: ")),
        ("usr/lib/systemd/system/x-.scope.d/a.conf", "[Scope]\nTimeoutStopSec=5s\n", None),
    ] {
        let file = file(path, text);
        let found = Verifier::Systemd.verify([(0, &file)].into_iter()).unwrap();
        let said = found.first().map(|(_, (message, _))| message.as_str());
        match expected {
            Some(start) => assert!(said.is_some_and(|said| said.starts_with(start)), "{path}: {found:?}"),
            None => assert_eq!(said, None, "{path}"),
        }
    }
}

#[test]
fn what_a_shell_gets_in_quotes_is_no_argument_of_systemd() {
    let unit = |command: &str| format!("[Service]\nExecStart={command}\n");
    let path = "usr/lib/systemd/system/x.service";
    for command in [
        "/bin/sh -c 'date; echo hello > /run/x | logger'",
        "/bin/sh -c \"a && b\"",
        "/bin/sh -c 'it\\'s > x'",
    ] {
        assert_eq!(unit_file::check(path, &unit(command)), [], "{command}");
    }
    for command in ["/bin/date > /run/x", "/bin/sh -c 'date' | logger"] {
        assert_eq!(unit_file::check(path, &unit(command)).len(), 1, "{command}");
    }
}
