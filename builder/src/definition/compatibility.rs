//! The compatibility table, `layers/compatibility.toml`: what works with what. It gives the versions that a
//! definition leaves open, and refuses those that cannot work together.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use semver::{Version, VersionReq};
use serde::Deserialize;

use super::compose::{self, Composition};
use super::condition::{self, When};
use super::interpolate::{Variables, interpolate};
use super::layer::Layer;
use super::mentioned::{FIXED, Used};
use super::plan::Choice;
use super::source::{Source, Step, suggestion};
use super::value::SchemaVersion;
use crate::at;
use crate::error::{Error, ErrorKind, Result};

/// The file's name, in the folder of the layers.
pub(super) const FILE: &str = "compatibility.toml";

/// The part that all others follow.
const KUBERNETES: &str = "kubernetes";

/// Instead of a version: the newest.
const LATEST: &str = "latest";

/// The table. A folder of layers without one leaves nothing open and refuses nothing.
#[derive(Debug)]
pub(super) struct Table {
    source: Source,
    file: TableFile,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct TableFile {
    schema: Option<SchemaVersion>,
    /// The newest release of each line, by part, oldest first.
    #[serde(default)]
    newest: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    end_of_life: Vec<EndOfLife>,
    #[serde(default)]
    rule: Vec<Rule>,
    #[serde(default)]
    image: Vec<ImageRow>,
    #[serde(default)]
    former_registry: Vec<FormerRegistry>,
    #[serde(default)]
    windows: Vec<WindowsRelease>,
}

/// A release of Windows Server.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct WindowsRelease {
    /// Its name: "2022".
    pub release: String,
    /// The build number that all its patches share.
    pub build: u32,
    /// The number behind it, which patches raise, of the oldest one that layers work with.
    pub least_revision: u32,
    /// The releases whose containers it runs in isolation by processes.
    pub runs: Vec<String>,
    #[serde(rename = "source")]
    _source: String,
}

/// Container images that Kubernetes needs.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct ImageRow {
    /// Of images with a layer that is this.
    layer: Option<String>,
    #[serde(default)]
    when: When,
    /// Whole names, with variables.
    names: Vec<String>,
    /// Whether kubeadm chooses the name, so that a former registry counts.
    #[serde(default)]
    by_kubeadm: bool,
    #[serde(rename = "source")]
    _source: String,
}

/// A registry that kubeadm of some versions names in the place of another one, where the images are now.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct FormerRegistry {
    when: When,
    registry: String,
    name: String,
    #[serde(rename = "source")]
    _source: String,
}

/// When upstream's support of the lines of a part ends.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct EndOfLife {
    part: String,
    #[serde(rename = "source")]
    _source: String,
    /// "1.34" and its date.
    lines: BTreeMap<String, String>,
}

/// A rule holds for images that have all parts it names. Exactly one of `needs`, `excludes`, `prefers`,
/// `warn`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Rule {
    when: When,
    /// All of it must hold.
    needs: Option<When>,
    /// Not all of it may hold.
    excludes: Option<When>,
    /// What to choose for a version that is left open.
    prefers: Option<When>,
    /// A warning.
    warn: Option<String>,
    why: Option<String>,
    /// Where that can be read.
    source: String,
}

impl Table {
    /// Reads the table in the folder of the layers.
    pub fn read(layers_folder: &Path) -> Result<Self> {
        let path = layers_folder.join(FILE);
        if !path.exists() {
            let source = Source { name: path.display().to_string(), text: String::new() };
            return Ok(Self { source, file: TableFile::default() });
        }
        let source = compose::read(&path)?;
        let file: TableFile = source.parse()?;
        let table = Self { source, file };
        table.check()?;
        Ok(table)
    }

    /// The parts whose versions it can give.
    pub fn parts(&self) -> impl Iterator<Item = &str> + Clone {
        self.file.newest.keys().map(String::as_str)
    }

    /// The releases of Windows Server that it knows.
    pub fn windows(&self) -> &[WindowsRelease] {
        &self.file.windows
    }

    /// The minor versions of Kubernetes that it knows.
    pub fn minors(&self) -> Vec<&str> {
        self.releases(KUBERNETES).iter().filter_map(|version| line(version)).collect()
    }

    fn releases(&self, part: &str) -> &[String] {
        self.file.newest.get(part).map(Vec::as_slice).unwrap_or_default()
    }

