//! One definition out of a file, the files it extends, and `--set`: the nearest value wins, tables merge,
//! lists replace.

use std::fs;
use std::path::{Path, PathBuf};

use super::image_spec::{BaseSpec, DiskSpec, ImageSpec, MetadataSpec, RegistrySpec};
use super::interpolate::{Variables, interpolate};
use super::plan::Location;
use super::source::{SET, Source, Step, error_in, source_of};
use crate::address;
use crate::at;
use crate::error::{Error, ErrorKind, Result};

/// A composed definition and its texts.
#[derive(Debug)]
pub struct Composition {
    pub file: ImageSpec,
    /// The texts, by precedence.
    pub sources: Vec<Source>,
    /// The folder of the definition that the user named; relative paths start there.
    pub folder: PathBuf,
}

impl Composition {
    /// An error about the value at `path`, in the text that has it.
    pub fn error(&self, path: &[Step], message: &str) -> Error {
        error_in(&self.sources, path, message)
    }

    /// Checks an address as [`Source::check_url`] does, in the text that has it.
    pub fn check_url(&self, path: &[Step], url: &str, help: &str) -> Result<()> {
        source_of(&self.sources, path).map_or(Ok(()), |source| source.check_url(path, url, help))
    }

    /// The value at `path`, with the values of its variables.
    pub fn expand(&self, path: &[Step], written: &str, variables: &Variables) -> Result<String> {
        interpolate(written, variables).map_err(|(why, help)| self.error(path, &why).help(help))
    }

    /// A file or folder beside the definition, or the path at which there is none.
    pub fn local(&self, written: &str) -> std::result::Result<Location, PathBuf> {
        let path = self.folder.join(written);
        match Some(&path).filter(|path| path.exists()).and_then(|path| address::of_path(path)) {
            Some(address) => Ok(Location { written: written.to_owned(), address }),
            None => Err(path),
        }
    }

    /// Whether any of the texts has a value at `path`.
    pub fn has(&self, path: &[Step]) -> bool {
        self.sources.iter().any(|source| source.has(path))
    }

    /// The error for a `key` that `table` lacks.
    pub fn missing(&self, table: &[Step], key: &str) -> Error {
        // The user's own file lacks it, so that is the one to name; --set texts come before it.
        let own = self.sources.iter().find(|source| !source.is_set());
        let sources = own.map(std::slice::from_ref).unwrap_or(&self.sources);
        error_in(sources, table, &format!("the key \"{key}\" is missing"))
            .help(format!("add {key} = …, or extend a definition that has it"))
    }

    /// Whether the text with the list `key`, or one that goes before it, has a value at `path`. A value below
    /// may be meant for what that list leaves out.
    pub fn goes_with(&self, key: &str, path: &[Step]) -> bool {
        let set = self.sources.iter().take_while(|source| source.is_set()).count();
        let lists = self.sources.iter().position(|source| source.has(&at![key]));
        let count = set.max(lists.map_or(0, |index| index + 1));
        self.sources.iter().take(count).any(|source| source.has(path))
    }
}

/// How many definitions may extend one another in a row.
const DEPTH: usize = 8;

/// The largest definition that is read, in bytes.
const LARGEST: u64 = 1 << 20;

/// Reads `path` and the definitions that it extends, and applies `sets` ("kubernetes=1.34.9"; the last one
/// wins).
pub fn compose(path: &Path, sets: &[String]) -> Result<Composition> {
    let mut sources = Vec::new();
    let mut file = ImageSpec::default();
    for set in sets.iter().rev() {
        let source = parse_set(set)?;
        file = over(file, source.parse()?);
        sources.push(source);
    }
    let folder = path.parent().unwrap_or(Path::new("")).to_owned();
    let mut seen = Vec::new();
    let mut next = Some(path.to_owned());
    while let Some(path) = next.take() {
        let source = read(&path)?;
        let parsed: ImageSpec = source.parse()?;
        if parsed.schema.is_none() {
            return Err(source
                .error_at(&[], "the key \"schema\" is missing")
                .help("begin the file with schema = 1"));
        }
        let identity = path.canonicalize().unwrap_or_else(|_| path.clone());
        if seen.contains(&identity) || seen.len() == DEPTH {
            let message = format!("definitions extend each other in a circle, or more than {DEPTH} deep");
            return Err(source.error_at(&at!["extends"], &message).help("remove one of the extends"));
        }
        seen.push(identity);
        next = parsed.extends.as_ref().map(|parent| path.parent().unwrap_or(Path::new("")).join(parent));
        if let Some(parent) = next.as_ref().filter(|parent| !parent.is_file()) {
            let message = format!("there is no definition {} to extend", parent.display());
            return Err(source.error_at(&at!["extends"], &message).help("the path is relative to this file"));
        }
        file = over(file, parsed);
        sources.push(source);
    }
    Ok(Composition { file, sources, folder })
}

