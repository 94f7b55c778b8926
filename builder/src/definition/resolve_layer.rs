//! Resolves one layer: decides which of its steps apply and replaces variables.

use super::interpolate::Variables;
use super::layer::Layer;
use super::layer_folder;
use super::layer_spec::{ArtifactSpec, DirectorySpec, FileSpec, LinkSpec};
use super::plan::{
    ArchiveRules, ArtifactPlan, Checksum, DirectoryPlan, FilePlan, LayerPlan, LinkPlan, Origin, Place,
};
use super::resolve_signature::resolve_signature;
use super::resolve_windows;
use super::value::{Mode, check_components};
use crate::at;
use crate::error::{Error, Result};

/// The word in place of a checksum's address where upstream publishes none.
const UNPUBLISHED: &str = "unpublished";

/// The layer with its conditions decided and its variables replaced.
pub(super) fn resolve_layer(layer: &Layer, variables: &Variables) -> Result<LayerPlan> {
    let file = &layer.file;
    let mut plan = LayerPlan {
        name: layer.name.clone(),
        summary: file.summary.clone(),
        artifacts: Vec::new(),
        files: Vec::new(),
        directories: Vec::new(),
        links: Vec::new(),
        enable: unit_names(layer, "enable", &file.units.enable)?,
        mask: unit_names(layer, "mask", &file.units.mask)?,
        replaces: file.replaces.iter().map(|path| path.0.clone()).collect(),
        windows: resolve_windows::resolve(layer, variables)?,
        packages: file.packages.iter().map(|name| name.0.clone()).collect(),
        extension: file.extension.unwrap_or(!layer.is_for_windows()),
    };
    for (index, artifact) in file.artifact.iter().enumerate() {
        if layer.applies("artifact", index, &artifact.when, variables)? {
            let resolved = resolve_artifact(layer, index, artifact, variables)?;
            if plan.artifacts.iter().any(|other: &ArtifactPlan| other.name == resolved.name) {
                let message = format!("the artifact \"{}\" is there twice", resolved.name);
                return Err(layer
                    .source
                    .error_at(&at!["artifact", index, "name"], &message)
                    .help("give it another name, or conditions that exclude each other"));
            }
            plan.artifacts.push(resolved);
        }
    }
    for (index, entry) in file.file.iter().enumerate() {
        if layer.applies("file", index, &entry.when, variables)? {
            plan.files.push(resolve_file(layer, index, entry, variables)?);
        }
    }
    for (index, entry) in file.directory.iter().enumerate() {
        if layer.applies("directory", index, &entry.when, variables)? {
            plan.directories.push(resolve_directory(entry));
        }
    }
    for (index, entry) in file.link.iter().enumerate() {
        if layer.applies("link", index, &entry.when, variables)? {
            plan.links.push(resolve_link(layer, index, entry, variables)?);
        }
    }
    Ok(plan)
}

pub(super) fn unit_names(layer: &Layer, key: &str, names: &[String]) -> Result<Vec<String>> {
    const KINDS: [&str; 6] = [".service", ".socket", ".timer", ".mount", ".path", ".target"];
    for (index, name) in names.iter().enumerate() {
        if name.contains('/') || !KINDS.iter().any(|kind| name.len() > kind.len() && name.ends_with(kind)) {
            let message = format!("\"{name}\" is not the name of a unit");
            let help = format!("write its full name, ending in one of {}", KINDS.join(" "));
            return Err(layer.source.error_at(&at!["units", key, index], &message).help(help));
        }
    }
    Ok(names.to_vec())
}

pub(super) fn resolve_artifact(
    layer: &Layer,
    index: usize,
    artifact: &ArtifactSpec,
    variables: &Variables,
) -> Result<ArtifactPlan> {
    ArtifactResolver { layer, index, artifact, variables }.resolve()
}

struct ArtifactResolver<'a> {
    layer: &'a Layer,
    index: usize,
    artifact: &'a ArtifactSpec,
    variables: &'a Variables,
}