    fn row(&self, path: &[Step]) -> String {
        match self.source.line_of(path) {
            Some(line) => format!("{FILE}:{line}"),
            None => FILE.to_owned(),
        }
    }

    fn row_of(&self, rule: usize) -> String {
        self.row(&at!["rule", rule])
    }

    fn check(&self) -> Result<()> {
        let fail =
            |path: &[Step], message: &str, help: &str| Err(self.source.error_at(path, message).help(help));
        if self.file.schema.is_none() {
            return fail(&[], "the key \"schema\" is missing", "begin the file with schema = 1");
        }
        for (part, releases) in &self.file.newest {
            let path = at!["newest", part.as_str()];
            let mut versions = Vec::new();
            for release in releases {
                let Some(version) = number(release) else {
                    let message = format!("\"{release}\" is not a version");
                    return fail(&path, &message, "write it without \"v\": a digit comes first");
                };
                versions.push(version);
            }
            if versions.is_empty() || !versions.is_sorted_by(|a, b| a < b) {
                return fail(
                    &path,
                    "the oldest release comes first, and each is there once",
                    "sort the list",
                );
            }
        }
        for (index, list) in self.file.end_of_life.iter().enumerate() {
            self.check_names(&at!["end-of-life", index, "part"], [&list.part])?;
        }
        for (index, rule) in self.file.rule.iter().enumerate() {
            self.check_rule(index, rule)?;
        }
        for (index, image) in self.file.image.iter().enumerate() {
            self.check_when(&at!["image", index, "when"], &image.when)?;
        }
        for (index, registry) in self.file.former_registry.iter().enumerate() {
            self.check_when(&at!["former-registry", index, "when"], &registry.when)?;
        }
        Ok(())
    }

    fn check_rule(&self, index: usize, rule: &Rule) -> Result<()> {
        let conditions = [("needs", &rule.needs), ("excludes", &rule.excludes), ("prefers", &rule.prefers)];
        let given: Vec<_> =
            conditions.iter().filter_map(|(key, when)| Some((*key, when.as_ref()?))).collect();
        if given.len() + usize::from(rule.warn.is_some()) != 1 {
            let message = "a rule has exactly one of needs, excludes, prefers, warn";
            return Err(self.source.error_at(&at!["rule", index], message).help("write one rule for each"));
        }
        if rule.when.is_empty() {
            let message = "a rule without conditions would hold for every image";
            return Err(self.source.error_at(&at!["rule", index], message).help("name a part in when"));
        }
        if rule.why.is_some() == rule.warn.is_some() {
            let message = "a rule says why, and a warning is its own reason";
            return Err(self.source.error_at(&at!["rule", index], message).help("write why = \"…\" or warn"));
        }
        for (key, when) in given.into_iter().chain([("when", &rule.when)]) {
            self.check_when(&at!["rule", index, key], when)?;
        }
        Ok(())
    }

    fn check_when(&self, path: &[Step], when: &When) -> Result<()> {
        self.check_names(path, when.keys())?;
        for (name, requirement) in when {
            // One with a variable is checked when that has a value.
            if !requirement.contains("${") && requirement.starts_with(condition::COMPARISONS) {
                VersionReq::parse(requirement).map_err(|error| {
                    let message = format!("\"{requirement}\" is not a version requirement: {error}");
                    let path = [path, &at![name.as_str()]].concat();
                    self.source.error_at(&path, &message).help("write one such as \">=1.26, <1.35\"")
                })?;
            }
        }
        Ok(())
    }

