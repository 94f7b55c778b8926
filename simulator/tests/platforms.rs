//! Every platform answers as its operator documents it.

use std::net::{Ipv4Addr, SocketAddr};

use base64::Engine;
use kiln_simulator::platform;
use kiln_simulator::{Running, Simulation};

mod support;
use support::{ask, ask_as_root};

const USER_DATA: &str = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: JoinConfiguration\ntoken: \"canary\"\n";

fn local() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

fn run(platform: &str) -> Running {
    Simulation::of(platform)
        .user_data(USER_DATA)
        .serve(local())
        .unwrap_or_else(|error| panic!("{platform}: {error}"))
}

/// What a request must have in its answer.
enum Says {
    /// Exactly this.
    Is(&'static str),
    /// This among others.
    Has(&'static str),
    /// The user-data, as it is.
    UserData,
    /// The user-data in base64.
    Encoded,
    /// JSON that has this at a pointer (RFC 6901).
    At(&'static str, &'static str),
    /// Anything.
    Any,
}

use Says::{Any, At, Encoded, Has, Is, UserData};

/// platform, method, target, header, status, body.
type Row = (&'static str, &'static str, &'static str, &'static str, u16, Says);

const GOOGLE: &str = "Metadata-Flavor: Google";
const ORACLE: &str = "Authorization: Bearer Oracle";
const MAAS: &str =
    "Authorization: OAuth oauth_token=\"simulatedtoken\", oauth_signature=\"%26simulatedsecret\"";
const AZURE: &str = "Metadata: true";
const JSON: &str = "Accept: application/json";
const INSTANCE: &str = "/metadata/instance?api-version=2021-08-01&extended=true";

/// `TOKEN` in a header stands for one that was fetched before.
const ROWS: &[Row] = &[
    ("ec2", "GET", "/latest/user-data", "", 401, Any),
    ("ec2", "GET", "/latest/user-data", "X-aws-ec2-metadata-token: guessed", 401, Any),
    ("ec2", "GET", "/latest/user-data", "X-aws-ec2-metadata-token: TOKEN", 200, UserData),
    (
        "ec2",
        "GET",
        "/2021-03-23/meta-data/instance-id",
        "x-aws-ec2-metadata-token: TOKEN",
        200,
        Is("i-0a1b2c3d4e5f60718"),
    ),
    ("ec2", "GET", "/latest/meta-data/", "X-aws-ec2-metadata-token: TOKEN", 200, Has("placement/\n")),
    (
        "ec2",
        "GET",
        "/latest/meta-data/placement/availability-zone",
        "X-aws-ec2-metadata-token: TOKEN",
        200,
        Is("eu-west-1b"),
    ),
    (
        "ec2",
        "GET",
        "/latest/meta-data/network/interfaces/macs/06:0a:0b:0c:0d:0e/local-ipv4s",
        "X-aws-ec2-metadata-token: TOKEN",
        200,
        Is("10.0.0.5"),
    ),
    (
        "ec2",
        "GET",
        "/latest/meta-data/local-hostname",
        "X-aws-ec2-metadata-token: TOKEN",
        200,
        Is("ip-10-0-0-5.eu-west-1.compute.internal"),
    ),
    (
        "ec2",
        "GET",
        "/latest/meta-data/autoscaling/target-lifecycle-state",
        "X-aws-ec2-metadata-token: TOKEN",
        404,
        Any,
    ),
    (
        "ec2",
        "GET",
        "/latest/meta-data/tags/instance/Name",
        "X-aws-ec2-metadata-token: TOKEN",
        200,
        Is("kiln-node-1"),
    ),
    (
        "ec2",
        "GET",
        "/latest/dynamic/instance-identity/document",
        "X-aws-ec2-metadata-token: TOKEN",
        200,
        At("/region", "eu-west-1"),
    ),
    (
        "ec2",
        "GET",
        "/latest/dynamic/instance-identity",
        "X-aws-ec2-metadata-token: TOKEN",
        200,
        Is("document\npkcs7\nrsa2048\nsignature"),
    ),
    (
        "ec2",
        "GET",
        "/latest/dynamic/instance-identity/",
        "X-aws-ec2-metadata-token: TOKEN",
        200,
        Has("document\n"),
    ),
    ("ec2", "GET", "/1999-01-01/user-data", "X-aws-ec2-metadata-token: TOKEN", 404, Any),
    ("ec2", "PUT", "/latest/api/token", "", 400, Any),
    ("ec2", "PUT", "/latest/api/token", "X-aws-ec2-metadata-token-ttl-seconds: 21601", 400, Any),
    ("ec2", "PUT", "/latest/api/token", "X-Forwarded-For: 10.0.0.1", 403, Any),
    ("ec2", "GET", "/latest/api/token", "", 405, Any),
    ("gce", "GET", "/computeMetadata/v1/instance/id", "", 403, Any),
    ("gce", "GET", "/computeMetadata/v1/instance/id", GOOGLE, 200, Is("4520031799277581759")),
    ("gce", "GET", "/computeMetadata/v1/instance/attributes/user-data", GOOGLE, 200, UserData),
    ("gce", "GET", "/computeMetadata/v1/instance/attributes/user-data-encoding", GOOGLE, 404, Any),
    ("gce", "GET", "/computeMetadata/v1/instance", GOOGLE, 301, Any),
    ("gce", "GET", "/computeMetadata/v1/instance/", GOOGLE, 200, Has("network-interfaces/")),
    (
        "gce",
        "GET",
        "/computeMetadata/v1/instance/?recursive=true&alt=json",
        GOOGLE,
        200,
        At("/networkInterfaces/0/accessConfigs/0/externalIp", "203.0.113.6"),
    ),
    (
        "gce",
        "GET",
        "/computeMetadata/v1/?recursive=true",
        GOOGLE,
        200,
        At("/instance/attributes/user-data", USER_DATA),
    ),
    ("gce", "GET", "/computeMetadata/v1/instance/network-interfaces/0/ip", GOOGLE, 200, Is("10.164.0.5")),
    (
        "gce",
        "GET",
        "/computeMetadata/v1/instance/zone?alt=json",
        GOOGLE,
        200,
        Is("\"projects/123456789012/zones/europe-west4-a\""),
    ),
    ("gce", "PUT", "/computeMetadata/v1/instance/guest-attributes/kiln/state", GOOGLE, 200, Any),
    ("azure", "GET", INSTANCE, "", 400, Has("header")),
    ("azure", "GET", "/metadata/instance", AZURE, 400, Has("newest-versions")),
    ("azure", "GET", INSTANCE, AZURE, 200, At("/compute/vmId", "02aab8a4-74ef-476e-8182-f6d2ba4166a6")),
    (
        "azure",
        "GET",
        "/metadata/instance/network?api-version=2021-08-01",
        AZURE,
        200,
        At("/interface/0/ipv4/ipAddress/0/privateIpAddress", "10.1.0.5"),
    ),
    (
        "azure",
        "GET",
        "/metadata/instance/compute/userData?api-version=2021-01-01&format=text",
        AZURE,
        200,
        Encoded,
    ),
    (
        "azure",
        "GET",
        "/metadata/attested/document?api-version=2025-04-07",
        AZURE,
        200,
        At("/encoding", "pkcs7"),
    ),
    ("azure", "GET", "/machine/?comp=goalstate", "", 400, Any),
    (
        "azure",
        "GET",
        "/machine/?comp=goalstate",
        "x-ms-version: 2015-04-05",
        200,
        Has("<ContainerId>a3b5f7d9"),
    ),
    ("azure", "POST", "/machine?comp=health", "x-ms-version: 2015-04-05", 400, Any),
    ("azure", "POST", "/provisioning/health", "", 201, Any),
    ("azure", "GET", "/?comp=versions", "", 200, Has("<Preferred>")),
    (
        "openstack",
        "GET",
        "/openstack/latest/meta_data.json",
        "",
        200,
        At("/uuid", "d8e02d56-2648-49a3-bf97-6be8f1204f38"),
    ),
    (
        "openstack",
        "GET",
        "/openstack/latest/network_data.json",
        "",
        200,
        At("/networks/0/ip_address", "10.2.0.5"),
    ),
    ("openstack", "GET", "/openstack/2018-08-27/user_data", "", 200, UserData),
    ("openstack", "GET", "/openstack/latest/vendor_data2.json", "", 200, Is("{}")),
    ("openstack", "GET", "/openstack", "", 200, Has("latest")),
    ("openstack", "GET", "/latest/meta-data/instance-type", "", 200, Is("m1.medium")),
    ("openstack", "GET", "/latest/meta-data/public-ipv4", "", 404, Any),
    (
        "digitalocean",
        "GET",
        "/metadata/v1.json",
        "",
        200,
        At("/interfaces/private/0/ipv4/ip_address", "10.132.0.5"),
    ),
    ("digitalocean", "GET", "/metadata/v1.json", "", 200, Has("\"droplet_id\": 2756294,")),
    ("digitalocean", "GET", "/metadata/v1/user-data", "", 200, UserData),
    ("digitalocean", "GET", "/metadata/v1/interfaces/public/0/ipv4/address", "", 200, Is("203.0.113.8")),
    ("hetzner", "GET", "/hetzner/v1/metadata", "", 200, Has("\ninstance-id: 42003145\n")),
    ("hetzner", "GET", "/hetzner/v1/metadata/private-networks", "", 200, Has("- ip: 10.3.0.5")),
    ("hetzner", "GET", "/hetzner/v1/userdata", "", 200, UserData),
    ("hetzner", "GET", "/hetzner/v1/metadata/availability-zone", "", 200, Is("hel1-dc2")),
    (
        "vultr",
        "GET",
        "/v1.json",
        "Metadata-Token: cloudinit",
        200,
        At("/interfaces/1/network-type", "private"),
    ),
    ("tinkerbell", "GET", "/2009-04-04/user-data", "", 200, UserData),
    ("tinkerbell", "GET", "/2009-04-04/meta-data/hostname", "", 200, Is("kiln-node-1")),
    ("maas", "GET", "/MAAS/metadata/latest/by-id/txs4nc/?op=get_preseed", "", 200, Has("    token_key: ")),
    ("maas", "GET", "/MAAS/metadata/2012-03-01/user-data", "", 401, Any),
    ("maas", "GET", "/MAAS/metadata/2012-03-01/user-data", MAAS, 200, UserData),
    ("maas", "GET", "/MAAS/metadata/2012-03-01/meta-data/local-hostname", MAAS, 200, Is("kiln-node-1")),
    ("vultr", "GET", "/latest/user-data", "", 200, UserData),
    ("vultr", "GET", "/user-data/user-data", "", 200, UserData),
    ("vultr", "GET", "/v1/region/regioncode", "", 200, Is("AMS")),
    ("scaleway", "GET", "/conf?format=json", "", 200, At("/location/zone_id", "fr-par-1")),
    ("scaleway", "GET", "/conf", "", 200, Has("PRIVATE_IP=10.5.0.5\n")),
    ("scaleway", "GET", "/user_data/cloud-init", "", 403, Any),
    ("scaleway", "PATCH", "/state", "", 200, Any),
    ("oracle", "GET", "/opc/v2/instance/", "", 403, Any),
    ("oracle", "GET", "/opc/v1/instance/", ORACLE, 404, Any),
    ("oracle", "GET", "/opc/v2/instance/", ORACLE, 200, At("/availabilityDomain", "qIZq:FRA-AD-2")),
    ("oracle", "GET", "/opc/v2/instance/metadata/user_data", ORACLE, 200, Encoded),
    ("oracle", "GET", "/opc/v2/vnics/", ORACLE, 200, At("/0/privateIp", "10.6.0.5")),
    ("exoscale", "GET", "/1.0/meta-data/", "", 200, Has("local-hostname\n")),
    ("exoscale", "GET", "/1.0/meta-data/public-ipv4", "", 200, Is("203.0.113.12")),
    ("exoscale", "GET", "/1.0/user-data", "", 200, UserData),
    ("cloudstack", "GET", "/latest/meta-data/service-offering", "", 200, Is("Medium Instance")),
    ("cloudstack", "GET", "/latest/user-data", "", 200, UserData),
    ("akamai", "GET", "/v1/instance", JSON, 401, Any),
    ("akamai", "PUT", "/v1/token", "", 400, Any),
    ("akamai", "GET", "/v1/instance", "Metadata-Token: TOKEN", 200, Has("\nid: 12345678\n")),
    ("akamai", "GET", "/v1/user-data", "Metadata-Token: TOKEN", 200, Encoded),
    (
        "upcloud",
        "GET",
        "/metadata/v1.json",
        "",
        200,
        At("/network/interfaces/1/ip_addresses/0/address", "10.8.0.5"),
    ),
    ("upcloud", "GET", "/metadata/v1/user_data", "", 200, UserData),
    ("upcloud", "GET", "/metadata/v1/region", "", 200, Is("fi-hel2")),
    ("alibaba", "GET", "/latest/meta-data/instance-id", "", 403, Any),
    (
        "alibaba",
        "GET",
        "/latest/meta-data/zone-id",
        "X-aliyun-ecs-metadata-token: TOKEN",
        200,
        Is("eu-central-1a"),
    ),
    (
        "alibaba",
        "GET",
        "/latest/meta-data/instance/instance-type",
        "X-aliyun-ecs-metadata-token: TOKEN",
        200,
        Is("ecs.g7.large"),
    ),
    ("alibaba", "GET", "/latest/user-data", "X-aliyun-ecs-metadata-token: TOKEN", 200, UserData),
    ("equinix", "GET", "/metadata", "Accept: */*", 200, At("/network/addresses/2/address", "10.10.0.5")),
    ("equinix", "GET", "/userdata", "", 200, UserData),
    ("equinix", "POST", "/phone-home", "", 204, Is("")),
    ("nocloud", "GET", "/seed/meta-data", "", 200, Has("local-hostname: kiln-node-1\n")),
    ("nocloud", "GET", "/seed/user-data", "", 200, UserData),
    ("nocloud", "GET", "/seed/vendor-data", "", 200, Is("")),
    ("metal", "GET", "/nodes/node.yaml?mac=52:54:00:0a:0b:0d", "", 200, UserData),
];

fn token(platform: &str, address: SocketAddr) -> String {
    let desks = platform::named(platform).unwrap().services;
    let Some(desk) = desks.iter().find_map(|service| service.token.clone()) else { return String::new() };
    let reply = ask(address, "PUT", &desk.path, &[(&desk.seconds_header, "60")]).unwrap();
    assert_eq!((reply.status, reply.header(&desk.seconds_header)), (200, Some("60")), "{platform}");
    reply.text()
}

#[test]
fn every_route_answers_as_documented() {
    for (platform, method, target, header, status, says) in ROWS {
        let running = run(platform);
        let address = running.addresses()[0];
        let header = header.replace("TOKEN", &token(platform, address));
        let headers: Vec<(&str, &str)> = header.split_once(": ").into_iter().collect();
        let reply = ask(address, method, target, &headers).unwrap();
        let text = reply.text();
        let what = format!("{platform}: {method} {target} with {header:?}: {} {text}", reply.status);
        assert_eq!(reply.status, *status, "{what}");
        match says {
            Any => {}
            Is(expected) => assert_eq!(text, *expected, "{what}"),
            Has(expected) => assert!(text.contains(expected), "{what}"),
            UserData => assert_eq!(text, USER_DATA, "{what}"),
            Encoded => {
                assert_eq!(text, base64::engine::general_purpose::STANDARD.encode(USER_DATA), "{what}")
            }
            At(pointer, expected) => {
                let value: serde_json::Value =
                    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{what}: {error}"));
                assert_eq!(
                    value.pointer(pointer).and_then(serde_json::Value::as_str),
                    Some(*expected),
                    "{what}"
                );
            }
        }
    }
}

#[test]
fn every_service_has_its_rows() {
    for name in platform::names() {
        let has_service = !platform::named(name).unwrap().services.is_empty();
        assert_eq!(ROWS.iter().any(|row| row.0 == name), has_service, "{name}");
    }
}

#[test]
fn every_answer_of_gce_names_its_maker() {
    let running = run("gce");
    for header in [("Metadata-Flavor", "Google"), ("X", "y")] {
        let reply = ask(running.addresses()[0], "GET", "/computeMetadata/v1/instance/id", &[header]).unwrap();
        assert_eq!(reply.header("metadata-flavor"), Some("Google"));
    }
}

#[test]
fn tokens_end_and_version_1_is_noticed() {
    let running = run("ec2");
    let address = running.addresses()[0];
    let token = token("ec2", address);
    ask(address, "GET", "/latest/user-data", &[("X-aws-ec2-metadata-token", &token)]).unwrap();
    assert!(running.journal().without_token().is_empty() && running.tokens() == 1);
    let second = ask(address, "PUT", "/latest/api/token", &[("X-aws-ec2-metadata-token-ttl-seconds", "1")])
        .unwrap()
        .text();
    std::thread::sleep(std::time::Duration::from_millis(1100));
    assert_eq!(
        ask(address, "GET", "/latest/user-data", &[("X-aws-ec2-metadata-token", &second)])
            .unwrap()
            .status,
        401
    );
    ask(address, "GET", "/latest/user-data", &[]).unwrap();
    let journal = running.journal();
    assert_eq!(
        (journal.without_token().len(), journal.count(), journal.of("/latest/user-data").len()),
        (1, 5, 3)
    );
    assert!(!format!("{:?}", journal.entries()).contains(&token), "the journal keeps no tokens");
}

#[test]
fn user_data_of_scaleway_is_for_root() {
    let running = run("scaleway");
    match ask_as_root(running.addresses()[0], "GET", "/user_data/cloud-init") {
        Ok(reply) => assert_eq!((reply.status, reply.text().as_str()), (200, USER_DATA)),
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            testkit::not_run("user_data_of_scaleway_is_for_root", "only root has a privileged port");
            assert_eq!(ask(running.addresses()[0], "GET", "/user_data/cloud-init", &[]).unwrap().status, 403);
        }
        Err(error) => panic!("{error}"),
    }
    assert!(
        running
            .journal()
            .entries()
            .iter()
            .all(|entry| (entry.status == 200) == (entry.source_port < 1024))
    );
}

#[test]
fn without_user_data_there_is_none() {
    for (platform, target, header) in [
        ("hetzner", "/hetzner/v1/userdata", ("A", "b")),
        ("gce", "/computeMetadata/v1/instance/attributes/user-data", ("Metadata-Flavor", "Google")),
        ("oracle", "/opc/v2/instance/metadata/user_data", ("Authorization", "Bearer Oracle")),
    ] {
        let running = Simulation::of(platform).serve(local()).unwrap();
        assert_eq!(ask(running.addresses()[0], "GET", target, &[header]).unwrap().status, 404, "{platform}");
    }
    let running = Simulation::of("digitalocean").serve(local()).unwrap();
    let text = ask(running.addresses()[0], "GET", "/metadata/v1.json", &[]).unwrap().text();
    assert!(!text.contains("user_data") && text.contains("kiln-node-1"), "{text}");
}

#[test]
fn values_can_be_set_and_taken_away() {
    let running = Simulation::of("ec2")
        .set("zone", "us-east-1f")
        .set("tag-name", "${x}")
        .set("public-ipv4", "")
        .serve(local())
        .unwrap();
    let address = running.addresses()[0];
    let token = token("ec2", address);
    let get = |path: &str| {
        ask(address, "GET", &format!("/latest/meta-data/{path}"), &[("X-aws-ec2-metadata-token", &token)])
            .unwrap()
    };
    assert_eq!(get("placement/availability-zone").text(), "us-east-1f");
    assert_eq!(get("tags/instance/Name").text(), "${x}", "values of users are not templates");
    assert_eq!(get("public-ipv4").status, 404);
    assert_eq!(get("network/interfaces/macs/06:0a:0b:0c:0d:0e/public-ipv4s").text(), "");
}

#[test]
fn what_makes_no_sense_is_refused() {
    for (simulation, expected) in [
        (Simulation::of("ec3"), "no platform"),
        (Simulation::of("ec2").set("size", "1"), "no variable"),
        (
            Simulation::of("ec2").user_data(vec![b'x'; 16385]),
            "takes 16384 bytes of user-data, these are 16385",
        ),
        (Simulation::of("digitalocean").set("instance-id", "no number"), "not JSON"),
        (Simulation::of("hetzner").fault("token-expired".parse().unwrap()), "issues no tokens"),
        (Simulation::of("hetzner").fault("hostile-nesting".parse().unwrap()), "not JSON"),
        (Simulation::of("ec2").fault("black-hole".parse().unwrap()), "own addresses"),
        (Simulation::of("file").fault("stall".parse().unwrap()), "no service"),
    ] {
        let error = simulation.serve(local()).unwrap_err();
        assert!(error.message.contains(expected) && !error.is_system, "{error}");
    }
}
