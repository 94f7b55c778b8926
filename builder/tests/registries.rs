//! `[registries."HOST"]` becomes files of the image's runtime.

use std::fs;
use std::path::Path;

use kiln::definition::Definition;
use kiln::error::Result;
use kiln::registry;

const CA: &str = include_str!("../../images/company/company-ca.crt");

const REGISTRIES: &str = r#"
[registries."docker.io"]
mirrors = ["https://mirror.example.com"]
ca = "ca.crt"
"#;

/// More than Docker can do.
const ALL: &str = r#"
[registries."docker.io"]
mirrors = ["https://mirror.example.com", "http://10.0.0.1:5000/hub"]
ca = "ca.crt"

[registries."registry.example.com:5000"]
ca = "ca.crt"
"#;

fn load(folder: &Path, runtime: &str, registries: &str) -> Result<Definition> {
    let definition = format!(
        "schema = 1\nname = \"x\"\narch = \"amd64\"\nkubernetes = \"1.36.2\"\nruntime = \"{runtime}\"\n\
         layers = [\"boot\", \"node\", \"runc\", \"${{runtime}}\", \"cni-plugins\", \"crictl\", \"kubelet\", \
         \"firstboot\"]\noutputs = [\"raw\"]\n[base]\ndistribution = \"debian\"\nsuite = \"trixie\"\n{registries}"
    );
    fs::write(folder.join("x.toml"), definition).unwrap();
    fs::write(folder.join("ca.crt"), CA).unwrap();
    fs::write(folder.join("other.crt"), [CA, CA].concat()).unwrap();
    fs::write(folder.join("cut.crt"), &CA[..200]).unwrap();
    fs::write(folder.join("key.pem"), CA.replace("CERTIFICATE", "PRIVATE KEY")).unwrap();
    let layers = Path::new(env!("CARGO_MANIFEST_DIR")).join("../layers");
    registry::load(&folder.join("x.toml"), &[], Some(&layers))
}

/// The file at `path` of the runtime's layer.
fn file(definition: &Definition, path: &str) -> Option<String> {
    let runtime = &definition.plan.variables["runtime"];
    let layer = definition.plan.layers.iter().find(|layer| &layer.name == runtime).unwrap();
    let files: Vec<_> = layer.files.iter().filter(|file| file.path == path).collect();
    assert!(files.len() < 2, "{path} is there twice");
    files.first().map(|file| String::from_utf8_lossy(&file.content).into_owned())
}

#[test]
fn containerd_has_a_folder_for_each_registry() {
    let folder = tempfile::tempdir().unwrap();
    let definition = load(folder.path(), "containerd", ALL).unwrap();
    let ca = "ca = \"/etc/containerd/certs.d/docker.io/ca.crt\"\n";
    let expected = format!(
        "{ca}\n[host.\"https://mirror.example.com\"]\ncapabilities = [\"pull\", \"resolve\"]\n{ca}\n\
         [host.\"http://10.0.0.1:5000/v2/hub\"]\ncapabilities = [\"pull\", \"resolve\"]\noverride_path = true\n{ca}"
    );
    let hosts = file(&definition, "etc/containerd/certs.d/docker.io/hosts.toml").unwrap();
    assert_eq!(hosts, expected);
    toml::from_str::<toml::Table>(&hosts).unwrap();
    assert_eq!(file(&definition, "etc/containerd/certs.d/docker.io/ca.crt").as_deref(), Some(CA));
    let own = "ca = \"/etc/containerd/certs.d/registry.example.com:5000/ca.crt\"\n";
    let hosts = file(&definition, "etc/containerd/certs.d/registry.example.com:5000/hosts.toml");
    assert_eq!(hosts.as_deref(), Some(own));
    let warning = "docker.io: nobody vouches for images of a mirror without TLS: http://10.0.0.1:5000/hub";
    assert!(definition.warnings.contains(&warning.to_owned()), "{:?}", definition.warnings);
}

#[test]
fn cri_o_has_drop_ins_and_a_folder_of_cas_for_each_host() {
    let folder = tempfile::tempdir().unwrap();
    let definition = load(folder.path(), "crio", ALL).unwrap();
    let expected = "[[registry]]\nprefix = \"docker.io\"\nlocation = \"docker.io\"\n\n\
                    [[registry.mirror]]\nlocation = \"mirror.example.com\"\n\n\
                    [[registry.mirror]]\nlocation = \"10.0.0.1:5000/hub\"\ninsecure = true\n";
    let drop_in = file(&definition, "etc/containers/registries.conf.d/50-docker.io.conf").unwrap();
    assert_eq!(drop_in, expected);
    toml::from_str::<toml::Table>(&drop_in).unwrap();
    for host in ["docker.io", "mirror.example.com", "10.0.0.1:5000", "registry.example.com:5000"] {
        let path = format!("etc/containers/certs.d/{host}/ca.crt");
        assert_eq!(file(&definition, &path).as_deref(), Some(CA), "{host}");
    }
}

