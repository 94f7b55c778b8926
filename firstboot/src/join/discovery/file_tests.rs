use std::fs;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::*;
use crate::config::model::Discovery;
use crate::join::discovery::discover as discover_any;
use crate::kubernetes::token::Token;
use crate::net::test_server::{ApiServer as _, Ca, Identity, Reply, TestServer, Trusted as _, status};

const TOKEN: &str = "abcdef.0123456789abcdef";

fn deadline() -> Deadline {
    Deadline::after(Duration::from_secs(20))
}

fn quick() -> Backoff<'static> {
    Backoff::seeded(1).between(Duration::from_millis(5), Duration::from_millis(20))
}

/// A machine with a discovery file, and the result of discovery.
struct Machine(tempfile::TempDir);

impl Machine {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("lab")).unwrap();
        Self(folder)
    }

    fn file(&self, name: &str, text: &str) {
        fs::write(self.0.path().join("lab").join(name), text).unwrap();
    }

    fn discover(&self, token: Option<&Token>) -> Result<(Cluster, Network)> {
        let network = Network::new(Root::at(self.0.path()));
        let discovery = Discovery::File("/lab/cluster-info.conf".into());
        let request = Request { discovery: &discovery, tls_bootstrap_token: token, deadline: deadline() };
        discover_any(&network, &request, &mut quick()).map(|cluster| (cluster, network))
    }
}

fn kubeconfig(server: &str, cluster: &str, user: &str) -> String {
    format!(
        r#"{{"kind": "Config", "current-context": "c", "contexts": [{{"name": "c", "context": {{"cluster": "k", "user": "u"}}}}],
        "clusters": [{{"name": "k", "cluster": {{"server": "{server}", {cluster}}}}}], "users": [{{"name": "u", "user": {user}}}]}}"#
    )
}

