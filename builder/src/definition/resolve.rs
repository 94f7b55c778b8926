//! From a composed definition and its layers to a plan: every value present, every reference checked.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use contract::runtime;
use contract::suggest::nearest;

use contract::gpt::{LARGE_SECTOR, SECTOR};

use super::compatibility::{self, Completion, Table};
use super::compose::{self, Composition};
use super::image_spec::DiskSpec;
use super::interpolate::Variables;
use super::layer::Layer;
use super::layer_folder;
use super::layer_spec::LayerSpec;
use super::mentioned::{self, Used};
use super::plan::{Arch, BasePlan, BootManager, Choice, DiskPlan, Form, ImagePlan, LayerPlan};
use super::registries;
use super::registry::Registry;
use super::resolve_base::{BaseResolver, Kind};
use super::resolve_layer::resolve_layer;
use super::resolve_metadata::{self, resolve_metadata};
use super::resolve_preload::{IMPORTER, resolve_preload, texts_of_word};
use super::resolve_signature::drop_signatures;
use super::resolve_test;
use super::resolve_windows;
use super::source::{Step, rewrite_error, suggestion};
use super::value::{Name, Size};
use super::warnings;
use crate::at;
use crate::error::{Error, Result};
use crate::size::MIB;

/// A definition, resolved, and where its parts lie.
#[derive(Debug)]
pub struct Definition {
    /// Its values.
    pub plan: ImagePlan,
    /// Where the lock belongs: beside the definition.
    pub lock: PathBuf,
    /// What will probably fail when the lock is written, and what changes nothing, one line each.
    pub warnings: Vec<String>,
}

const DEFAULT_ESP: Size = Size(96 * MIB);
/// FAT32 has at least 65,525 clusters, and a cluster at least a sector.
const LARGE_SECTORS_ESP: Size = Size(264 * MIB);
const DEFAULT_VAR: Size = Size(512 * MIB);
/// What Microsoft recommends ("UEFI/GPT-based hard drive partitions").
const WINDOWS_ESP: Size = Size(200 * MIB);
/// The least that Windows Server asks for is 32 GB.
const DEFAULT_WINDOWS: Size = Size(32 << 30);
const DEFAULT_BIOS: Size = Size(MIB);
const DEFAULT_VERITY: Size = Size(16 * MIB);

/// Where a root may be, for those who ask for another place.
const ROOTS: &str =
    "remove it: Kiln's initrd finds the root on a local disk, or in memory after a network boot (output pxe)";

/// Reads the definition at `path`, applies `sets`, reads its layers from `layers` (default: the folder
/// `layers` beside the definition's folder), and resolves everything with the names of `registry`. Versions
/// that are left open stay those of `kept`, an earlier lock's.
pub fn load(
    path: &Path,
    sets: &[String],
    layers: Option<&Path>,
    registry: &dyn Registry,
    kept: &Variables,
) -> Result<Definition> {
    let composed = compose::compose(path, sets)?;
    let layers_folder = layers.map_or_else(|| composed.folder.join("../layers"), Path::to_owned);
    let table = Table::read(&layers_folder)?;
    let resolver =
        Resolver { composed: &composed, layers_folder: &layers_folder, registry, table: &table, kept };
    let (plan, mut warnings) = resolver.plan()?;
    warnings.extend(warnings::warnings(&plan, &composed, registry));
    Ok(Definition { plan, lock: path.with_extension("lock"), warnings })
}

struct Resolver<'a> {
    composed: &'a Composition,
    layers_folder: &'a Path,
    registry: &'a dyn Registry,
    table: &'a Table,
    /// The versions that an earlier lock has for those left open.
    kept: &'a Variables,
}

/// What a definition says of versions.
struct Versions {
    variables: Variables,
    /// Those that are written in part: "2.3".
    open: Variables,
    kubernetes: Option<Choice>,
}