#[test]
fn docker_has_the_mirrors_beside_its_own_settings() {
    let folder = tempfile::tempdir().unwrap();
    let read = |definition: &Definition| {
        let text = file(definition, "etc/docker/daemon.json").unwrap();
        serde_json::from_str::<serde_json::Value>(&text).unwrap()
    };
    let mut expected = read(&load(folder.path(), "docker", "").unwrap());
    assert!(expected["exec-opts"].is_array());
    expected["registry-mirrors"] = serde_json::json!(["https://mirror.example.com"]);
    let definition = load(folder.path(), "docker", REGISTRIES).unwrap();
    assert_eq!(read(&definition), expected);
    let ca = file(&definition, "etc/docker/certs.d/mirror.example.com/ca.crt");
    assert_eq!(ca.as_deref(), Some(CA));
}

#[test]
fn a_child_changes_one_key_of_a_registry() {
    let folder = tempfile::tempdir().unwrap();
    load(folder.path(), "containerd", REGISTRIES).unwrap();
    let child = "schema = 1\nextends = \"x.toml\"\n[registries.\"docker.io\"]\nca = \"other.crt\"\n";
    fs::write(folder.path().join("child.toml"), child).unwrap();
    let layers = Path::new(env!("CARGO_MANIFEST_DIR")).join("../layers");
    let definition = registry::load(&folder.path().join("child.toml"), &[], Some(&layers)).unwrap();
    let hosts = file(&definition, "etc/containerd/certs.d/docker.io/hosts.toml").unwrap();
    assert!(hosts.contains("https://mirror.example.com"));
    let ca = file(&definition, "etc/containerd/certs.d/docker.io/ca.crt").unwrap();
    assert_eq!(ca, [CA, CA].concat());
}

#[test]
fn wrong_registries_are_explained() {
    for (runtime, registries, message, help) in [
        (
            "containerd",
            "[registries.\"Docker.io\"]\nca = \"ca.crt\"",
            "\"Docker.io\" is not the host of a registry",
            "docker.io",
        ),
        (
            "containerd",
            "[registries.\"docker.io/library\"]\nca = \"ca.crt\"",
            "is not the host of a registry",
            "docker.io",
        ),
        (
            "containerd",
            "[registries.\"../x\"]\nca = \"ca.crt\"",
            "is not the host of a registry",
            "docker.io",
        ),
        ("containerd", "[registries.\"docker.io\"]", "nothing is said of this registry", "add mirrors"),
        (
            "containerd",
            "[registries.\"docker.io\"]\nmirror = [\"https://x\"]",
            "unknown key \"mirror\"",
            "mirrors",
        ),
        (
            "containerd",
            "[registries.\"docker.io\"]\nmirrors = [\"mirror.example.com\"]",
            "is not an address",
            "https://HOST",
        ),
        (
            "containerd",
            "[registries.\"docker.io\"]\nmirrors = [\"file:///srv\"]",
            "is not the address of a mirror",
            "https://HOST",
        ),
        (
            "containerd",
            "[registries.\"docker.io\"]\nmirrors = [\"https://x/?ns=docker.io\"]",
            "is not the address of a mirror",
            "https://HOST",
        ),
        (
            "containerd",
            "[registries.\"docker.io\"]\nmirrors = [\"https://me:pw@x\"]",
            "the address holds a login",
            "no place for a login",
        ),
        (
            "containerd",
            "[registries.\"docker.io\"]\nmirrors = [\"https://x\", \"https://x\"]",
            "the mirror https://x is there twice",
            "remove one",
        ),
        (
            "containerd",
            "[registries.\"docker.io\"]\nca = \"cut.crt\"",
            "certificate 1 is broken",
            "export it again",
        ),
        (
            "containerd",
            "[registries.\"docker.io\"]\nca = \"absent.crt\"",
            "absent.crt: there is no such file",
            "relative to the definition",
        ),
        (
            "containerd",
            "[registries.\"docker.io\"]\nca = \"x.toml\"",
            "x.toml: it has no certificate in PEM",
            "openssl x509",
        ),
        (
            "containerd",
            "[registries.\"docker.io\"]\nca = \"key.pem\"",
            "key.pem: it holds a private key",
            "certificate alone",
        ),
        (
            "docker",
            "[registries.\"quay.io\"]\nmirrors = [\"https://x\"]",
            "knows mirrors of docker.io alone",
            "another runtime",
        ),
        (
            "docker",
            "[registries.\"docker.io\"]\nmirrors = [\"https://x/hub\"]",
            "takes no mirror with a path",
            "another runtime",
        ),
        (
            "crio",
            "[registries.\"a.io\"]\nmirrors = [\"https://x\"]\nca = \"ca.crt\"\n[registries.\"b.io\"]\nmirrors = [\"https://x\"]\nca = \"other.crt\"",
            "two registries want different CAs in /etc/containers/certs.d/x/ca.crt",
            "one file that has both",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let error = load(folder.path(), runtime, registries).unwrap_err();
        let hint = error.hint().unwrap_or_default();
        assert!(error.message().contains(message) && hint.contains(help), "{registries}: {error}");
        assert!(!error.to_string().contains("pw@"), "{error}");
        assert_eq!(error.kind().exit_code(), 3, "{error}");
    }
}