/// Reads a definition file of a sane size.
pub fn read(path: &Path) -> Result<Source> {
    read_as(path, &DEFINITION)
}

/// A text file that a user names.
pub struct Expected {
    /// The kind of error if it is not there, or is no text.
    pub kind: ErrorKind,
    /// The largest one that is read, in bytes.
    pub largest: u64,
    /// What to do if another file was named.
    pub help: &'static str,
}

const DEFINITION: Expected = Expected {
    kind: ErrorKind::Definition,
    largest: LARGEST,
    help: "name a definition such as images/debian-13.toml",
};

/// Reads a text file.
pub fn read_as(path: &Path, expected: &Expected) -> Result<Source> {
    let name = path.display().to_string();
    let fail = |why: String, help: &str| Err(Error::new(expected.kind, format!("{name}: {why}")).help(help));
    let length = match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => metadata.len(),
        Ok(_) => return fail("not a file".into(), expected.help),
        Err(error) => return fail(error.to_string(), expected.help),
    };
    if length > expected.largest {
        return fail(format!("{length} bytes is too large"), expected.help);
    }
    match fs::read(path).map(String::from_utf8) {
        Ok(Ok(text)) => Ok(Source { name, text }),
        Ok(Err(error)) => {
            let line = error.as_bytes()[..error.utf8_error().valid_up_to()]
                .iter()
                .filter(|byte| **byte == b'\n')
                .count()
                + 1;
            fail(format!("line {line} is not UTF-8 text"), "save the file as UTF-8")
        }
        Err(error) => fail(error.to_string(), "check the file's permissions"),
    }
}

/// `KEY=VALUE` as TOML. A value that begins with `[`, `{` or `"`, or is true or false, is TOML, and so is a
/// whole number as an output's option; any other is a string, such as a version.
fn parse_set(set: &str) -> Result<Source> {
    let name = format!("{SET} {set}");
    let bad = |why: &str| {
        Error::new(ErrorKind::Usage, format!("{name}: {why}"))
            .help("write --set kubernetes=1.34.9 or --set disk.var=2GiB")
    };
    let (key, value) = set.split_once('=').ok_or_else(|| bad("there is no ="))?;
    let valid = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    if !key.split('.').all(valid) {
        return Err(bad("the part before = is not a key"));
    }
    if matches!(key, "schema" | "extends") {
        return Err(bad("this key cannot be set from the command line"));
    }
    // Elsewhere what looks like a number is a version.
    let has_numbers = ["output.", "disk."].iter().any(|table| key.starts_with(table));
    let is_number = has_numbers && value.parse::<u64>().is_ok();
    let toml = value.starts_with(['[', '{', '"']) || matches!(value, "true" | "false") || is_number;
    let value = if toml { value.to_owned() } else { toml::Value::String(value.to_owned()).to_string() };
    Ok(Source { name, text: format!("{key} = {value}") })
}

/// The values of `upper`, and those of `lower` that `upper` lacks.
fn over(upper: ImageSpec, lower: ImageSpec) -> ImageSpec {
    let mut versions = lower.versions;
    versions.extend(upper.versions);
    let mut output = lower.output;
    for (name, options) in upper.output {
        output.entry(name).or_default().extend(options);
    }
    let mut registries = lower.registries;
    for (host, upper) in upper.registries {
        let lower = registries.remove(&host).unwrap_or_default();
        let both = RegistrySpec { mirrors: upper.mirrors.or(lower.mirrors), ca: upper.ca.or(lower.ca) };
        registries.insert(host, both);
    }
    ImageSpec {
        schema: upper.schema.or(lower.schema),
        extends: None,
        name: upper.name.or(lower.name),
        arch: upper.arch.or(lower.arch),
        kubernetes: upper.kubernetes.or(lower.kubernetes),
        runtime: upper.runtime.or(lower.runtime),
        base: merge(upper.base, lower.base, over_base),
        layers: upper.layers.or(lower.layers),
        versions,
        kernel_arguments: upper.kernel_arguments.or(lower.kernel_arguments),
        disk: merge(upper.disk, lower.disk, over_disk),
        unsigned: upper.unsigned.or(lower.unsigned),
        preload: upper.preload.or(lower.preload),
        registries,
        metadata: merge(upper.metadata, lower.metadata, over_metadata),
        outputs: upper.outputs.or(lower.outputs),
        output,
        test: upper.test.or(lower.test),
    }
}

