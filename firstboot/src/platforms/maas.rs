//! MAAS: its metadata service knows a machine by keys (<https://github.com/canonical/maas>,
//! `src/metadataserver`). Where the service is, and where the keys are, one of these tells:
//!
//! | order | where | who puts it there |
//! |---|---|---|
//! | 1 | the kernel argument `cloud-config-url=` or `url=`: a document with the keys | MAAS, for a network boot |
//! | 2 | a file `/etc/cloud/cloud.cfg.d/*.cfg` with cloud-init's `datasource: {MAAS: {…}}` | MAAS's installer |
//!
//! All servers of MAAS serve the same, so that of the argument gets all requests: pods are kept from it.

use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::{Guarded, Platform, PlatformData, ReadContext};
use crate::error::{ErrorKind, Failure, Result};
use crate::evidence::{Evidence, Sign, Strength};
use crate::instance_data::InstanceData;
use crate::net::oauth::OAuth;
use crate::net::retry::{self, Backoff};
use crate::net::service::{Protocol, Service};
use crate::net::{Endpoint, Network, Url, resolve};
use crate::platforms::format::{cloud_config, keys, user_data};
use crate::secret::wipe;
use crate::text::yaml;

pub(super) const PLATFORM: Platform = Platform {
    signs: &[Sign::Other(Strength::Pin, seen)],
    node_name: Some("${local-hostname}"),
    guarded: Guarded::Servers(servers),
    ..Platform::named("maas", read)
};

/// Kernel arguments with the URL of the machine's settings, in cloud-init's order.
const ARGUMENTS: &[&str] = &["cloud-config-url", "url"];
/// What a URL of MAAS for the settings of a machine that it knows consists of.
const PARTS: &[&str] = &["/metadata/", "/by-id/", "op=get_preseed"];
const VERSION: &str = "2012-03-01";
const TEXTS: &[(&str, &str)] = &[("local-hostname", "hostname")];

fn read(context: &mut ReadContext) -> Result<PlatformData> {
    let place = Place::of(context.evidence)?;
    let mut service = service(context, &place.server()?.endpoint)?;
    let settings = match place {
        Place::Argument { url, .. } => {
            let path = url?.path;
            Settings::parse(&service.get(&path)?, &service.url(&path))?
        }
        Place::File { settings, .. } => settings?,
    };
    let base = format!("{}/{VERSION}", settings.url.path.trim_end_matches('/'));
    metadata(&mut service.signed(settings.keys), &base)
}

fn metadata(service: &mut Service, base: &str) -> Result<PlatformData> {
    let folder = format!("{base}/meta-data");
    let mut data = PlatformData::default();
    keys::id(service, &folder, &mut data.facts)?;
    keys::texts(service, &folder, TEXTS, &mut data.facts)?;
    let ssh_keys = service.find_text(&format!("{folder}/public-keys"))?;
    data.user_data = user_data::get(service, &format!("{base}/user-data"))?;
    let texts = [
        ("instance-id", data.facts.instance_id.value().cloned()),
        ("local-hostname", data.facts.hostname.value().cloned()),
        ("public-keys", ssh_keys),
    ];
    let texts = texts.into_iter().filter_map(|(name, text)| Some((name.to_owned(), Value::String(text?))));
    data.instance_data = InstanceData::new("maas", Value::Object(texts.collect::<Map<_, _>>()));
    Ok(data)
}

/// The service at `server`, whose name may have no address yet.
fn service(context: &ReadContext, server: &Endpoint) -> Result<Service> {
    let deadline = context.deadline;
    let addresses: Vec<String> = if context.service.is_some() {
        Vec::new()
    } else {
        let network = Network::new(context.root().clone());
        let found = retry::until(deadline, &mut Backoff::new(), || {
            Ok(resolve::addresses(&network, &server.host, server.port, deadline)?)
        });
        found?.iter().map(ToString::to_string).collect()
    };
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    Ok(context.service(&addresses, Protocol::default()))
}

fn servers(evidence: &Evidence) -> Result<Vec<Endpoint>> {
    Ok(vec![Place::of(evidence)?.server()?.endpoint.clone()])
}

fn seen(evidence: &Evidence) -> Option<String> {
    let place = Place::found(evidence)?;
    Some(format!("{} names MAAS's metadata service", place.named_by()))
}

