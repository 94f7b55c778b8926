//! The delivery by Cluster API's provider against moto, which checks signatures, session tokens and
//! permissions (<https://docs.getmoto.org>).

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::follow;
use crate::host::files;
use crate::host::root::Root;
use crate::net::test_server::{Ca, Trusted as _};
use crate::net::trust::Trust;
use crate::net::{Deadline, Network};
use crate::platforms::delivery::{Named, Reach};
use crate::report::tests::support::{facts, ok, place};

/// A Python that has moto.
const PYTHON: &str = "KILN_TEST_MOTO";
const NAMES: &[&str] = &[
    "localhost",
    "secretsmanager.eu-west-1.amazonaws.com",
    "ssm.eu-west-1.amazonaws.com",
    "s3.eu-west-1.amazonaws.com",
];

/// A running moto.
struct Moto {
    ca: Ca,
    process: Child,
    lines: BufReader<ChildStdout>,
    port: u64,
    role: String,
}

impl Moto {
    /// Starts it with this user data; none where no Python here has it.
    fn start(folder: &Path, user_data: &[u8]) -> Option<Self> {
        let python = std::env::var(PYTHON).unwrap_or_else(|_| "python3".to_owned());
        let has_moto = Command::new(&python)
            .args(["-c", "import boto3, moto.moto_server.werkzeug_app"])
            .stderr(Stdio::null())
            .status();
        if !has_moto.is_ok_and(|status| status.success()) {
            return None;
        }
        let ca = Ca::new();
        let pair = ca.sign(NAMES, -1..30);
        let paths = ["certificate", "key", "user-data"].map(|name| folder.join(name));
        let contents = [pem(&pair.certificate), pair.key.serialize_pem().into_bytes(), user_data.to_vec()];
        for (path, content) in paths.iter().zip(&contents) {
            files::write(path, content, 0o600).unwrap();
        }
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/moto/serve.py");
        let mut process = Command::new(python)
            .args(["-W", "ignore"])
            .arg(script)
            .args(paths)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap());
        let mut moto = Self { ca, process, lines, port: 0, role: String::new() };
        let ready = moto.line();
        (moto.port, moto.role) = (ready["port"].as_u64().unwrap(), ready["role"].to_string());
        Some(moto)
    }

    fn line(&mut self) -> Value {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }

    /// The names of secrets and parameters that are left.
    fn left(&mut self) -> Value {
        self.process.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
        self.line()
    }

    /// Follows, and deletes what is left if there is anything; with these credentials of the instance's role.
    fn deliver(&self, root: &Root, named: Named, role: &str) -> Result<Vec<u8>, String> {
        let script = [ok("T"), ok("role\n"), ok(role)];
        let service = place(script.iter().chain(&script).cloned().collect()).address.to_string();
        let domain = format!("amazonaws.com:{}", self.port);
        let facts = facts(&[("region", "eu-west-1"), ("domain", &domain)]);
        let reach = Reach {
            facts: &facts,
            network: Network::new(root.clone()),
            deadline: Deadline::after(Duration::from_secs(60)),
            trust: &|| Ok(Trust::Authorities(self.ca.authorities())),
            service: Some(&service),
        };
        let delivered = follow(&reach, named).map_err(|failure| format!("{failure:?}"))?.unwrap();
        if let Some(remains) = delivered.remains {
            (remains.delete)(&reach).map_err(|failure| format!("{failure:?}"))?;
        }
        Ok(delivered.document.bytes().to_vec())
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

fn pem(certificate: &[u8]) -> Vec<u8> {
    let text = STANDARD.encode(certificate);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n")).into_bytes()
}

fn boothook(get: &str, prefix: &str) -> String {
    format!("#cloud-boothook\nREGION=\"eu-west-1\"\nSECRET_PREFIX=\"{prefix}\"\nCHUNKS=\"2\"\naws {get}\n")
}

#[test]
fn aws_accepts_the_requests_and_gives_what_it_keeps() {
    let folder = tempfile::tempdir().unwrap();
    let user_data: Vec<u8> = (0..5000_u32).map(|number| (number % 251) as u8).collect();
    let Some(mut moto) = Moto::start(folder.path(), &user_data) else {
        return testkit::not_run("delivery against moto", "no moto for python3: pip install 'moto[server]'");
    };
    let root = Root::at(folder.path().join("root"));
    files::write(&root.path("/etc/hosts"), format!("127.0.0.1 {}\n", NAMES.join(" ")).as_bytes(), 0o644)
        .unwrap();
    let secrets = boothook("secretsmanager get-secret-value", "secrets/node");
    let parameters = boothook("ssm get-parameter", "/parameters/node");
    let object = Named::Ignition("s3://bucket/node/user-data");
    let role = moto.role.clone();
    for (role, what) in [
        (role.replace("\"SecretAccessKey\":\"", "\"SecretAccessKey\":\"x"), "signature"),
        (role.replace("\"Token\":\"", "\"Token\":\"x"), "token"),
    ] {
        assert!(moto.deliver(&root, object, &role).is_err(), "a wrong {what} is accepted");
        assert!(moto.deliver(&root, Named::Boothook(secrets.as_bytes()), &role).is_err(), "a wrong {what}");
    }
    assert_eq!(moto.left().as_array().unwrap().len(), 4);
    for named in [Named::Boothook(secrets.as_bytes()), Named::Boothook(parameters.as_bytes()), object] {
        let got = moto.deliver(&root, named, &role).unwrap();
        assert!(got == user_data, "the user data differs");
    }
    assert_eq!(moto.left().as_array().unwrap().len(), 0, "the pieces are deleted");
    let again = moto.deliver(&root, Named::Boothook(secrets.as_bytes()), &role).unwrap_err();
    assert!(again.contains("make a new machine"), "{again}");
}
