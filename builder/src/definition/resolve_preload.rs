//! The container images of a definition, which the runtime has before the network is up.

use super::compatibility::{FILE as TABLE, NeededImage};
use super::compose::Composition;
use super::image_spec::{ImageSpec, PreloadImage, PreloadSpec};
use super::interpolate::Variables;
use super::layer::Layer;
use super::plan::{Location, PreloadPlan};
use super::source::{Step, source_of};
use crate::address;
use crate::at;
use crate::container_image::ImageAddress;
use crate::error::{Error, Result};

/// The capability of layers that import preloaded container images at boot.
pub(super) const IMPORTER: &str = "preload";

/// Stands for the images that Kubernetes needs.
const WORD: &str = "kubernetes";

fn is_word(spec: &PreloadSpec) -> bool {
    matches!(spec, PreloadSpec::Name(name) if name == WORD)
}

/// The texts that the word in `file` stands for, if it is there.
pub(super) fn texts_of_word(file: &ImageSpec, needed: &[NeededImage]) -> Vec<String> {
    let has_word = file.preload.iter().flatten().any(is_word);
    needed.iter().filter(|_| has_word).map(|image| image.from.clone()).collect()
}

/// The images of `composed`; `needed` are those that Kubernetes needs, and `importers` gives the names of
/// layers that import images, for advice.
pub(super) fn resolve_preload(
    composed: &Composition,
    layers: &[Layer],
    needed: &[NeededImage],
    variables: &Variables,
    importers: &dyn Fn() -> Vec<String>,
) -> Result<Vec<PreloadPlan>> {
    let mut images: Vec<PreloadPlan> = Vec::new();
    let specs = || composed.file.preload.iter().flatten().enumerate();
    for (index, spec) in specs().filter(|(_, spec)| !is_word(spec)) {
        let image = Image { composed, variables, index }.plan(spec)?;
        if images.iter().any(|other| other.reference == image.reference) {
            let message = format!("the image {} is listed twice", image.reference);
            return Err(composed.error(&at!["preload", index], &message).help("remove one of them"));
        }
        images.push(image);
    }
    if let Some((index, _)) = specs().find(|(_, spec)| is_word(spec)) {
        if needed.is_empty() {
            let message = format!("{TABLE} beside the layers names no container images of Kubernetes");
            return Err(composed.error(&at!["preload", index], &message).help("write their names"));
        }
        for image in needed {
            let image = Image { composed, variables, index }.needed(image)?;
            // An image that the definition has from elsewhere is that one.
            if images.iter().all(|other| other.reference != image.reference) {
                images.push(image);
            }
        }
    }
    let imports = layers.iter().flat_map(Layer::capabilities).any(|capability| capability == IMPORTER);
    if images.is_empty() || imports {
        return Ok(images);
    }
    let message = "no layer of this image imports container images into its runtime";
    Err(composed.error(&at!["preload"], message).help(match importers().as_slice() {
        [] => format!("write a layer that provides \"{IMPORTER}\""),
        known => format!("these do: {}; or write one that provides \"{IMPORTER}\"", known.join(", ")),
    }))
}

/// One of the images.
struct Image<'a> {
    composed: &'a Composition,
    variables: &'a Variables,
    index: usize,
}

impl Image<'_> {
    fn plan(&self, spec: &PreloadSpec) -> Result<PreloadPlan> {
        let PreloadImage { reference, url, file, sha256 } = match spec {
            PreloadSpec::Name(name) => return self.in_registry(&at!["preload", self.index], name),
            PreloadSpec::Image(image) => image,
        };
        let from = match (url, file) {
            (Some(url), None) => self.at_address(url, sha256.is_some())?,
            (None, Some(file)) => self.on_this_machine(file)?,
            (None, None) if sha256.is_none() => return self.in_registry(&self.at("reference"), reference),
            (None, None) => {
                return Err(self
                    .error("sha256", "an image of a registry has its digest in its name")
                    .help("write reference = \"registry/name:tag@sha256:…\""));
            }
            (Some(_), Some(_)) => {
                return Err(self
                    .error("file", "a preloaded image has either a url or a file")
                    .help("write one of them"));
            }
        };
        let (written, reference) = self.whole(&self.at("reference"), reference)?;
        if written.contains('@') {
            return Err(self.error("reference", "a digest in the name is that of a registry's image").help(
                "leave it out, and write sha256 = \"…\" of the file, or of the manifest for a folder",
            ));
        }
        Ok(PreloadPlan { reference, from, sha256: *sha256 })
    }

    fn needed(&self, image: &NeededImage) -> Result<PreloadPlan> {
        let path = at!["preload", self.index];
        let reference = self.whole(&path, &image.name)?.1;
        Ok(PreloadPlan { reference, ..self.in_registry(&path, &image.from)? })
    }

    fn at(&self, key: &str) -> [Step; 3] {
        at!["preload", self.index, key]
    }

    fn error(&self, key: &str, message: &str) -> Error {
        self.composed.error(&self.at(key), message)
    }

    fn expanded(&self, path: &[Step], written: &str) -> Result<String> {
        self.composed.expand(path, written, self.variables)
    }

    /// A reference as it is written, with the values of variables, and the name of its image.
    fn whole(&self, path: &[Step], written: &str) -> Result<(String, String)> {
        let reference = self.expanded(path, written)?;
        // Without a slash it may be a slip of the pen for some other word.
        match ImageAddress::whole(&reference).filter(|_| reference.contains('/')) {
            Some(whole) => Ok((reference, whole)),
            None => {
                let shown = address::shown_alone(&reference);
                let message = format!("\"{shown}\" is not the name of an image with its tag");
                let source = source_of(&self.composed.sources, path);
                let error = match source.filter(|_| shown != reference) {
                    Some(source) => source.secret_error_at(path, &message),
                    None => self.composed.error(path, &message),
                };
                Err(error.help("write registry/name:tag"))
            }
        }
    }

    fn in_registry(&self, path: &[Step], written: &str) -> Result<PreloadPlan> {
        let (written, reference) = self.whole(path, written)?;
        let address = format!("docker://{written}");
        Ok(PreloadPlan { reference, from: Location { written: address.clone(), address }, sha256: None })
    }

    fn at_address(&self, url: &str, is_pinned: bool) -> Result<Location> {
        let path = self.at("url");
        let written = self.expanded(&path, url)?;
        self.composed.check_url(&path, &written, "write an https:// address")?;
        if !is_pinned {
            let error = self.composed.error(&path, "nothing says which bytes are the right ones");
            return Err(error.help("add sha256 = \"…\""));
        }
        Ok(Location { address: written.clone(), written })
    }

    fn on_this_machine(&self, file: &str) -> Result<Location> {
        let path = self.at("file");
        let written = self.expanded(&path, file)?;
        self.composed.local(&written).map_err(|local| {
            self.error("file", &format!("there is no file {}", local.display()))
                .help("the path is relative to the definition")
        })
    }
}
