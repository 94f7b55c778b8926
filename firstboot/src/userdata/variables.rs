//! Variables of the shell and of `envsubst`, as far as their values are known without running anything.

use std::collections::{HashMap, HashSet};

use super::bounds::{Budget, Bytes, append, wrong};
use super::shell::Word;
use crate::error::Result;

/// Longer values are not followed: few commands could make more of them than there is memory.
const LONGEST_VALUE: usize = 16 << 10;

/// The prefixes of variables that may have a value and whose names may be shown: Afterburn's.
const SHOWN: &[&str] = &["COREOS_", "AFTERBURN_"];
/// Commands that give the host name.
const HOST_NAME: &[&str] =
    &["hostname", "/bin/hostname", "uname -n", "hostnamectl hostname", "cat /etc/hostname"];
/// Commands that give the host name up to its first dot.
const SHORT_HOST_NAME: &[&str] = &["hostname -s", "hostname --short", "/bin/hostname -s"];
/// The texts from which one variable may have its value that are kept; with more it may be anything.
const SOURCES: usize = 64;
/// Cluster API's templates for Azure ask the metadata service for the machine's name, and `jq` for this.
const AZURE_SERVICE: &str = "169.254.169.254/metadata/instance";
const AZURE_NAME: &str = ".compute.name";

/// The variables at one place of a script.
#[derive(Clone)]
pub struct Variables<'a> {
    /// What the commands set; `None` if the value is not known.
    set: HashMap<String, Option<String>>,
    /// The words from which variables got their values, whether they are known or not.
    sources: HashMap<String, Vec<Word>>,
    /// The variables that a child of the shell has too.
    exported: HashSet<String>,
    exports_all: bool,
    /// Those that are read-only.
    locked: HashSet<String>,
    lookup: &'a dyn Fn(&str) -> Option<String>,
    hostname: Option<String>,
    /// Whether a command set the host name to something that is not known.
    is_renamed: bool,
}

impl<'a> Variables<'a> {
    /// `lookup` has the variables of templates and of Afterburn. `hostname` is the one that the user data
    /// sets.
    pub fn new(lookup: &'a dyn Fn(&str) -> Option<String>, hostname: Option<String>) -> Self {
        Self {
            set: HashMap::new(),
            sources: HashMap::new(),
            exported: HashSet::new(),
            exports_all: false,
            locked: HashSet::new(),
            lookup,
            hostname,
            is_renamed: false,
        }
    }

    /// Whether a command sets it, to whatever value.
    pub fn is_set(&self, name: &str) -> bool {
        self.set.contains_key(name)
    }

    /// A command sets a variable.
    pub fn set(&mut self, name: &str, value: Option<String>) {
        let is_changed = !self.locked.contains(name);
        self.set
            .insert(name.to_owned(), value.filter(|value| is_changed && value.len() <= LONGEST_VALUE));
        if self.exports_all {
            self.exported.insert(name.to_owned());
        }
    }

    /// How many variables commands have set.
    pub fn count(&self) -> usize {
        self.set.len()
    }

    /// Notes a word that a variable may have its value from.
    pub fn note_source(&mut self, name: &str, source: &Word) {
        let sources = self.sources.entry(name.to_owned()).or_default();
        if sources.len() < SOURCES {
            sources.push(source.clone());
        }
    }

    /// The words that a variable may have its value from. `source` is the variable as it is written.
    pub fn sources(&self, source: &str) -> &[Word] {
        let name = source.trim_start_matches(['$', '{']);
        let end = name.find(|character: char| !is_of_name(character)).unwrap_or(name.len());
        self.sources.get(&name[..end]).map(Vec::as_slice).unwrap_or_default()
    }

    /// What a variable has is not known any more.
    pub fn forget(&mut self, name: &str) {
        if let Some(value) = self.set.get_mut(name) {
            *value = None;
        } else {
            self.set.insert(name.to_owned(), None);
        }
    }