impl ArtifactResolver<'_> {
    fn resolve(&self) -> Result<ArtifactPlan> {
        let origin = self.origin()?;
        let version = self.version(&origin)?;
        let place = self.place()?;
        if matches!((&origin, &place), (Origin::Package { .. }, Place::File { .. })) {
            return Err(self.error(
                "path",
                "a package is an archive",
                "write archive = { pick = [\"path/in/the/package\"] }",
            ));
        }
        Ok(ArtifactPlan {
            name: self.artifact.name.0.clone(),
            version,
            origin,
            place,
            license: self.artifact.license.clone(),
            module: self.artifact.module.clone(),
        })
    }

    fn error(&self, key: &str, message: &str, help: &str) -> Error {
        self.layer.source.error_at(&at!["artifact", self.index, key], message).help(help)
    }

    fn expand(&self, key: &str, text: &str, variables: &Variables) -> Result<String> {
        self.layer.expand(&at!["artifact", self.index, key], text, variables)
    }

    fn origin(&self) -> Result<Origin> {
        let artifact = self.artifact;
        let origin = match (&artifact.url, &artifact.package, &artifact.program) {
            (Some(url), None, None) => return self.url(url),
            (None, Some(name), None) => Origin::Package { name: name.0.clone() },
            (None, None, Some(name)) => Origin::Program { name: name.0.clone() },
            _ => {
                return Err(self.error(
                    "name",
                    "an artifact comes from exactly one of url, package, program",
                    "write one of them",
                ));
            }
        };
        if artifact.checksum.is_some() || artifact.sha256.is_some() || artifact.signature.is_some() {
            return Err(self.error(
                "name",
                "a checksum or signature goes with a url",
                "remove it: packages are verified by their archive's signature",
            ));
        }
        Ok(origin)
    }

    fn url(&self, url: &str) -> Result<Origin> {
        let url = self.expand("url", url, self.variables)?;
        let help = "write an https:// address";
        self.layer.source.check_url(&at!["artifact", self.index, "url"], &url, help)?;
        let mut variables = self.variables.clone();
        variables.insert("url".into(), url.clone());
        let signature = self.artifact.signature.as_ref();
        let checksum = match (&self.artifact.checksum, self.artifact.sha256) {
            (Some(word), None) if word == UNPUBLISHED => None,
            (Some(address), None) => {
                let address = self.expand("checksum", address, &variables)?;
                let help = "write the address of upstream's checksum file";
                self.layer.source.check_url(&at!["artifact", self.index, "checksum"], &address, help)?;
                variables.insert("checksum".into(), address.clone());
                Some(Checksum::File(address))
            }
            (None, Some(digest)) => Some(Checksum::Pinned(digest)),
            (None, None) if signature.is_some() => None,
            _ => {
                return Err(self.error(
                    "url",
                    "an artifact has either a checksum address or a sha256",
                    "write exactly one of them; checksum = \"unpublished\" where upstream has no checksum",
                ));
            }
        };
        let signature = signature
            .map(|spec| resolve_signature(self.layer, self.index, spec, checksum.as_ref(), &variables))
            .transpose()?;
        Ok(Origin::Url { url, checksum, signature })
    }

    fn version(&self, origin: &Origin) -> Result<String> {
        match (&self.artifact.version, origin) {
            (Some(version), Origin::Url { .. }) => self.expand("version", version, self.variables),
            (None, Origin::Url { .. }) => Err(self.error(
                "name",
                "an artifact with a url needs a version",
                "add version = …: it goes into the lock and the SBOM",
            )),
            (Some(_), _) => {
                Err(self.error("version", "a package or program has its own version", "remove this line"))
            }
            (None, Origin::Program { .. }) => Ok(env!("CARGO_PKG_VERSION").into()),
            (None, Origin::Package { .. }) => Ok(String::new()),
        }
    }

    fn place(&self) -> Result<Place> {
        let artifact = self.artifact;
        match (&artifact.path, &artifact.archive) {
            (Some(path), None) => {
                Ok(Place::File { path: path.0.clone(), mode: artifact.mode.unwrap_or(Mode(0o755)).0 })
            }
            (None, Some(_)) if artifact.mode.is_some() => Err(self.error(
                "mode",
                "this mode is for a single file",
                "move it into archive = { mode = … }",
            )),
            (None, Some(archive)) => Ok(Place::Archive(ArchiveRules {
                strip: archive.strip,
                pick: archive
                    .pick
                    .iter()
                    .map(|pattern| self.expand("archive", pattern, self.variables))
                    .collect::<Result<_>>()?,
                into: archive.into.as_ref().map(|path| path.0.clone()).unwrap_or_default(),
                mode: archive.mode.map(|mode| mode.0),
            })),
            _ => {
                let help = "write path = … for one file, archive = { … } for an archive";
                Err(self.error("name", "an artifact has either a path or an archive", help))
            }
        }
    }
}

pub(super) fn resolve_directory(entry: &DirectorySpec) -> DirectoryPlan {
    let mode = entry.mode.unwrap_or(Mode(0o755)).0;
    DirectoryPlan { path: entry.path.0.clone(), mode, uid: entry.uid, gid: entry.gid }
}

pub(super) fn resolve_link(
    layer: &Layer,
    index: usize,
    entry: &LinkSpec,
    variables: &Variables,
) -> Result<LinkPlan> {
    let place = at!["link", index, "target"];
    let target = layer.expand(&place, &entry.target, variables)?;
    if target.is_empty() || target.contains('\0') {
        return Err(layer
            .source
            .error_at(&place, "a link needs a target")
            .help("write the path it points to"));
    }
    Ok(LinkPlan { path: entry.path.0.clone(), target })
}

pub(super) fn resolve_file(
    layer: &Layer,
    index: usize,
    file: &FileSpec,
    variables: &Variables,
) -> Result<FilePlan> {
    let fail = |key: &str, message: &str, help: &str| {
        Err(layer.source.error_at(&at!["file", index, key], message).help(help))
    };
    let (key, content) = match (&file.content, &file.source) {
        (Some(content), None) => ("content", content.clone().into_bytes()),
        (None, Some(source)) => {
            if check_components(source).is_err() {
                return fail(
                    "source",
                    &format!("\"{source}\" leaves the layer's folder"),
                    "keep the file below the layer's folder",
                );
            }
            match layer_folder::read(&layer.folder, source) {
                Ok(content) => ("source", content),
                Err((why, help)) => return fail("source", &why, help),
            }
        }
        _ => return fail("path", "a file has either content or a source", "write exactly one of them"),
    };
    let content = match (file.interpolate, String::from_utf8(content)) {
        (true, Ok(text)) => layer.expand(&at!["file", index, key], &text, variables)?.into_bytes(),
        (true, Err(_)) => {
            return fail(
                key,
                "variables are replaced in text only, and this is not UTF-8",
                "remove interpolate = true",
            );
        }
        (false, content) => content.map_or_else(std::string::FromUtf8Error::into_bytes, String::into_bytes),
    };
    let mode = file.mode.unwrap_or(Mode(0o644)).0;
    Ok(FilePlan { path: file.path.0.clone(), content, mode, uid: file.uid, gid: file.gid })
}