impl Resolver<'_> {
    /// The plan, and the warnings of the compatibility table.
    fn plan(&self) -> Result<(ImagePlan, Vec<String>)> {
        let file = &self.composed.file;
        let name = self.required(&file.name, "name")?.0.clone();
        let arch = *self.required(&file.arch, "arch")?;
        let spec = self.required(&file.base, "base")?;
        let resolver =
            BaseResolver { composed: self.composed, registry: self.registry, spec, table: self.table };
        let kind = resolver.kind()?;
        self.check_layers_folder()?;
        let Versions { mut variables, open, kubernetes } = self.versions(&name, arch, kind)?;
        let layers = self.read_layers(&variables)?;
        let of_runtime = self.runtime_variables(&layers, &variables);
        self.add_fixed(&mut variables, of_runtime, ": it follows from the runtime")?;
        let needed = self.table.images(&layers, &variables);
        let used = Used { image: file, layers: &layers, texts: texts_of_word(file, &needed) };
        let Completion { choices, mut warnings } =
            compatibility::complete(self.table, self.composed, &used, &open, self.kept, &mut variables)?;
        let outputs = self.outputs(kind)?;
        let base = resolver.plan(kind, &layers, &outputs, &variables)?;
        self.check_layers(&layers, kind, arch)?;
        let importers = || self.providers_of(IMPORTER, kind, arch);
        let preload = resolve_preload(self.composed, &layers, &needed, &variables, &importers)?;
        let parts: Vec<&str> = self.table.parts().collect();
        warnings.extend(mentioned::check_versions(self.composed, &used, &parts)?);
        let runtime = known_runtime(&layers, &variables);
        let mut layers: Vec<LayerPlan> =
            layers.iter().map(|layer| resolve_layer(layer, &variables)).collect::<Result<_>>()?;
        let unsigned = file.unsigned.as_deref().unwrap_or_default();
        drop_signatures(&mut layers, unsigned).map_err(|(index, help)| {
            let message = format!("no layer asks for a signature of {}", unsigned[index]);
            self.error(&at!["unsigned", index], &message).help(help)
        })?;
        resolve_windows::check_together(&layers)
            .map_err(|(index, message, help)| self.error(&at!["layers", index], &message).help(help))?;
        registries::add(self.composed, runtime, &mut layers)?;
        if !matches!(kind, Kind::Packages { .. }) {
            resolver.check_layers_without_archive(&layers)?;
        }
        let metadata = resolve_metadata(self.composed)?;
        let mut kernel_arguments = self.kernel_arguments(arch, &variables)?;
        if kind.is_windows() {
            self.check_windows_own(kind, &layers)?;
        } else {
            kernel_arguments.extend(resolve_metadata::kernel_arguments(metadata.as_ref()));
        }
        self.check_vendors_own(&base, &kernel_arguments)?;
        let disk = file.disk.clone().unwrap_or_default();
        let plan = ImagePlan {
            name,
            arch,
            choices: kubernetes.into_iter().chain(choices).collect(),
            base,
            layers,
            preload,
            kernel_arguments,
            disk: self.disk(&disk, &outputs, kind)?,
            metadata,
            outputs,
            output_options: file.output.clone(),
            tests: resolve_test::resolve(self.composed, &variables)?,
            variables,
        };
        Ok((plan, warnings))
    }

    fn error(&self, path: &[Step], message: &str) -> Error {
        self.composed.error(path, message)
    }

    fn required<'v, T>(&self, value: &'v Option<T>, key: &str) -> Result<&'v T> {
        value.as_ref().ok_or_else(|| self.composed.missing(&[], key))
    }

    fn versions(&self, name: &str, arch: Arch, kind: Kind<'_>) -> Result<Versions> {
        let file = &self.composed.file;
        let written = self.required(&file.kubernetes, "kubernetes")?;
        let choice = self.table.kubernetes(written, self.kept);
        let kubernetes = choice.as_ref().map_or(written, |choice| &choice.version);
        let minor = kubernetes_minor(kubernetes)
            .map_err(|why| self.error(&at!["kubernetes"], &why).help(self.help_on_kubernetes()))?;
        let (mut variables, mut open) = (Variables::new(), Variables::new());
        for (key, value) in &file.versions {
            if self.table.leaves_open(key, value) {
                open.insert(key.clone(), value.clone());
                continue;
            }
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".+~-_".contains(&byte);
            if !value.starts_with(|first: char| first.is_ascii_digit()) || !value.bytes().all(plain) {
                let error =
                    self.error(&at!["versions", key.as_str()], &format!("\"{value}\" is not a version"));
                return Err(error.help(
                    "write an exact version: a digit, then letters, digits and . + ~ - _; no \"v\" in front",
                ));
            }
            variables.insert(key.clone(), value.clone());
        }
        let mut fixed = vec![
            ("name", name.to_owned()),
            ("arch", word(&arch)),
            ("kubernetes", kubernetes.clone()),
            ("kubernetes-minor", minor),
            ("runtime", self.required(&file.runtime, "runtime")?.0.clone()),
        ];
        if let Kind::Packages { distribution, suite } | Kind::Vendor { distribution, channel: suite } = kind {
            fixed.extend([("distribution", distribution.to_owned()), ("suite", suite.to_owned())]);
        }
        if let Some(release) = kind.release() {
            let build = release.build.to_string();
            fixed.extend([("windows", release.release.clone()), ("windows-build", build)]);
        }
        self.add_fixed(&mut variables, fixed, " and set it at the top of the definition")?;
        Ok(Versions { variables, open, kubernetes: choice })
    }

    /// Adds variables that no definition sets in `[versions]`; `instead` says where their values come from.
    fn add_fixed(&self, variables: &mut Variables, fixed: Vec<(&str, String)>, instead: &str) -> Result<()> {
        for (key, value) in fixed {
            if variables.insert(key.to_owned(), value).is_some() {
                let error = self
                    .error(&at!["versions", key], &format!("the variable \"{key}\" is no version of yours"));
                return Err(error.help(format!("remove it from [versions]{instead}")));
            }
        }
        Ok(())
    }

    /// How the image's kubelet reaches its container runtime, if it is one of those that Kiln knows.
    fn runtime_variables(&self, layers: &[Layer], variables: &Variables) -> Vec<(&'static str, String)> {
        let known = known_runtime(layers, variables);
        let minor = variables.get("kubernetes-minor").and_then(|minor| minor.rsplit('.').next());
        let minor = minor.and_then(|minor| minor.parse().ok());
        let endpoint = known.zip(minor).map(|(runtime, minor)| runtime.endpoint(minor));
        endpoint.map_or_else(Vec::new, |endpoint| {
            vec![
                ("cri-socket", format!("unix://{}", endpoint.socket)),
                ("runtime-service", format!("{}.service", endpoint.service)),
            ]
        })
    }

    fn help_on_kubernetes(&self) -> String {
        let help = "write a full version without \"v\", such as \"1.36.4\"";
        match self.table.minors().as_slice() {
            [] => help.to_owned(),
            minors => format!("{help}, or \"latest\" or a minor version: {}", minors.join(", ")),
        }
    }

    /// A vendor's disk has its own partitions and kernel command line.
    fn check_vendors_own(&self, base: &BasePlan, arguments: &[String]) -> Result<()> {
        let BasePlan::Vendor(vendor) = base else { return Ok(()) };
        if self.composed.file.disk.is_some() {
            let error = self.error(&at!["disk"], "the partitions of this disk are its vendor's");
            return Err(error.help("remove [disk]: the last partition grows at first boot"));
        }
        let Some(argument) = arguments.first().filter(|_| vendor.forms.contains(&Form::Disk)) else {
            return Ok(());
        };
        let message =
            format!("\"{argument}\" cannot be passed: the disk has its vendor's kernel command line");
        Err(self.error(&at!["kernel-arguments"], &message).help(
            "remove it (a trust policy that bars credentials adds one), or leave out the outputs that are disks",
        ))
    }

    /// What only a kernel of Linux, or its machines, could do.
    fn check_windows_own(&self, kind: Kind<'_>, layers: &[LayerPlan]) -> Result<()> {
        if self.composed.file.test.as_ref().is_some_and(|tests| !tests.is_empty()) {
            let error =
                self.error(&at!["test"], "tests of an image run under systemd, which Windows does not have");
            return Err(error.help("remove [[test]]; kiln verify looks into an image of Windows"));
        }
        let refuse = |key: &str, what: &str| {
            let error = self.error(&at![key], &format!("an image of Windows has no {what}"));
            Err(error.help(format!("leave {key} out")))
        };
        let file = &self.composed.file;
        if file.kernel_arguments.as_ref().is_some_and(|arguments| !arguments.is_empty()) {
            return refuse("kernel-arguments", "kernel command line");
        }
        if file.preload.as_ref().is_some_and(|preload| !preload.is_empty()) {
            return refuse("preload", "container images before its first boot: Windows unpacks them itself");
        }
        if matches!(kind, Kind::WindowsRelease { .. }) && file.disk.is_some() {
            return refuse("disk", "disk without base.windows");
        }
        debug_assert!(
            layers.iter().all(|layer| layer.enable.is_empty()),
            "layers were checked for their system"
        );
        Ok(())
    }

    fn read_layers(&self, variables: &Variables) -> Result<Vec<Layer>> {
        let names = self.required(&self.composed.file.layers, "layers")?;
        let mut layers: Vec<Layer> = Vec::new();
        for (index, name) in names.iter().enumerate() {
            let name = self.composed.expand(&at!["layers", index], name, variables)?;
            let layer = self.read_layer(&name, index)?;
            if layers.iter().any(|other| other.name == layer.name) {
                let error = self
                    .error(&at!["layers", index], &format!("the layer \"{}\" is listed twice", layer.name));
                return Err(error.help("remove one of them"));
            }
            layers.push(layer);
        }
        Ok(layers)
    }

    /// All of its layers and the compatibility table lie in one folder.
    fn check_layers_folder(&self) -> Result<()> {
        let names = self.required(&self.composed.file.layers, "layers")?;
        let Some(index) = names.iter().position(|name| !is_own(name)) else { return Ok(()) };
        if self.layers_folder.is_dir() {
            return Ok(());
        }
        let folder = self.layers_folder.display();
        let why = if self.layers_folder.exists() { "is no folder" } else { "does not exist" };
        let error = self.error(&at!["layers", index], &format!("the folder of the layers, {folder}, {why}"));
        Err(error
            .help("name it with --layers-dir; without that it is layers/ beside the definition's folder"))
    }

    fn read_layer(&self, written: &str, index: usize) -> Result<Layer> {
        let own = is_own(written);
        let folder = if own { self.composed.folder.join(written) } else { self.layers_folder.join(written) };
        let path = folder.join("layer.toml");
        let fail =
            |message: String, help: String| Err(self.error(&at!["layers", index], &message).help(help));
        if !own && Name::try_from(written.to_owned()).is_err() {
            return fail(
                format!("\"{written}\" is not the name of a layer"),
                "write a folder's name in layers/, or a path that begins with ./".into(),
            );
        }
        if !path.is_file() {
            let known = self.known_layers();
            let why = if path.symlink_metadata().is_ok() { "is not a file" } else { "does not exist" };
            let help = if own {
                "a layer is a folder with a layer.toml".into()
            } else {
                suggestion(written, known.iter().map(String::as_str))
            };
            return fail(format!("there is no layer \"{written}\" ({} {why})", path.display()), help);
        }
        if let Err((why, help)) = layer_folder::file(&folder, "layer.toml") {
            return fail(why, help.to_owned());
        }
        Layer::read(folder, self.registry)
    }

    fn known_layers(&self) -> Vec<String> {
        let entries = fs::read_dir(self.layers_folder).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries
            .filter(|entry| entry.path().join("layer.toml").is_file())
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    /// Systems, requirements and conflicts; and the runtime must be a layer that is one.
    fn check_layers(&self, layers: &[Layer], kind: Kind<'_>, arch: Arch) -> Result<()> {
        let provided: BTreeMap<&str, usize> = layers
            .iter()
            .enumerate()
            .flat_map(|(index, layer)| layer.capabilities().map(move |capability| (capability, index)))
            .collect();
        for (index, layer) in layers.iter().enumerate() {
            let fail =
                |message: String, help: String| Err(self.error(&at!["layers", index], &message).help(help));
            if !is_for_base(&layer.file, kind) {
                return fail(
                    format!("the layer \"{}\" does not work on {}", layer.name, kind.title()),
                    self.instead_of(layer, kind, arch),
                );
            }
            if !is_for_arch(&layer.file, arch) {
                return fail(
                    format!("the layer \"{}\" does not exist for {}", layer.name, word(&arch)),
                    "choose another layer or arch".into(),
                );
            }
            for required in &layer.file.requires {
                if !provided.contains_key(required.0.as_str()) {
                    return fail(
                        format!(
                            "the layer \"{}\" requires \"{}\", which no layer of this image provides",
                            layer.name, required.0
                        ),
                        self.provider_of(&required.0, kind, arch),
                    );
                }
            }
            for conflict in &layer.file.conflicts {
                let rival = layers.iter().position(|other| {
                    other.name != layer.name
                        && other.capabilities().any(|capability| capability == conflict.0)
                });
                if let Some(rival) = rival {
                    return fail(
                        format!(
                            "the layers \"{}\" and \"{}\" exclude each other",
                            layer.name, layers[rival].name
                        ),
                        "keep one of them".into(),
                    );
                }
            }
        }
        self.check_runtime(layers)
    }

    /// What to take in place of a layer that does not work on the base.
    fn instead_of(&self, layer: &Layer, kind: Kind<'_>, arch: Arch) -> String {
        let others = layer.capabilities().flat_map(|capability| self.providers_of(capability, kind, arch));
        let is_of_other_kind = layer.is_for_windows() != kind.is_windows();
        match others.into_iter().next().filter(|_| is_of_other_kind) {
            Some(other) => format!("take the layer \"{other}\" instead, or another base"),
            None => "choose another layer or base".to_owned(),
        }
    }

    fn check_runtime(&self, layers: &[Layer]) -> Result<()> {
        let runtime = &self.required(&self.composed.file.runtime, "runtime")?.0;
        let runtimes: Vec<&str> = layers
            .iter()
            .filter(|layer| layer.file.provides.iter().any(|capability| capability.0 == "container-runtime"))
            .map(|layer| layer.name.as_str())
            .collect();
        if let [first, second, ..] = runtimes[..] {
            let message = format!("this image has two container runtimes, \"{first}\" and \"{second}\"");
            return Err(self.error(&at!["layers"], &message).help("keep one of these layers"));
        }
        if runtimes.contains(&runtime.as_str()) {
            return Ok(());
        }
        let help = match nearest(runtime, runtimes.iter().copied()) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None if runtimes.is_empty() => {
                format!("add the layer \"{runtime}\" to layers, or \"${{runtime}}\"")
            }
            None => {
                format!("add the layer \"{runtime}\", or choose from this image's: {}", runtimes.join(", "))
            }
        };
        Err(self
            .error(&at!["runtime"], &format!("the runtime \"{runtime}\" is not among the layers"))
            .help(help))
    }

    /// The known layers for such images that have a capability.
    fn providers_of(&self, capability: &str, kind: Kind<'_>, arch: Arch) -> Vec<String> {
        let provides = |name: &String| {
            let path = self.layers_folder.join(name).join("layer.toml");
            let file: Option<LayerSpec> = compose::read(&path).and_then(|source| source.parse()).ok();
            file.filter(|file| is_for_base(file, kind) && is_for_arch(file, arch))
                .is_some_and(|file| {
                    name == capability || file.provides.iter().any(|provided| provided.0 == capability)
                })
        };
        self.known_layers().into_iter().filter(provides).collect()
    }

    fn provider_of(&self, capability: &str, kind: Kind<'_>, arch: Arch) -> String {
        match self.providers_of(capability, kind, arch).first() {
            Some(name) => format!("add the layer \"{name}\""),
            None => "write a layer that provides it".into(),
        }
    }

    fn disk(&self, spec: &DiskSpec, outputs: &[String], kind: Kind<'_>) -> Result<DiskPlan> {
        if matches!(kind, Kind::Windows { .. }) {
            return self.windows_disk(spec);
        }
        for (key, is_there) in
            [("windows", spec.windows.is_some()), ("boot-manager", spec.boot_manager.is_some())]
        {
            if is_there {
                let error = self.error(&at!["disk", key], &format!("disk.{key} goes with base.windows"));
                return Err(error.help("leave it out: this disk has no partition with Windows"));
            }
        }
        let sector_size = self.sector_size(spec, outputs)?;
        let (bios, esp, least_esp) = if sector_size == SECTOR {
            (DEFAULT_BIOS, DEFAULT_ESP, 34)
        } else {
            (Size(0), LARGE_SECTORS_ESP, LARGE_SECTORS_ESP.0 / MIB)
        };
        let bios = spec.bios.unwrap_or(bios);
        let esp = spec.esp.unwrap_or(esp);
        let var = spec.var.unwrap_or(DEFAULT_VAR);
        let verity = spec.verity.unwrap_or(DEFAULT_VERITY);
        let bounds = [("esp", esp, least_esp), ("var", var, 64)];
        for (key, size, least) in bounds {
            if size.0 < least * MIB {
                let error = self.error(&at!["disk", key], &format!("{} MiB is too small", size.0 / MIB));
                let help = match sector_size {
                    SECTOR => format!("write at least \"{least}MiB\""),
                    _ => format!("write at least \"{least}MiB\": the sectors have {sector_size} bytes"),
                };
                return Err(error.help(help));
            }
        }
        Ok(DiskPlan {
            sector_size,
            bios: bios.0,
            esp: esp.0,
            var: var.0,
            verity: verity.0,
            windows: 0,
            boot_manager: BootManager::default(),
        })
    }

    /// A disk with Windows boots by UEFI, and has no partitions of Linux.
    fn windows_disk(&self, spec: &DiskSpec) -> Result<DiskPlan> {
        let others = [
            ("sector-size", spec.sector_size.is_some_and(|size| size != SECTOR)),
            ("bios", spec.bios.is_some_and(|size| size.0 > 0)),
            ("var", spec.var.is_some()),
            ("verity", spec.verity.is_some_and(|size| size.0 > 0)),
        ];
        if let Some((key, _)) = others.into_iter().find(|(_, is_there)| *is_there) {
            let error = self.error(&at!["disk", key], &format!("disk.{key} does not go with base.windows"));
            return Err(error.help("leave it out: such a disk has disk.esp and disk.windows"));
        }
        let esp = spec.esp.unwrap_or(WINDOWS_ESP);
        let windows = spec.windows.unwrap_or(DEFAULT_WINDOWS);
        let boot_manager = spec.boot_manager.unwrap_or_default();
        let (esp, windows) = (esp.0, windows.0);
        Ok(DiskPlan { sector_size: SECTOR, bios: 0, esp, var: 0, verity: 0, windows, boot_manager })
    }

    /// Bytes in a sector, which every output must be able to have.
    fn sector_size(&self, spec: &DiskSpec, outputs: &[String]) -> Result<u64> {
        let path = at!["disk", "sector-size"];
        let size = match spec.sector_size.unwrap_or(SECTOR) {
            SECTOR => return Ok(SECTOR),
            LARGE_SECTOR => LARGE_SECTOR,
            other => {
                let error = self.error(&path, &format!("no disk has sectors of {other} bytes"));
                return Err(error.help("write 512, or 4096 for a disk of the kind \"4K native\""));
            }
        };
        if spec.bios.is_some_and(|bios| bios.0 > 0) {
            let error = self.error(&at!["disk", "bios"], "no BIOS boots a disk with sectors of 4096 bytes");
            return Err(error.help("leave disk.bios out, or disk.sector-size"));
        }
        match outputs.iter().find(|name| !self.registry.has_large_sectors(name)) {
            None => Ok(size),
            Some(name) => {
                let message = format!("the output \"{name}\" is a disk with sectors of 512 bytes, always");
                Err(self.error(&path, &message).help("leave out the output, or disk.sector-size"))
            }
        }
    }

    fn kernel_arguments(&self, arch: Arch, variables: &Variables) -> Result<Vec<String>> {
        let arguments = self.composed.file.kernel_arguments.as_deref().unwrap_or_default();
        let mut variables = variables.clone();
        variables.insert("serial".to_owned(), arch.serial_port().to_owned());
        arguments
            .iter()
            .enumerate()
            .map(|(index, argument)| {
                let path = at!["kernel-arguments", index];
                let value = self.composed.expand(&path, argument, &variables)?;
                if value.is_empty() || value.contains(char::is_whitespace) || value.contains('\0') {
                    return Err(self
                        .error(&path, "a kernel argument is one word")
                        .help("write each argument as an item of its own"));
                }
                if value.matches('"').count() % 2 == 1 {
                    let message = format!("the quotation mark of {value} takes in all arguments behind it");
                    return Err(self.error(&path, &message).help("close it, or leave it out"));
                }
                if let Some(place) = contract::foreign_root(&value) {
                    return Err(self
                        .error(&path, &format!("\"{value}\" asks for a root on {place}"))
                        .help(ROOTS));
                }
                if value.starts_with("root=") || value.starts_with("init=") {
                    return Err(self
                        .error(&path, &format!("\"{value}\" is Kiln's to set"))
                        .help("remove it: the root is found by its partition type"));
                }
                Ok(value)
            })
            .collect()
    }

    fn outputs(&self, kind: Kind<'_>) -> Result<Vec<String>> {
        let outputs = self.required(&self.composed.file.outputs, "outputs")?;
        if outputs.is_empty() {
            return Err(self
                .error(&at!["outputs"], "there is nothing to write")
                .help("name at least one output, such as \"raw\""));
        }
        for (index, name) in outputs.iter().enumerate() {
            let path = at!["outputs", index];
            self.check_output_name(name, &path)?;
            if outputs[..index].contains(name) {
                let error = self.error(&path, &format!("the output \"{name}\" is listed twice"));
                return Err(error.help("remove one of them"));
            }
            if let Some(part) = self.registry.missing_part(kind.base(), name) {
                let message = format!(
                    "the output \"{name}\" needs the image's {part}, and a base of {} has none",
                    kind.title()
                );
                let help = match kind {
                    Kind::WindowsRelease { .. } => {
                        "name an image of Windows to bake the layers into: base.windows = \"install.wim\""
                    }
                    _ => "choose another output or base",
                };
                return Err(self.error(&path, &message).help(help));
            }
        }
        for (name, options) in &self.composed.file.output {
            let path = at!["output", name.as_str()];
            self.check_output_name(name, &path)?;
            if let Err(message) = self.registry.check_options(name, options) {
                let (message, help) = rewrite_error(&message);
                let error = self.error(&path, &format!("the output \"{name}\": {message}"));
                return Err(match help {
                    Some(help) => error.help(help),
                    None => error,
                });
            }
        }
        Ok(outputs.clone())
    }

    fn check_output_name(&self, name: &str, path: &[Step]) -> Result<()> {
        let known = self.registry.outputs();
        if known.contains(&name) {
            return Ok(());
        }
        Err(self.error(path, &format!("unknown output \"{name}\"")).help(suggestion(name, known)))
    }
}