    /// Forgets every variable whose name is a word of `text`.
    pub fn forget_names_in(&mut self, text: &str) {
        for name in text.split(|character| !is_of_name(character)) {
            if let Some(value) = self.set.get_mut(name) {
                *value = None;
            }
        }
    }

    /// Forgets all that commands have set.
    pub fn forget_all(&mut self) {
        self.set.values_mut().for_each(|value| *value = None);
    }

    /// A part of the shell ran as a process of its own: what it changed is not known, as more of that process
    /// may follow.
    pub fn forget_changes_since(&mut self, before: &Self) {
        for (name, value) in &mut self.set {
            if before.set.get(name) != Some(value) {
                *value = None;
            }
        }
        for name in before
            .set
            .keys()
            .filter(|name| !self.set.contains_key(*name))
            .cloned()
            .collect::<Vec<_>>()
        {
            self.set.insert(name, None);
        }
    }

    /// A variable of this name goes to the children of the shell.
    pub fn export(&mut self, name: &str) {
        self.exported.insert(name.to_owned());
    }

    /// A variable is read-only from now on: what sets it fails.
    pub fn lock(&mut self, name: &str) {
        self.locked.insert(name.to_owned());
    }

    /// Whether every variable goes to them from now on.
    pub fn export_all(&mut self, exports_all: bool) {
        self.exports_all = exports_all;
    }

    /// A child of the shell begins. It has what is exported, if the program that runs it passes that on.
    pub fn enter_child(&mut self, has_environment: bool) {
        for (name, value) in &mut self.set {
            if !has_environment || !self.exported.contains(name) {
                *value = None;
            }
        }
    }

    /// A child of the shell ends: the host's name alone is not its own.
    pub fn leave_child(&mut self, before: Self) {
        let child = std::mem::replace(self, before);
        self.hostname = child.hostname;
        self.is_renamed = child.is_renamed;
    }

    /// Removes variables that commands set, such as a function's arguments.
    pub fn remove(&mut self, names: &[&str]) {
        names.iter().for_each(|name| _ = self.set.remove(*name));
    }

    /// A command sets the host name; `None` if it is not known to what.
    pub fn rename_host(&mut self, name: Option<String>) {
        self.is_renamed = name.is_none();
        self.hostname = name;
    }

    /// Whether the shell divides values into words otherwise than at blanks.
    pub fn divides_otherwise(&self) -> bool {
        self.set.contains_key("IFS")
    }

    /// The value of `$NAME`, `${NAME}`, `${NAME%.*}`, `${NAME%%.*}`, or of a command for the host name.
    pub fn value(&self, source: &str) -> Option<String> {
        let command = source
            .strip_prefix("$(")
            .and_then(|rest| rest.strip_suffix(')'))
            .or_else(|| source.strip_prefix('`')?.strip_suffix('`'));
        if let Some(command) = command {
            return self.output(command.trim());
        }
        let name = source.strip_prefix('$')?;
        let name = name.strip_prefix('{').map_or(Some(name), |name| name.strip_suffix('}'))?;
        match name.find(['%', '#']).filter(|at| *at > 0) {
            Some(at) => {
                let (name, pattern) = name.split_at(at);
                shortened(&self.named(name)?, pattern)
            }
            None => self.named(name),
        }
    }

    /// The value of a variable.
    pub fn named(&self, name: &str) -> Option<String> {
        match self.set.get(name) {
            Some(value) => value.clone(),
            None if name == "HOSTNAME" => self.host_name(),
            None if is_upper(name) => (self.lookup)(name),
            None => None,
        }
    }

    fn output(&self, command: &str) -> Option<String> {
        if HOST_NAME.contains(&command) {
            return self.host_name();
        }
        if SHORT_HOST_NAME.contains(&command) {
            return self.host_name().map(|name| name.split('.').next().unwrap_or_default().to_owned());
        }
        let is_azure =
            command.starts_with("curl ") && command.contains(AZURE_SERVICE) && command.ends_with(AZURE_NAME);
        is_azure.then(|| (self.lookup)("ds.meta_data.imds.compute.name").or_else(|| self.host_name()))?
    }