/// A base of one kind replaces one of the other kind as a whole.
fn over_base(upper: BaseSpec, lower: BaseSpec) -> BaseSpec {
    let given = |base: &BaseSpec| base.rootfs.is_some() || base.windows.is_some();
    let replaces = (given(&upper) && lower.distribution.is_some())
        || (upper.distribution.is_some() && given(&lower))
        || (upper.rootfs.is_some() && lower.windows.is_some())
        || (upper.windows.is_some() && lower.rootfs.is_some())
        || (upper.channel.is_some() && lower.suite.is_some())
        || (upper.suite.is_some() && lower.channel.is_some());
    if replaces {
        return upper;
    }
    BaseSpec {
        distribution: upper.distribution.or(lower.distribution),
        suite: upper.suite.or(lower.suite),
        snapshot: upper.snapshot.or(lower.snapshot),
        components: upper.components.or(lower.components),
        packages: upper.packages.or(lower.packages),
        rootfs: upper.rootfs.or(lower.rootfs),
        windows: upper.windows.or(lower.windows),
        edition: upper.edition.or(lower.edition),
        build: upper.build.or(lower.build),
        minimum_revision: upper.minimum_revision.or(lower.minimum_revision),
        sha256: upper.sha256.or(lower.sha256),
        checksum: upper.checksum.or(lower.checksum),
        signature: upper.signature.or(lower.signature),
        keyring: upper.keyring.or(lower.keyring),
        channel: upper.channel.or(lower.channel),
        version: upper.version.or(lower.version),
        release: upper.release.or(lower.release),
    }
}

fn over_metadata(upper: MetadataSpec, lower: MetadataSpec) -> MetadataSpec {
    MetadataSpec {
        platform: upper.platform.or(lower.platform),
        facts: upper.facts.or(lower.facts),
        config: upper.config.or(lower.config),
        secrets: upper.secrets.or(lower.secrets),
        signed_by: upper.signed_by.or(lower.signed_by),
        rejoin: upper.rejoin.or(lower.rejoin),
        guard: upper.guard.or(lower.guard),
    }
}

fn over_disk(upper: DiskSpec, lower: DiskSpec) -> DiskSpec {
    DiskSpec {
        sector_size: upper.sector_size.or(lower.sector_size),
        bios: upper.bios.or(lower.bios),
        esp: upper.esp.or(lower.esp),
        var: upper.var.or(lower.var),
        verity: upper.verity.or(lower.verity),
        windows: upper.windows.or(lower.windows),
        boot_manager: upper.boot_manager.or(lower.boot_manager),
    }
}

fn merge<T>(upper: Option<T>, lower: Option<T>, both: impl FnOnce(T, T) -> T) -> Option<T> {
    match (upper, lower) {
        (Some(upper), Some(lower)) => Some(both(upper, lower)),
        (upper, lower) => upper.or(lower),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_wins() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(
            folder.path().join("a.toml"),
            "schema = 1\nname = 'a'\nkubernetes = '1.36.4'\n[disk]\nesp = '64MiB'\nvar = '1GiB'\n",
        )
        .unwrap();
        let child = folder.path().join("b.toml");
        fs::write(&child, "schema = 1\nextends = 'a.toml'\nname = 'b'\n[disk]\nvar = '2GiB'\n").unwrap();
        let composed =
            compose(&child, &["kubernetes=1.34.9".into(), "kubernetes=1.20.2".into()]).unwrap().file;
        assert_eq!(composed.name.unwrap().0, "b");
        assert_eq!(composed.kubernetes.as_deref(), Some("1.20.2"));
        let disk = composed.disk.unwrap();
        assert_eq!((disk.esp.unwrap().0, disk.var.unwrap().0), (64 << 20, 2 << 30));
    }
}
