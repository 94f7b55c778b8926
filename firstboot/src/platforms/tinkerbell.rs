//! Tinkerbell: its metadata service (Hegel, now Tootles) serves machines by their address, in the form that
//! EC2 had in 2009 (<https://tinkerbell.org/docs/services/tootles/>).
//!
//! No firmware tells that a machine was installed by Tinkerbell. One of these names the service, by address:
//!
//! | order | where | who puts it there |
//! |---|---|---|
//! | 1 | the kernel argument `firstboot.tinkerbell=http://ADDRESS:PORT` | who starts the machine |
//! | 2 | a file `/etc/cloud/cloud.cfg.d/*.cfg` with cloud-init's `datasource: {Ec2: {metadata_urls: […]}}` | the workflow of Cluster API's provider, or the image |
//!
//! Its controller puts the provider-id, `tinkerbell://NAMESPACE/NAME`, into the user data itself.

use std::net::IpAddr;

use serde_json::Value;

use super::{Guarded, Platform, PlatformData, ReadContext};
use crate::error::{ErrorKind, Failure, Result};
use crate::evidence::{Evidence, Sign, Strength};
use crate::facts::Scope;
use crate::instance_data::InstanceData;
use crate::net::service::Protocol;
use crate::net::{Endpoint, Url};
use crate::platforms::format::keys::{self, Ip};
use crate::platforms::format::{cloud_config, user_data};

pub(super) const PLATFORM: Platform = Platform {
    signs: &[Sign::Other(Strength::Pin, seen)],
    node_name: Some("${hostname}"),
    guarded: Guarded::Servers(servers),
    ..Platform::named("tinkerbell", read)
};

/// The kernel argument with the service's URL.
const ARGUMENT: &str = "firstboot.tinkerbell";
const VERSION: &str = "2009-04-04";
const TEXTS: &[(&str, &str)] = &[("hostname", "hostname"), ("facility", "zone"), ("plan", "instance-type")];
const IPS: &[Ip] =
    &[("local-ipv4", None), ("public-ipv4", Some(Scope::Public)), ("public-ipv6", Some(Scope::Public))];

fn read(context: &mut ReadContext) -> Result<PlatformData> {
    let url = service(context.evidence)?;
    let server = url.endpoint.to_string();
    let mut service = context.service(&[&server], Protocol::default());
    let base = format!("{}/{VERSION}", url.path.trim_end_matches('/'));
    let folder = format!("{base}/meta-data");
    let mut data = PlatformData::default();
    keys::id(&mut service, &folder, &mut data.facts)?;
    keys::texts(&mut service, &folder, TEXTS, &mut data.facts)?;
    keys::addresses(&mut service, &folder, IPS, &mut data.facts)?;
    data.user_data = user_data::get(&mut service, &format!("{base}/user-data"))?;
    data.instance_data = InstanceData::new("ec2", Value::Null).served("meta_data", service, &folder);
    Ok(data)
}

fn servers(evidence: &Evidence) -> Result<Vec<Endpoint>> {
    Ok(vec![service(evidence)?.endpoint])
}

/// The service's URL.
fn service(evidence: &Evidence) -> Result<Url> {
    let Some((text, named_by)) = named(evidence) else {
        return Err(Failure::new(ErrorKind::Source, "nothing names Tinkerbell's metadata service")
            .help(format!("set the kernel argument {ARGUMENT}=http://ADDRESS:PORT")));
    };
    let wrong = |why: &str| Failure::new(ErrorKind::Source, format!("{named_by}: {why}"));
    let url: Url = text.parse().map_err(|why: String| wrong(&why))?;
    if url.is_secure || url.path.contains('?') || url.endpoint.host.parse::<IpAddr>().is_err() {
        return Err(wrong("the URL is not http://ADDRESS:PORT, with an address and not a name"));
    }
    Ok(url)
}

fn seen(evidence: &Evidence) -> Option<String> {
    let (_, named_by) = named(evidence)?;
    Some(format!("{named_by} names a metadata service"))
}

/// The URL of the service, and what names it.
fn named(evidence: &Evidence) -> Option<(String, String)> {
    if let Some(url) = evidence.command_line.value(ARGUMENT) {
        return Some((url.to_owned(), format!("the kernel argument {ARGUMENT}")));
    }
    cloud_config::last(evidence.root(), in_config)
}

fn in_config(config: &Value) -> Option<String> {
    Some(config.pointer("/datasource/Ec2/metadata_urls/0")?.as_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::files;
    use crate::host::root::Root;
    use crate::paths::CLOUD_CONFIGS;

    fn evidence(root: &Root, arguments: &str, configs: &[(&str, &str)]) -> Evidence {
        files::write(&root.path("/proc/cmdline"), arguments.as_bytes(), 0o444).unwrap();
        for (name, text) in configs {
            files::write(&root.path(format!("{CLOUD_CONFIGS}/{name}")), text.as_bytes(), 0o444).unwrap();
        }
        Evidence::of(root)
    }

    fn found(arguments: &str, configs: &[(&str, &str)]) -> std::result::Result<String, String> {
        let folder = tempfile::tempdir().unwrap();
        let evidence = evidence(&Root::at(folder.path()), arguments, configs);
        service(&evidence)
            .map(|url| format!("{}{}", url.endpoint, url.path))
            .map_err(|failure| failure.message)
    }

    #[test]
    fn the_service_is_where_the_workflow_or_an_argument_says() {
        let config = |url: &str| {
            format!("datasource:\n  Ec2:\n    metadata_urls: [\"{url}\"]\n    strict_id: false\n")
        };
        let (early, late) =
            (config("http://192.0.2.1:50061"), config("http://[2001:db8::1]:7080/tootles/instanceID/a"));
        let argument = "quiet firstboot.tinkerbell=http://192.0.2.3:7080";
        for (arguments, configs, expected) in [
            (argument, vec![("10_tinkerbell.cfg", early.as_str())], "192.0.2.3:7080/"),
            ("", vec![("10_tinkerbell.cfg", &early)], "192.0.2.1:50061/"),
            ("", vec![("10_a.cfg", &early), ("20_b.cfg", &late)], "[2001:db8::1]:7080/tootles/instanceID/a"),
            ("", vec![("10_a.cfg", &early), ("20_b.yaml", &late)], "192.0.2.1:50061/"),
            ("", vec![("10_a.cfg", &early), ("20_b.cfg", "datasource_list: [Ec2]\n")], "192.0.2.1:50061/"),
        ] {
            assert_eq!(found(arguments, &configs).as_deref(), Ok(expected));
        }
        for url in
            ["https://192.0.2.1", "http://tinkerbell.example:7080", "http://192.0.2.1/?a", "ftp://192.0.2.1"]
        {
            let config = config(url);
            let failure = found("", &[("10_tinkerbell.cfg", &config)]).unwrap_err();
            assert!(failure.contains("10_tinkerbell.cfg"), "{url}: {failure}");
        }
        assert!(found("", &[("10_a.cfg", "a: [\n")]).is_err());
    }
}