    fn check_names<'n>(&self, path: &[Step], names: impl IntoIterator<Item = &'n String>) -> Result<()> {
        let known = || self.parts().chain(FIXED);
        match names.into_iter().find(|name| !known().any(|known| known == name.as_str())) {
            Some(name) => {
                let message = format!("[newest] has no part \"{name}\"");
                let known: Vec<&str> = known().collect();
                Err(self.source.error_at(path, &message).help(suggestion(name, known)))
            }
            None => Ok(()),
        }
    }

    /// Whether `written` leaves the version of `part` to the table: "latest", or the beginning of one that it
    /// has ("2.3").
    pub fn leaves_open(&self, part: &str, written: &str) -> bool {
        let releases = self.releases(part);
        let literal = releases.iter().any(|release| release == written);
        !literal && releases.iter().any(|release| fits(written, release))
    }

    /// The release of Kubernetes for what a definition says of it; `None` for a version of its own.
    pub fn kubernetes(&self, written: &str, kept: &Variables) -> Option<Choice> {
        if !self.leaves_open(KUBERNETES, written) {
            return None;
        }
        if let Some(version) = kept.get(KUBERNETES).filter(|version| fits(written, version)) {
            return Some(Choice::new(KUBERNETES, version, KEPT, None));
        }
        let newest = self.releases(KUBERNETES).iter().rev().find(|release| fits(written, release))?;
        let why = if written == LATEST { "the newest release" } else { "the newest patch release" };
        Some(Choice::new(KUBERNETES, newest, why, Some(self.row(&at!["newest", KUBERNETES]))))
    }

    /// The container images that Kubernetes needs in an image with these layers: their names, with variables,
    /// and where they are instead. `facts` has the versions that are written.
    pub fn images(&self, layers: &[Layer], facts: &Variables) -> Vec<NeededImage> {
        let holds = |when: &When| holds(when, facts) == Some(true);
        let has = |wanted: &String| layers.iter().flat_map(Layer::capabilities).any(|name| name == wanted);
        let rows = self
            .file
            .image
            .iter()
            .filter(|row| row.layer.as_ref().is_none_or(has) && holds(&row.when));
        let former = self.file.former_registry.iter().find(|registry| holds(&registry.when));
        let mut images: Vec<NeededImage> = Vec::new();
        for (row, from) in rows.flat_map(|row| row.names.iter().map(move |name| (row, name))) {
            let former = former.filter(|_| row.by_kubeadm);
            let below = former.and_then(|former| Some((former, from.strip_prefix(&former.registry)?)));
            let name = below.map_or_else(|| from.clone(), |(former, rest)| format!("{}{rest}", former.name));
            if images.iter().all(|image| image.name != name) {
                images.push(NeededImage { name, from: from.clone() });
            }
        }
        images
    }

    /// The first rule that refuses these versions.
    fn refusal(&self, facts: &Variables) -> Option<usize> {
        self.file.rule.iter().position(|rule| {
            let holds = |when: &When| holds(when, facts);
            holds(&rule.when) == Some(true)
                && (rule.needs.as_ref().and_then(holds) == Some(false)
                    || rule.excludes.as_ref().and_then(holds) == Some(true))
        })
    }

    /// The rules that prefer something for `part`.
    fn preferences<'a>(&'a self, part: &'a str, facts: &'a Variables) -> impl Iterator<Item = usize> + 'a {
        let rules = self.file.rule.iter().enumerate();
        let about =
            move |rule: &Rule| rule.prefers.as_ref().is_some_and(|prefers| prefers.contains_key(part));
        let applies = move |rule: &Rule| about(rule) && holds(&rule.when, facts) == Some(true);
        rules.filter(move |(_, rule)| applies(rule)).map(|(index, _)| index)
    }

    /// The releases of `part` that work with `facts`, oldest first.
    fn working<'a>(
        &'a self,
        part: &'a str,
        facts: &'a Variables,
    ) -> impl DoubleEndedIterator<Item = &'a str> {
        let works = move |version: &&str| self.refusal(&with(facts, part, version)).is_none();
        self.releases(part).iter().map(String::as_str).filter(works)
    }

    /// The version of `part` that fits what is `written`, works with `facts`, and is preferred; else the
    /// newest that works. The error is the message.
    fn choose(
        &self,
        part: &str,
        written: Option<&str>,
        facts: &Variables,
        kept: Option<&str>,
    ) -> Result<Choice, String> {
        let fits = |version: &str| written.is_none_or(|written| fits(written, version));
        let kept = kept.filter(|version| fits(version));
        let kept = kept.filter(|version| self.refusal(&with(facts, part, version)).is_none());
        if let Some(version) = kept {
            return Ok(Choice::new(part, version, KEPT, None));
        }
        let working: Vec<&str> = self.working(part, facts).filter(|version| fits(version)).collect();
        let prefers = written != Some(LATEST);
        let preferences: Vec<usize> = self.preferences(part, facts).filter(|_| prefers).collect();
        let preferred = |version: &&&str| {
            let facts = with(facts, part, version);
            let prefers = |rule: usize| self.file.rule[rule].prefers.as_ref();
            preferences
                .iter()
                .all(|rule| prefers(*rule).and_then(|prefers| holds(prefers, &facts)) == Some(true))
        };
        if let (Some(rule), Some(version)) = (preferences.first(), working.iter().rev().find(preferred)) {
            return Ok(self.choice_by(*rule, part, version, ""));
        }
        let fitting = || self.releases(part).iter().rev().filter(|version| fits(version));
        let refused = fitting().find_map(|version| self.refusal(&with(facts, part, version)));
        match (working.last(), refused) {
            (Some(version), Some(rule)) if fitting().next().map(String::as_str) != Some(*version) => {
                Ok(self.choice_by(rule, part, version, "the newest that works: "))
            }
            (Some(version), _) => {
                let row = self.row(&at!["newest", part]);
                Ok(Choice::new(part, version, "the newest release", Some(row)))
            }
            (None, rule) => {
                let why = rule.map(|rule| format!(": {} ({})", self.why(rule), self.row_of(rule)));
                let kubernetes = facts.get(KUBERNETES).map_or("", String::as_str);
                let why = why.unwrap_or_default();
                Err(format!("{FILE} has no {part} that works with Kubernetes {kubernetes}{why}"))
            }
        }
    }

    fn choice_by(&self, rule: usize, part: &str, version: &str, because: &str) -> Choice {
        let why = format!("{because}{}", self.why(rule));
        let source = Some(self.file.rule[rule].source.clone());
        Choice { source, ..Choice::new(part, version, why, Some(self.row_of(rule))) }
    }

    fn why(&self, rule: usize) -> &str {
        self.file.rule[rule].why.as_deref().unwrap_or_default()
    }

    /// The warnings of its rules, and of lines near their end.
    fn warnings(&self, facts: &Variables) -> Vec<String> {
        let mut warnings = Vec::new();
        for (index, list) in self.file.end_of_life.iter().enumerate() {
            let Some(version) = facts.get(&list.part) else { continue };
            let lines = list.lines.iter().filter(|(line, _)| fits(line, version));
            warnings.extend(lines.map(|(line, date)| {
                let row = self.row(&at!["end-of-life", index, "lines", line.as_str()]);
                format!("{} {version}: upstream's support of {line} ends on {date} ({row})", list.part)
            }));
        }
        let rules = self.file.rule.iter().enumerate();
        warnings.extend(rules.filter_map(|(index, rule)| {
            let warn = rule.warn.as_ref().filter(|_| holds(&rule.when, facts) == Some(true))?;
            Some(format!("{}: {warn} ({})", named(&rule.when, facts), self.row_of(index)))
        }));
        warnings
    }
}