/// Checks the document with a machine's settings.
pub(super) fn document(bytes: &[u8], source: &str) -> Result<()> {
    Settings::parse(bytes, source).map(drop)
}

/// What tells where the service is.
enum Place {
    /// A kernel argument.
    Argument { url: Result<Url>, named_by: String },
    /// A file of cloud-init's settings.
    File { settings: Result<Settings>, named_by: String },
}

impl Place {
    fn of(evidence: &Evidence) -> Result<Self> {
        Self::found(evidence).ok_or_else(|| {
            Failure::new(ErrorKind::Source, "nothing names MAAS's metadata service")
                .help("let MAAS start the machine, or set the kernel argument cloud-config-url as MAAS does")
        })
    }

    fn found(evidence: &Evidence) -> Option<Self> {
        Self::in_arguments(evidence).or_else(|| Self::in_files(evidence))
    }

    fn in_arguments(evidence: &Evidence) -> Option<Self> {
        ARGUMENTS.iter().find_map(|name| {
            let text = evidence.command_line.value(name)?;
            let named_by = format!("the kernel argument {name}");
            let is_of_maas = PARTS.iter().all(|part| text.contains(part));
            is_of_maas.then(|| Self::Argument { url: parsed(text, &named_by), named_by })
        })
    }

    fn in_files(evidence: &Evidence) -> Option<Self> {
        let found = cloud_config::last(evidence.root(), |config| {
            config.pointer("/datasource/MAAS/metadata_url")?;
            Some(Settings::of(config, "datasource.MAAS"))
        });
        let (settings, named_by) = found?;
        Some(Self::File { settings: settings.map_err(|failure| failure.doing(&named_by)), named_by })
    }

    fn named_by(&self) -> &str {
        match self {
            Self::Argument { named_by, .. } | Self::File { named_by, .. } => named_by,
        }
    }

    /// The service. It does not speak TLS.
    fn server(&self) -> Result<&Url> {
        let url = match self {
            Self::Argument { url, .. } => url.as_ref(),
            Self::File { settings, .. } => settings.as_ref().map(|settings| &settings.url),
        };
        let url = url.map_err(Clone::clone)?;
        if url.is_secure {
            let why = "the URL begins with https, but MAAS serves its machines over http, at port 5248";
            return Err(Failure::new(ErrorKind::Source, format!("{}: {why}", self.named_by())));
        }
        Ok(url)
    }
}

/// Where the metadata is, and the machine's keys.
struct Settings {
    url: Url,
    keys: OAuth,
}

impl Settings {
    fn parse(bytes: &[u8], source: &str) -> Result<Self> {
        let mut config = yaml::cloud_init(bytes).map_err(|why| {
            Failure::new(ErrorKind::Source, format!("{source}: {}", why.describe("document of MAAS")))
        })?;
        let settings = Self::of(&config, source);
        wipe(&mut config);
        settings
    }

    fn of(config: &Value, source: &str) -> Result<Self> {
        let text = |key: &str| config.pointer(&format!("/datasource/MAAS/{key}"))?.as_str();
        let secret = |key: &str| {
            let text = text(key).filter(|text| !text.is_empty());
            text.map(|text| Zeroizing::new(text.to_owned())).ok_or_else(|| {
                Failure::new(ErrorKind::Source, format!("{source}: there is no {key} for this machine"))
                    .help("MAAS gives keys to machines that it has enlisted")
            })
        };
        let url = text("metadata_url").ok_or_else(|| {
            Failure::new(ErrorKind::Source, format!("{source}: there is no metadata_url of MAAS"))
        })?;
        Ok(Self {
            url: parsed(url, &format!("{source}: metadata_url"))?,
            keys: OAuth {
                consumer_key: secret("consumer_key")?,
                consumer_secret: Zeroizing::new(text("consumer_secret").unwrap_or_default().to_owned()),
                token_key: secret("token_key")?,
                token_secret: secret("token_secret")?,
            },
        })
    }
}

fn parsed(text: &str, named_by: &str) -> Result<Url> {
    text.parse().map_err(|why| Failure::new(ErrorKind::Source, format!("{named_by}: {why}")))
}

#[cfg(test)]
#[path = "maas_tests.rs"]
mod tests;