    fn host_name(&self) -> Option<String> {
        if self.is_renamed {
            return None;
        }
        self.hostname.clone().or_else(|| (self.lookup)("v1.local_hostname"))
    }

    /// Does the same as `envsubst`: replaces `$NAME` and `${NAME}` by values. A name without a value is an
    /// error here. Text after another `$` may be part of a password and is not shown.
    pub fn fill_in(&self, bytes: &[u8], budget: &Budget) -> Result<Bytes> {
        self.replaced(bytes, budget, |_| true)
    }

    /// Fills in Afterburn's variables alone. No node config means their names: a script may fill them in to
    /// another file than the one that the join reads.
    pub fn fill_in_afterburns(&self, bytes: &[u8], budget: &Budget) -> Result<Bytes> {
        self.replaced(bytes, budget, |name| SHOWN.iter().any(|prefix| name.starts_with(prefix)))
    }

    fn replaced(&self, bytes: &[u8], budget: &Budget, is_meant: fn(&str) -> bool) -> Result<Bytes> {
        let mut filled = Bytes::default();
        let mut rest = bytes;
        while let Some(at) = rest.iter().position(|byte| *byte == b'$') {
            let (before, behind) = rest.split_at(at);
            append(&mut filled, before);
            let Some((name, behind)) = variable(behind).filter(|(name, _)| is_meant(name)) else {
                append(&mut filled, b"$");
                rest = behind.get(1..).unwrap_or_default();
                continue;
            };
            let value = self.plain(name)?;
            budget.take(value.len())?;
            append(&mut filled, value.as_bytes());
            rest = behind;
        }
        append(&mut filled, rest);
        Ok(filled)
    }

    fn plain(&self, name: &str) -> Result<String> {
        let shown = if SHOWN.iter().any(|prefix| name.starts_with(prefix)) {
            format!("the variable {name}")
        } else {
            "a variable".to_owned()
        };
        if self.set.get(name).is_some_and(Option::is_none) {
            return Err(wrong(format!(
                "a command sets {shown} of the node config to something that is not known without running it"
            ))
            .help("set it to plain text, or to itself with %.* behind it"));
        }
        if self.set.contains_key(name) && !self.exported.contains(name) {
            return Err(wrong(format!(
                "envsubst does not see {shown} of the node config: it is not exported"
            ))
            .help("export it"));
        }
        let is_plain = |value: &String| {
            value.chars().all(|character| !character.is_control() && !"\"'\\{}#".contains(character))
        };
        self.named(name).filter(is_plain).ok_or_else(|| {
            wrong(format!(
                "a command fills in {shown} of the node config, and it has no plain value on this machine"
            ))
            .help("firstboot explain shows the facts that are known here")
        })
    }
}

/// Whether a variable's name may have it.
fn is_of_name(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_'
}

/// What `%`, `%%`, `#` and `##` leave of a value, behind which a plain text stands, or one and `*`.
fn shortened(value: &str, pattern: &str) -> Option<String> {
    let is_plain = |text: &str| !text.contains(['*', '?', '[', '\\', '$', '`', '"', '\'', '}']);
    let sign = pattern.chars().next()?;
    let longest = pattern.strip_prefix(sign)?.strip_prefix(sign);
    let text = longest.or(pattern.strip_prefix(sign))?;
    let parts = match (sign, text.strip_suffix('*'), text.strip_prefix('*')) {
        ('%', Some(text), _) if is_plain(text) && !text.is_empty() => {
            if longest.is_some() {
                value.split_once(text)
            } else {
                value.rsplit_once(text)
            }
        }
        ('#', _, Some(text)) if is_plain(text) && !text.is_empty() => {
            if longest.is_some() {
                value.rsplit_once(text)
            } else {
                value.split_once(text)
            }
        }
        ('%', ..) if is_plain(text) => value.strip_suffix(text).map(|rest| (rest, "")),
        ('#', ..) if is_plain(text) => value.strip_prefix(text).map(|rest| ("", rest)),
        _ => return None,
    };
    let left = parts.map(|(before, behind)| if sign == '%' { before } else { behind });
    Some(left.unwrap_or(value).to_owned())
}

