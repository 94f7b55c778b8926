//! `[registries."HOST"]`: mirrors and CAs of registries, as files of the runtime's layer.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;

use contract::runtime::{Registries, Runtime};

use super::compose::Composition;
use super::image_spec::RegistrySpec;
use super::plan::{FilePlan, LayerPlan};
use super::source::Step;
use crate::address;
use crate::at;
use crate::certificates;
use crate::error::Result;

/// The largest file of CAs, in bytes.
const LARGEST: u64 = 1 << 20;

/// A registry and where else its images are.
struct Registry<'a> {
    host: &'a str,
    mirrors: Vec<Mirror<'a>>,
    /// CAs in PEM.
    ca: Option<Vec<u8>>,
}

/// A mirror's address in its parts: `https://HOST[/NAMES]`.
struct Mirror<'a> {
    scheme: &'a str,
    host: &'a str,
    /// The part of names that is the mirror's; empty if it has the registry's names.
    names: &'a str,
}

/// Adds the files to the layer of `runtime`.
///
/// # Errors
/// If the definition is wrong, or the runtime has no such setting.
pub(super) fn add(composed: &Composition, runtime: Option<&Runtime>, layers: &mut [LayerPlan]) -> Result<()> {
    let specs = &composed.file.registries;
    let Some((first, _)) = specs.first_key_value() else { return Ok(()) };
    let written = composed.file.runtime.as_ref().map_or("", |name| name.0.as_str());
    let layer = layers.iter_mut().find(|layer| layer.name == written);
    let Some((runtime, layer)) = runtime.zip(layer) else {
        let message = format!("Kiln does not know how the runtime \"{written}\" is told of registries");
        return Err(composed
            .error(&at!["registries", first.as_str()], &message)
            .help("write its files in a layer of your own"));
    };
    let reader = Reader { composed };
    let registries: Vec<Registry<'_>> =
        specs.iter().map(|(host, spec)| reader.registry(host, spec)).collect::<Result<_>>()?;
    let mut files = Files { composed, files: BTreeMap::new() };
    for registry in &registries {
        match &runtime.registries {
            Registries::Hosts(folder) => files.hosts(registry, folder)?,
            Registries::Containers { drop_ins, certificates } => {
                files.authorities(registry, certificates)?;
                files.drop_in(registry, drop_ins)?;
            }
            Registries::Daemon { file, mirrored, certificates } => {
                files.authorities(registry, certificates)?;
                files.daemon(registry, file, mirrored, layer)?;
            }
        }
    }
    let new = |(path, content)| FilePlan { path, content, mode: 0o644, uid: 0, gid: 0 };
    layer.files.extend(files.files.into_iter().map(new));
    Ok(())
}

struct Reader<'a> {
    composed: &'a Composition,
}