/// A container image that Kubernetes needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NeededImage {
    /// By which it is looked for; with variables.
    pub name: String,
    /// Its name in the registry that has it; with variables.
    pub from: String,
}

const KEPT: &str = "the lock has it; kiln lock --upgrade chooses anew";

/// What the table makes of a definition.
#[derive(Debug, Default)]
pub(super) struct Completion {
    pub choices: Vec<Choice>,
    pub warnings: Vec<String>,
}

/// Gives the versions that `variables` lack, checks that all work together, and adds them. `open` has the
/// versions that are written in part ("2.3"), `kept` those of an earlier lock.
pub(super) fn complete(
    table: &Table,
    composed: &Composition,
    used: &Used<'_>,
    open: &Variables,
    kept: &Variables,
    variables: &mut Variables,
) -> Result<Completion> {
    // What a lock has for another minor version was chosen for that.
    let minor = |variables: &Variables| {
        variables.get(KUBERNETES).and_then(|version| line(version).map(str::to_owned))
    };
    let same_minor = minor(kept) == minor(variables);
    let mut choices = Vec::new();
    // Conditions first: they decide which steps apply, and so what else is used.
    for conditions_alone in [true, false] {
        let names = match conditions_alone {
            true => used.in_conditions(variables),
            false => used.by(variables),
        };
        for part in table.parts().filter(|part| names.contains(*part)) {
            if variables.contains_key(part) {
                continue;
            }
            let written = open.get(part).map(String::as_str);
            let kept = kept.get(part).filter(|_| same_minor).map(String::as_str);
            let facts = facts(variables, &names);
            check(table, composed, &facts)?;
            let choice = table.choose(part, written, &facts, kept).map_err(|message| {
                composed
                    .error(&at!["versions", part], &message)
                    .help(format!("set versions.{part}, or change what it must work with"))
            })?;
            variables.insert(part.to_owned(), choice.version.clone());
            choices.push(choice);
        }
    }
    let facts = facts(variables, &used.by(variables));
    check(table, composed, &facts)?;
    Ok(Completion { choices, warnings: table.warnings(&facts) })
}