/// The image's container runtime, if it is one of those that Kiln knows.
fn known_runtime(layers: &[Layer], variables: &Variables) -> Option<&'static runtime::Runtime> {
    let word = variables.get("runtime");
    let chosen = layers.iter().find(|layer| word == Some(&layer.name));
    chosen.and_then(|layer| layer.capabilities().find_map(runtime::named))
}

/// Whether a layer is named by its path.
fn is_own(layer: &str) -> bool {
    layer.starts_with("./") || layer.starts_with('/')
}

/// Whether a layer may lie on such a base.
fn is_for_base(layer: &LayerSpec, kind: Kind<'_>) -> bool {
    if kind.is_windows() {
        return layer.is_for_windows();
    }
    layer.os.is_empty() || layer.os.iter().any(|os| os == kind.base())
}

fn is_for_arch(layer: &LayerSpec, arch: Arch) -> bool {
    layer.arch.is_empty() || layer.arch.contains(&arch)
}

/// "1.36" of "1.36.4". The error is the message.
fn kubernetes_minor(version: &str) -> Result<String, String> {
    let parsed =
        semver::Version::parse(version).map_err(|_| format!("\"{version}\" is not a Kubernetes version"))?;
    if parsed.major != 1 || parsed.minor < 20 {
        return Err(format!("Kubernetes {version} is older than 1.20, the oldest that Kiln knows"));
    }
    Ok(format!("{}.{}", parsed.major, parsed.minor))
}

/// The word by which a value is written in definitions.
fn word(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}
