//! A layer of one's own, from `kiln layer new` to an image's plan, as docs/layers.md has it.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn kiln(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kiln"));
    command.args(arguments).current_dir(folder).env("KILN_CACHE", folder.join("cache"));
    command.output().unwrap()
}

fn findings(output: &Output) -> Vec<Value> {
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    json["layers"][0]["findings"].as_array().unwrap().clone()
}

#[test]
fn a_newcomers_layer_is_started_broken_mended_and_in_an_image() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    fs::create_dir(here.join("images")).unwrap();
    fs::copy(repository.join("images/debian-13.toml"), here.join("images/debian-13.toml")).unwrap();
    std::os::unix::fs::symlink(repository.join("layers"), here.join("layers")).unwrap();

    let started = kiln(here, &["layer", "new", "acme", "--into", "images"]);
    assert!(started.status.success(), "{started:?}");
    let check = ["layer", "check", "images/acme", "--json"];
    let checked = kiln(here, &check);
    assert_eq!((checked.status.code(), findings(&checked)), (Some(0), Vec::new()));

    let definition = here.join("images/acme/layer.toml");
    let text = fs::read_to_string(&definition).unwrap();
    fs::write(&definition, text.replace("source =", "sorce =")).unwrap();
    let checked = kiln(here, &check);
    assert_eq!(checked.status.code(), Some(3));
    let [finding] = &findings(&checked)[..] else { panic!("{checked:?}") };
    assert!(
        finding["message"].as_str().unwrap().contains("layer.toml:8: unknown key \"sorce\""),
        "{finding}"
    );
    assert_eq!(finding["help"], "did you mean \"source\"?");
    let text_form = kiln(here, &check[..3]);
    let said = String::from_utf8_lossy(&text_form.stdout).into_owned();
    assert!(said.contains("help: did you mean") && said.contains("1 finding"), "{said}");
    fs::write(&definition, &text).unwrap();

    let image = "schema = 1\nextends = \"debian-13.toml\"\nname = \"mine\"\nlayers = [\"boot\", \"node\", \"runc\", \
                 \"${runtime}\", \"cni-plugins\", \"crictl\", \"kubelet\", \"firstboot\", \"./acme\"]\n";
    fs::write(here.join("images/mine.toml"), image).unwrap();
    let plan = kiln(here, &["plan", "images/mine.toml"]);
    let said = String::from_utf8_lossy(&plan.stdout).into_owned();
    assert!(said.contains("layer    acme           What acme adds to a node, in one line"), "{said}");
}

#[test]
fn what_is_no_layer_or_no_name_is_an_error_with_its_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("empty")).unwrap();
    for (arguments, code, message, help) in [
        (&["layer", "check", "empty"][..], 3, "is no layer", "kiln layer new NAME starts one"),
        (&["layer", "check", "absent"], 9, "reading absent", ""),
        (&["layer", "check"], 2, "required", ""),
        (&["layer", "new", "Acme"], 2, "\"Acme\" is not a name", "lower-case letters"),
        (&["layer", "new", "empty"], 2, "is there already", "another name"),
        (&["layer", "new", "acme", "--into", "absent"], 2, "there is no folder absent", "--into"),
    ] {
        let output = kiln(folder.path(), arguments);
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(message) && said.contains(help), "{arguments:?}: {said}");
    }
}

#[test]
fn a_layer_for_windows_begins_with_what_windows_has() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    for (arguments, name) in [(&[][..], "windows-acme"), (&["--os", "windows"], "acme")] {
        let started = kiln(here, &[&["layer", "new", name][..], arguments].concat());
        let said = String::from_utf8_lossy(&started.stdout).into_owned();
        assert!(started.status.success() && said.contains("a value of the registry"), "{started:?}");
        let checked = kiln(here, &["layer", "check", name, "--json"]);
        assert_eq!((checked.status.code(), findings(&checked)), (Some(0), Vec::new()));
        let text = fs::read_to_string(here.join(name).join("layer.toml")).unwrap();
        for part in [
            "os = [\"windows\"]".to_owned(),
            format!("'HKLM\\SOFTWARE\\{name}'"),
            format!("name = \"{name}\""),
        ] {
            assert!(text.contains(&part), "{part}: {text}");
        }
    }
    assert!(kiln(here, &["layer", "new", "windows-not", "--os", "linux"]).status.success());
    assert!(here.join("windows-not/sysctl.conf").is_file());
}