fn check(table: &Table, composed: &Composition, facts: &Variables) -> Result<()> {
    match table.refusal(facts) {
        Some(rule) => Err(refused(table, rule, composed, facts)),
        None => Ok(()),
    }
}

/// The versions of what the image has: a version that nothing uses is not in it.
fn facts(variables: &Variables, used: &BTreeSet<String>) -> Variables {
    let counts = |name: &String| used.contains(name) || FIXED.contains(&name.as_str());
    variables
        .iter()
        .filter(|(name, _)| counts(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

fn with(facts: &Variables, part: &str, version: &str) -> Variables {
    let mut facts = facts.clone();
    facts.insert(part.to_owned(), version.to_owned());
    facts
}

/// The error about versions that cannot work together, with the nearest that can.
fn refused(table: &Table, rule: usize, composed: &Composition, facts: &Variables) -> Error {
    let file = &table.file.rule[rule];
    let empty = When::new();
    let refused = file.needs.as_ref().or(file.excludes.as_ref()).unwrap_or(&empty);
    let (one, other) = (named(&file.when, facts), named(refused, facts));
    let message = format!("{one} cannot work with {other}: {} ({})", table.why(rule), table.row_of(rule));
    let parts: Vec<&String> = refused.keys().chain(file.when.keys()).collect();
    let place = |part: &str| match part {
        "suite" => at!["base", "suite"].to_vec(),
        part if FIXED.contains(&part) => at![part].to_vec(),
        part => at!["versions", part].to_vec(),
    };
    let written = parts.iter().map(|part| place(part)).find(|path| composed.has(path));
    let nearest = parts.iter().find_map(|part| {
        let version = nearest(facts.get(*part)?, table.working(part, facts))?;
        Some(format!("{part} {version} works"))
    });
    let help = nearest.unwrap_or_else(|| "choose other versions".to_owned());
    match written {
        Some(path) => composed.error(&path, &message),
        None => Error::new(ErrorKind::Definition, message),
    }
    .help(help)
}

/// The highest of `working` below `version`, else the lowest.
fn nearest<'a>(version: &str, working: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let working: Vec<&str> = working.collect();
    let below = working.iter().rev().find(|other| number(other) <= number(version));
    below.or(working.first()).copied()
}

/// "kubernetes 1.20.2 and containerd 2.1.9"
fn named(when: &When, facts: &Variables) -> String {
    let names = when.keys().filter_map(|name| Some(format!("{name} {}", facts.get(name)?)));
    names.collect::<Vec<_>>().join(" and ")
}

/// Whether all of `when` holds; `None` if the image lacks a part of it, or its value cannot be compared.
fn holds(when: &When, facts: &Variables) -> Option<bool> {
    let mut all = true;
    for (name, requirement) in when {
        let requirement = interpolate(requirement, facts).ok()?;
        let value = facts.get(name)?;
        let compared = requirement.starts_with(condition::COMPARISONS);
        let value = if compared { number(value)?.to_string() } else { value.clone() };
        all &= condition::satisfied(name, &value, &requirement).ok()?;
    }
    Some(all)
}

/// A version as it is compared: two numbers ("3.10") have a zero behind them, and what follows the third
/// ("20.10.5+dfsg1") does not count.
fn number(version: &str) -> Option<Version> {
    let digits = version.split(|character: char| !character.is_ascii_digit() && character != '.').next()?;
    let mut numbers = digits.split('.').map(str::parse);
    let major = numbers.next()?.ok()?;
    let mut next = || numbers.next().and_then(Result::ok).unwrap_or(0);
    Some(Version::new(major, next(), next()))
}

/// "1.36" of "1.36.4".
fn line(version: &str) -> Option<&str> {
    let (dot, _) = version.match_indices('.').nth(1)?;
    Some(&version[..dot])
}

/// Whether a release is one of those that `written` leaves open.
fn fits(written: &str, release: &str) -> bool {
    written == LATEST || release.strip_prefix(written).is_some_and(|rest| rest.starts_with('.'))
}

#[cfg(test)]
#[path = "compatibility_tests.rs"]
mod tests;