impl<'a> Reader<'a> {
    fn registry(&self, host: &'a str, spec: &'a RegistrySpec) -> Result<Registry<'a>> {
        let place = at!["registries", host];
        let fail = |message: &str, help: &str| Err(self.composed.error(&place, message).help(help));
        if !is_host(host) {
            let help = "write a host as references begin with it: docker.io, registry.example.com:5000";
            return fail(&format!("\"{host}\" is not the host of a registry"), help);
        }
        if spec.mirrors.as_ref().is_none_or(Vec::is_empty) && spec.ca.is_none() {
            return fail("nothing is said of this registry", "add mirrors = […], or ca = \"FILE\"");
        }
        let mirrors = spec.mirrors.iter().flatten().enumerate();
        let mirrors = mirrors
            .map(|(index, mirror)| self.mirror(mirror, &at!["registries", host, "mirrors", index]))
            .collect::<Result<Vec<_>>>()?;
        let all = spec.mirrors.iter().flatten();
        if let Some(twice) =
            all.clone().find(|mirror| all.clone().filter(|other| other == mirror).count() > 1)
        {
            return fail(&format!("the mirror {twice} is there twice"), "remove one of them");
        }
        let ca = spec.ca.as_ref().map(|file| self.ca(file, &at!["registries", host, "ca"])).transpose()?;
        Ok(Registry { host, mirrors, ca })
    }

    fn mirror(&self, address: &'a str, place: &[Step]) -> Result<Mirror<'a>> {
        const HELP: &str = "write https://HOST, or https://HOST/NAMES for a mirror of several registries";
        self.composed
            .check_url(place, address, HELP)
            .map_err(|error| match address::secret(address) {
                Some(_) => error.other_help(
                    "remove it: a node's image has no place for a login; choose a mirror that wants none",
                ),
                None => error,
            })?;
        let (scheme, rest) = address.split_once("://").unwrap_or(("", address));
        let (host, names) = rest.split_once('/').unwrap_or((rest, ""));
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/".contains(&byte);
        let is_right = ["http", "https"].contains(&scheme) && is_host(host);
        if !is_right || address.ends_with('/') || !names.bytes().all(is_name) {
            let message = format!("\"{address}\" is not the address of a mirror");
            return Err(self.composed.error(place, &message).help(HELP));
        }
        Ok(Mirror { scheme, host, names })
    }

    fn ca(&self, file: &str, place: &[Step]) -> Result<Vec<u8>> {
        let path = self.composed.folder.join(file);
        let fail = |why: String, help: &str| {
            Err(self.composed.error(place, &format!("{}: {why}", path.display())).help(help))
        };
        if !path.metadata().is_ok_and(|data| data.is_file() && data.len() <= LARGEST) {
            return fail(
                "there is no such file of at most 1 MiB".into(),
                "the path is relative to the definition",
            );
        }
        let pem = match fs::read(&path) {
            Ok(pem) => pem,
            Err(error) => return fail(error.to_string(), "check the file's permissions"),
        };
        let has = |words: &str| String::from_utf8_lossy(&pem).contains(words);
        if has("PRIVATE KEY") {
            return fail(
                "it holds a private key".into(),
                "every machine would have it: name the certificate alone",
            );
        }
        match certificates::count(&pem) {
            Ok(0) => {
                fail("it has no certificate in PEM".into(), "convert it: openssl x509 -inform DER -in FILE")
            }
            Ok(_) => Ok(pem),
            Err(why) => fail(why, "export it again; openssl x509 -noout -text -in FILE shows what is in it"),
        }
    }
}

/// The files that a runtime reads, by their paths.
struct Files<'a> {
    composed: &'a Composition,
    files: BTreeMap<String, Vec<u8>>,
}