fn is_upper(name: &str) -> bool {
    name.bytes()
        .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
}

/// The name of the variable at the start of `text`, which begins with `$`, and the rest of the text.
fn variable(text: &[u8]) -> Option<(&str, &[u8])> {
    let text = text.strip_prefix(b"$")?;
    let (inner, end) = text.strip_prefix(b"{").map_or((text, &b""[..]), |inner| (inner, &b"}"[..]));
    let length = inner.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count();
    let (name, behind) = inner.split_at_checked(length)?;
    let name = std::str::from_utf8(name)
        .ok()
        .filter(|name| !name.is_empty() && !name.starts_with(|first: char| first.is_ascii_digit()))?;
    Some((name, behind.strip_prefix(end)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(name: &str) -> Option<String> {
        let known = [
            ("COREOS_EC2_HOSTNAME", "ip-10.a.b"),
            ("QUOTE", "a\"b"),
            ("v1.local_hostname", "n1"),
            ("ds.meta_data.imds.compute.name", "vm1"),
        ];
        known.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    }

    #[test]
    fn a_value_that_grows_without_end_is_not_followed() {
        let mut variables = Variables::new(&lookup, None);
        variables.set("A", Some("a".repeat(LONGEST_VALUE)));
        assert!(variables.value("$A").is_some());
        variables.set("A", Some("a".repeat(LONGEST_VALUE + 1)));
        assert_eq!(variables.value("$A"), None);
    }

    #[test]
    fn expansions_have_the_values_that_a_shell_would_give() {
        let mut variables = Variables::new(&lookup, None);
        variables.set("A", Some("x".to_owned()));
        variables.set("B", None);
        for (source, expected) in [
            ("$A", Some("x")),
            ("${A}", Some("x")),
            ("$B", None),
            ("$UNKNOWN", None),
            ("${A:-y}", None),
            ("$HOSTNAME", Some("n1")),
            ("$(hostname)", Some("n1")),
            ("`hostname -s`", Some("n1")),
            ("$(date)", None),
            ("${COREOS_EC2_HOSTNAME%.*}", Some("ip-10.a")),
            ("${COREOS_EC2_HOSTNAME%%.*}", Some("ip-10")),
            ("${A%.*}", Some("x")),
            (
                "$(curl -s -H Metadata:true 'http://169.254.169.254/metadata/instance?x' | jq -r .compute.name)",
                Some("vm1"),
            ),
            ("$(curl https://canary/x | jq -r .compute.name)", None),
        ] {
            assert_eq!(variables.value(source).as_deref(), expected, "{source}");
        }
        assert_eq!(Variables::new(&lookup, Some("h".to_owned())).value("$(hostname)").as_deref(), Some("h"));
    }

    #[test]
    fn variables_are_filled_in_as_envsubst_does() {
        let mut variables = Variables::new(&lookup, None);
        variables.set("COREOS_B", None);
        variables.set("C", Some("c".to_owned()));
        variables.export("C");
        variables.set("D", Some("d".to_owned()));
        for (text, expected) in [
            ("${COREOS_EC2_HOSTNAME} $C.x $ $1 ${} $$1 é", Ok("ip-10.a.b c.x $ $1 ${} $$1 é")),
            ("${a}", Err("fills in a variable of")),
            ("${D}", Err("a variable of the node config: it is not exported")),
            ("${COREOS_UNKNOWN}", Err("fills in the variable COREOS_UNKNOWN of")),
            ("${COREOS_B}", Err("sets the variable COREOS_B of")),
            ("p4$CANARY", Err("fills in a variable of")),
            ("$QUOTE", Err("fills in a variable of")),
        ] {
            let filled = variables.fill_in(text.as_bytes(), &Budget::default());
            match expected {
                Ok(expected) => assert_eq!(filled.unwrap().as_slice(), expected.as_bytes()),
                Err(expected) => assert!(filled.unwrap_err().message.contains(expected), "{text}"),
            }
        }
    }
}