#[test]
fn a_file_with_the_ca_needs_no_request_and_the_bootstrap_token_goes_first() {
    let (ca, machine) = (Ca::new(), Machine::new());
    let server = TestServer::start(&ca, &Identity::default(), |_| Reply::Json(200, json!({})));
    machine.file("ca.crt", &ca.pem());
    machine.file("token", "a.file.token\n");
    let bootstrap: Token = TOKEN.parse().unwrap();
    for (user, token, bearer) in [
        ("null", Some(&bootstrap), TOKEN),
        (r#"{"token": "inline"}"#, Some(&bootstrap), TOKEN),
        (r#"{"exec": {}}"#, Some(&bootstrap), TOKEN),
        (r#"{"token": "inline"}"#, None, "inline"),
        (r#"{"tokenFile": "token"}"#, None, "a.file.token"),
    ] {
        machine.file(
            "cluster-info.conf",
            &kubeconfig(&server.server().to_string(), r#""certificate-authority": "ca.crt""#, user),
        );
        let (mut cluster, network) = machine.discover(token).unwrap();
        assert_eq!(network.traffic().requests, 0);
        assert_eq!(cluster.verified_by, Verification::File("/lab/cluster-info.conf".into()));
        cluster.client.get("/x", deadline()).unwrap();
        assert!(
            server
                .requests()
                .last()
                .unwrap()
                .head
                .contains(&format!("authorization: Bearer {bearer}\r\n")),
            "{user}"
        );
    }
}

#[test]
fn a_client_certificate_of_the_file_is_used_and_handed_on() {
    let (ca, machine) = (Ca::new(), Machine::new());
    let identity = Identity { wants_client_certificate: true, ..Identity::default() };
    let server = TestServer::start(&ca, &identity, |_| Reply::Json(200, json!({})));
    let own = ca.sign(&["bootstrapper"], -1..1);
    let certificate = format!(
        "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
        STANDARD.encode(&own.certificate)
    );
    machine.file("client.key", &own.key.serialize_pem());
    let user = format!(
        r#"{{"client-certificate-data": "{}", "client-key": "client.key"}}"#,
        STANDARD.encode(&certificate)
    );
    let authorities = format!(r#""certificate-authority-data": "{}""#, STANDARD.encode(ca.pem()));
    machine.file("cluster-info.conf", &kubeconfig(&server.server().to_string(), &authorities, &user));
    let (mut cluster, _) = machine.discover(None).unwrap();
    cluster.client.get("/x", deadline()).unwrap();
    let written = cluster.bootstrap_kubeconfig("lab", false).unwrap();
    let again = kubeconfig::parse(written.reveal().as_bytes(), Path::new("/")).unwrap();
    let inline = |text: String| Material::Inline(Secret::new(text));
    assert_eq!(
        again.user,
        Some(User::Certificate { certificate: inline(certificate), key: inline(own.key.serialize_pem()) })
    );
}

#[test]
fn files_that_cannot_be_used_are_told() {
    let (ca, machine) = (Ca::new(), Machine::new());
    assert!(
        machine
            .discover(None)
            .err()
            .unwrap()
            .message
            .contains("/lab/cluster-info.conf: there is no such file")
    );
    machine.file("ca.crt", &ca.pem());
    machine.file("broken.crt", "nothing");
    let good = r#""certificate-authority": "ca.crt""#;
    for (cluster, user, why) in [
        (good, "null", "has no user, and there is no tlsBootstrapToken"),
        (good, r#"{"exec": {"command": "aws"}}"#, "authenticates by exec, which a join cannot"),
        (
            good,
            r#"{"tokenFile": "missing"}"#,
            "/lab/missing, named by the discovery kubeconfig: there is no such file",
        ),
        (
            good,
            r#"{"client-certificate": "ca.crt", "client-key": "broken.crt"}"#,
            "the client key is not PEM",
        ),
        (
            r#""certificate-authority": "broken.crt""#,
            r#"{"token": "t"}"#,
            "the CA bundle holds no certificate",
        ),
        (r#""certificate-authority": "missing.crt""#, r#"{"token": "t"}"#, "/lab/missing.crt"),
    ] {
        machine.file("cluster-info.conf", &kubeconfig("https://10.0.0.1:6443", cluster, user));
        let failure = machine.discover(None).err().unwrap();
        assert!(failure.kind == ErrorKind::Config && failure.message.contains(why), "{failure}");
    }
}

/// A web server that knows its own URL.
fn web(ca: &Ca, reply: impl Fn(&str, &testkit::Request) -> Reply + Send + Sync + 'static) -> TestServer {
    let url = Arc::new(Mutex::new(String::new()));
    let own = url.clone();
    let server = TestServer::start(ca, &Identity::default(), move |asked| reply(&own.lock().unwrap(), asked));
    *url.lock().unwrap() = server.server().to_string();
    server
}

#[test]
fn urls_are_fetched_with_their_query_and_redirects_are_followed() {
    let ca = Ca::new();
    let server = web(&ca, |url, asked| match asked.path.as_str() {
        "/found?signature=canary" => Reply::With(200, String::new(), "kubeconfig".to_owned()),
        "/moved" => Reply::With(302, "Location: /found?signature=canary\r\n".to_owned(), String::new()),
        "/far" => Reply::With(307, format!("Location: {url}/moved\r\n"), String::new()),
        "/loop" => Reply::With(302, "Location: /loop\r\n".to_owned(), String::new()),
        "/plain" => Reply::With(302, "Location: http://127.0.0.1/\r\n".to_owned(), String::new()),
        _ => status(404, "not found"),
    });
    let network = crate::net::test_server::network();
    let fetch = |path: &str| {
        fetch(
            &network,
            &format!("{}{path}", server.server()),
            &ca.authorities(),
            Deadline::after(Duration::from_secs(10)),
            &mut quick(),
        )
    };
    for path in ["/found?signature=canary", "/moved", "/far", "/far#fragment"] {
        assert_eq!(fetch(path).unwrap(), b"kubeconfig", "{path}");
    }
    for (path, why) in [
        ("/loop", "more than 5 redirects"),
        ("/plain", "does not begin with https://"),
        ("/x?signature=canary", "404 Not Found"),
    ] {
        let failure = fetch(path).unwrap_err();
        assert!(failure.message.contains(why) && !format!("{failure:?}").contains("canary"), "{failure:?}");
    }
}

#[test]
fn a_kubeconfig_from_elsewhere_reads_no_files_of_this_machine() {
    for (cluster, user, names) in [
        (r#""certificate-authority": "/etc/x""#, "null", true),
        (r#""certificate-authority-data": """#, r#"{"tokenFile": "/etc/x"}"#, true),
        (r#""certificate-authority-data": """#, r#"{"token": "t"}"#, false),
    ] {
        let parsed =
            kubeconfig::parse(kubeconfig("https://a:1", cluster, user).as_bytes(), Path::new("/")).unwrap();
        assert_eq!(names_files(&parsed), names);
    }
}