impl Files<'_> {
    fn add(&mut self, registry: &Registry<'_>, path: &str, content: Vec<u8>) -> Result<()> {
        let path = path.trim_start_matches('/').to_owned();
        if self.files.get(&path).is_some_and(|other| *other != content) {
            let message = format!("two registries want different CAs in /{path}");
            return Err(self
                .composed
                .error(&at!["registries", registry.host, "ca"], &message)
                .help("name one file that has both, for each of them"));
        }
        self.files.insert(path, content);
        Ok(())
    }

    /// containerd: mirrors are tried before the registry, which has the keys at the top.
    fn hosts(&mut self, registry: &Registry<'_>, folder: &str) -> Result<()> {
        let folder = format!("{folder}/{}", registry.host);
        let ca = registry.ca.as_ref().map(|_| format!("ca = \"{folder}/ca.crt\"\n")).unwrap_or_default();
        let mut text = ca.clone();
        for Mirror { scheme, host, names } in &registry.mirrors {
            let separator = if text.is_empty() { "" } else { "\n" };
            // Names of the mirror's own are part of its path, which is then the whole one.
            let (path, whole) = match *names {
                "" => (String::new(), ""),
                names => (format!("/v2/{names}"), "override_path = true\n"),
            };
            let capabilities = "capabilities = [\"pull\", \"resolve\"]\n";
            let _ = write!(text, "{separator}[host.\"{scheme}://{host}{path}\"]\n{capabilities}{whole}{ca}");
        }
        self.add(registry, &format!("{folder}/hosts.toml"), text.into_bytes())?;
        match &registry.ca {
            Some(ca) => self.add(registry, &format!("{folder}/ca.crt"), ca.clone()),
            None => Ok(()),
        }
    }

    /// A folder of each host that the CAs vouch for.
    fn authorities(&mut self, registry: &Registry<'_>, folder: &str) -> Result<()> {
        let Some(ca) = &registry.ca else { return Ok(()) };
        let mirrors = registry.mirrors.iter().map(|mirror| mirror.host);
        for host in mirrors.chain([registry.host]) {
            self.add(registry, &format!("{folder}/{host}/ca.crt"), ca.clone())?;
        }
        Ok(())
    }

    fn drop_in(&mut self, registry: &Registry<'_>, folder: &str) -> Result<()> {
        if registry.mirrors.is_empty() {
            return Ok(());
        }
        let host = registry.host;
        let mut text = format!("[[registry]]\nprefix = \"{host}\"\nlocation = \"{host}\"\n");
        for Mirror { scheme, host, names } in &registry.mirrors {
            let location = format!("{host}/{names}");
            let _ =
                write!(text, "\n[[registry.mirror]]\nlocation = \"{}\"\n", location.trim_end_matches('/'));
            text.push_str(if *scheme == "http" { "insecure = true\n" } else { "" });
        }
        let name = host.replace(':', "-");
        self.add(registry, &format!("{folder}/50-{name}.conf"), text.into_bytes())
    }

    /// Docker: the file is the layer's, with the mirrors in it.
    fn daemon(
        &mut self,
        registry: &Registry<'_>,
        file: &str,
        mirrored: &str,
        layer: &mut LayerPlan,
    ) -> Result<()> {
        let Registry { host, mirrors, .. } = registry;
        if mirrors.is_empty() {
            return Ok(());
        }
        let fail = |message: String, help: &str| {
            Err(self.composed.error(&at!["registries", *host, "mirrors"], &message).help(help))
        };
        if *host != mirrored {
            let message = format!("this runtime knows mirrors of {mirrored} alone");
            return fail(message, "choose another runtime, or name the mirror in the references of pods");
        }
        if let Some(mirror) = mirrors.iter().find(|mirror| !mirror.names.is_empty()) {
            let message = format!("this runtime takes no mirror with a path, as \"/{}\"", mirror.names);
            return fail(message, "choose another runtime, or a mirror that has the registry's names");
        }
        let path = file.trim_start_matches('/');
        let old = layer.files.iter().find(|file| file.path == path).map(|file| file.content.as_slice());
        let Ok(mut json) = serde_json::from_slice::<serde_json::Map<_, _>>(old.unwrap_or(b"{}")) else {
            let message = format!("{file} of the layer \"{}\" is no JSON object", layer.name);
            return fail(message, "mend the layer");
        };
        let addresses: Vec<String> =
            mirrors.iter().map(|Mirror { scheme, host, .. }| format!("{scheme}://{host}")).collect();
        layer.files.retain(|file| file.path != path);
        json.insert("registry-mirrors".to_owned(), addresses.into());
        let text = format!("{:#}\n", serde_json::Value::Object(json));
        self.add(registry, file, text.into_bytes())
    }
}

/// Whether `text` is `HOST[:PORT]` as references have it: a name, or an address of IPv4.
fn is_host(text: &str) -> bool {
    let (name, port) = text.split_once(':').unwrap_or((text, "443"));
    let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(&byte);
    let has_letters = !name.is_empty() && name.bytes().all(is_name) && !name.starts_with(['.', '-']);
    has_letters && !name.contains("..") && port.parse::<u16>().is_ok_and(|port| port > 0)
}
