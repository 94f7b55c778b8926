use std::time::Duration;

use testkit::{Reply, TestServer};

use super::*;
use crate::host::files;
use crate::host::root::Root;
use crate::net::Deadline;
use crate::paths::CLOUD_CONFIGS;

const KEYS: &str = "consumer_key: canary1\n    token_key: canary2\n    token_secret: canary3";

fn argument(server: &str) -> String {
    format!("quiet cloud-config-url=http://{server}/MAAS/metadata/latest/by-id/txs4nc/?op=get_preseed")
}

fn config(url: &str, keys: &str) -> String {
    format!("#cloud-config\ndatasource:\n  MAAS:\n    metadata_url: {url}\n    {keys}\n")
}

fn evidence(folder: &std::path::Path, arguments: &str, config: &str) -> Evidence {
    let root = Root::at(folder);
    files::write(&root.path("/proc/cmdline"), arguments.as_bytes(), 0o444).unwrap();
    files::write(&root.path(format!("{CLOUD_CONFIGS}/90_dpkg_maas.cfg")), config.as_bytes(), 0o444).unwrap();
    Evidence::of(&root)
}

fn read_at(server: &TestServer, arguments: &str, config: &str) -> Result<PlatformData> {
    let folder = tempfile::tempdir().unwrap();
    let evidence = evidence(folder.path(), arguments, config);
    read(&mut ReadContext {
        evidence: &evidence,
        deadline: Deadline::after(Duration::from_secs(20)),
        notices: Vec::new(),
        fetch: &|_, _| panic!("no URL is named"),
        service: Some(&server.address.to_string()),
    })
}

/// MAAS with a clock that is far ahead: it refuses requests whose time is not `seconds`.
fn maas(seconds: &'static str) -> TestServer {
    let config = config("http://10-0-0-0--24.maas-internal:5248/MAAS/metadata/", KEYS);
    TestServer::plain(move |request| {
        let line = request.line();
        if line == "GET /MAAS/metadata/latest/by-id/txs4nc/?op=get_preseed" {
            return Reply::Text(200, String::new(), config.clone());
        }
        let signature = request.header("authorization").unwrap_or_default().to_owned();
        let is_good = signature.contains("oauth_consumer_key=\"canary1\", oauth_token=\"canary2\"")
            && signature.contains("oauth_signature=\"%26canary3\"")
            && signature.contains(&format!("oauth_timestamp=\"{seconds}"));
        if !is_good {
            return Reply::Text(401, "Date: Wed, 18 May 2033 03:33:20 GMT\r\n".to_owned(), String::new());
        }
        let text = match line.strip_prefix("GET /MAAS/metadata/2012-03-01/") {
            Some("meta-data/instance-id") => "txs4nc",
            Some("meta-data/local-hostname") => "n1.maas",
            Some("user-data") => "#!/bin/sh\n",
            _ => return Reply::Text(404, String::new(), String::new()),
        };
        Reply::Text(200, String::new(), text.to_owned())
    })
}

#[test]
fn the_service_is_where_an_argument_or_a_file_says() {
    let folder = tempfile::tempdir().unwrap();
    let file = config("http://10-0-0-0--24.maas-internal:5248/MAAS/metadata/", KEYS);
    for (arguments, config, expected) in [
        (argument("192.0.2.1:5248"), file.as_str(), Some("192.0.2.1:5248")),
        (argument("[2001:db8::1]:5248").replace("cloud-config-", ""), "", Some("[2001:db8::1]:5248")),
        ("quiet".to_owned(), &file, Some("10-0-0-0--24.maas-internal:5248")),
        ("cloud-config-url=http://192.0.2.1/user-data".to_owned(), "datasource_list: [MAAS]\n", None),
        ("quiet".to_owned(), "a: [\n", None),
    ] {
        let evidence = evidence(folder.path(), &arguments, config);
        let found = servers(&evidence).ok().map(|found| found[0].to_string());
        assert_eq!(found.as_deref(), expected, "{arguments}");
        assert_eq!(seen(&evidence).is_some(), expected.is_some(), "{arguments}");
    }
}

#[test]
fn requests_are_signed_with_the_keys_and_by_the_clock_of_the_service() {
    let server = maas("20000000");
    let file = config(&server.url("/MAAS/metadata"), KEYS);
    for (arguments, config) in [(argument("192.0.2.1:5248"), ""), ("quiet".to_owned(), file.as_str())] {
        let data = read_at(&server, &arguments, config).unwrap();
        assert_eq!(data.facts.instance_id.value().map(String::as_str), Some("txs4nc"));
        assert_eq!(data.instance_data.text("ds.meta_data.local_hostname").as_deref(), Some("n1.maas"));
        assert_eq!(data.user_data.unwrap().document.bytes(), b"#!/bin/sh\n");
    }
    let asked = server.requests();
    assert!(asked[0].line().ends_with("get_preseed") && asked[0].header("authorization").is_none());
    let refused = asked.iter().filter(|request| request.line().ends_with("instance-id")).count();
    assert_eq!((asked.len(), refused), (11, 4), "{:?}", server.lines());
}

#[test]
fn what_maas_refuses_or_does_not_say_is_an_error_without_the_keys() {
    let server = maas("9");
    let refused = read_at(&server, &argument("192.0.2.1:5248"), "").unwrap_err();
    assert!(refused.message.contains("/meta-data/instance-id: it answers 401"), "{refused}");
    let url = "http://192.0.2.1:5248/MAAS/metadata/";
    let without = KEYS.replace("token_key", "token");
    for (config, expected) in [
        (config(url, &without), "90_dpkg_maas.cfg: datasource.MAAS: there is no token_key for this machine"),
        (config("https://192.0.2.1/MAAS", KEYS), "the URL begins with https"),
        (config("http://canary@192.0.2.1/", KEYS), "metadata_url: the server's URL holds credentials"),
    ] {
        let failure = format!("{:?}", read_at(&server, "quiet", &config).unwrap_err());
        assert!(failure.contains(expected) && !failure.contains("canary"), "{failure}");
    }
}
