//! `when = { containerd = ">=2" }`: steps of a layer that apply only to some versions, architectures or
//! systems.

use std::collections::BTreeMap;

use semver::{Version, VersionReq};

use super::interpolate::Variables;
use super::source::suggestion;

/// Variable names with the requirement on each; all must hold.
///
/// A requirement that begins with `<`, `>`, `=`, `~` or `^` compares versions ("`>=1.26, <1.35`"); any other
/// is one or more exact values separated by `|` ("`amd64|arm64`"), all of which are excluded after a `!`
/// ("`!jammy|focal`").
pub type When = BTreeMap<String, String>;

/// The values that `arch` can have. Another one would drop a step on every machine, without a word.
pub(super) const ARCHES: [&str; 2] = ["amd64", "arm64"];

/// How a requirement begins that compares versions.
pub(super) const COMPARISONS: [char; 5] = ['<', '>', '=', '~', '^'];

/// Whether every requirement of `when` holds. A variable may be missing where another one says no:
/// `{ runtime = "containerd", containerd = ">=2" }` in an image without containerd.
///
/// # Errors
/// The variable concerned, the message, and the help.
pub fn holds(when: &When, variables: &Variables) -> Result<bool, (String, String, String)> {
    let mut unknown = None;
    for (name, requirement) in when {
        let Some(value) = variables.get(name) else {
            unknown = unknown.or(Some(name));
            continue;
        };
        let satisfied = satisfied(name, value, requirement);
        if !satisfied.map_err(|(message, help)| (name.clone(), message, help))? {
            return Ok(false);
        }
    }
    match unknown {
        None => Ok(true),
        Some(name) => {
            let help = match name.as_str() {
                "windows" | "windows-build" => {
                    "say which Windows it is: release = \"2022\" in [base]".to_owned()
                }
                _ => suggestion(name, variables.keys().map(String::as_str)),
            };
            Err((name.clone(), format!("unknown variable \"{name}\" in a condition"), help))
        }
    }
}

/// Whether `value`, that of `name`, is as required. The error is the message and the help.
pub(super) fn satisfied(name: &str, value: &str, requirement: &str) -> Result<bool, (String, String)> {
    if requirement.starts_with(COMPARISONS) {
        return compare(name, value, requirement);
    }
    let excluded = requirement.strip_prefix('!');
    let mut named = excluded.unwrap_or(requirement).split('|').map(str::trim);
    if let Some(wrong) = named.clone().find(|word| name == "arch" && !ARCHES.contains(word)) {
        return Err((format!("unknown value \"{wrong}\" in a condition"), suggestion(wrong, ARCHES)));
    }
    Ok(named.any(|word| word == value) != excluded.is_some())
}

/// The error is the message and the help.
fn compare(name: &str, value: &str, requirement: &str) -> Result<bool, (String, String)> {
    let wanted = VersionReq::parse(requirement).map_err(|error| {
        let message = format!("\"{requirement}\" is not a version requirement: {error}");
        (message, "write a requirement such as \">=1.26, <1.35\"".to_owned())
    })?;
    let version = Version::parse(value).map_err(|_| {
        let message = format!("the value of {name}, \"{value}\", is not a version of the form 1.2.3");
        (message, format!("give {name} such a version, or compare it with words: {name} = \"a|b\""))
    })?;
    // A pre-release counts as the release it leads to: 2.4.0-rc.1 has 2.4's configuration.
    Ok(wanted.matches(&Version::new(version.major, version.minor, version.patch)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_words_and_mistakes() {
        let variables =
            Variables::from([("containerd".into(), "2.1.9".into()), ("arch".into(), "amd64".into())]);
        let check = |name: &str, requirement: &str| {
            holds(&When::from([(name.into(), requirement.into())]), &variables)
        };
        assert_eq!(check("containerd", ">=2"), Ok(true));
        assert_eq!(check("containerd", "<2"), Ok(false));
        assert_eq!(check("arch", "amd64|arm64"), Ok(true));
        assert!(check("arch", ">=2").unwrap_err().1.contains("not a version"));
        assert!(check("containerd", ">=x").is_err());
        assert!(check("contanerd", ">=2").unwrap_err().2.contains("containerd"));
        assert!(check("windows", "2022").unwrap_err().2.contains("release = \"2022\" in [base]"));
        let both = |runtime: &str| {
            let when = When::from([("crio".into(), ">=1".into()), ("arch".into(), runtime.into())]);
            holds(&when, &variables)
        };
        assert_eq!(both("arm64"), Ok(false), "nobody needs the version of what is not there");
        assert!(both("amd64").is_err());
        assert_eq!(check("arch", "arm64"), Ok(false));
        assert_eq!(check("arch", "!arm64|amd64"), Ok(false));
        assert_eq!(check("arch", "!arm64"), Ok(true));
        assert_eq!(check("arch", "!amd46").unwrap_err().2, "did you mean \"amd64\"?");
        assert_eq!(check("arch", "amd46").unwrap_err().2, "did you mean \"amd64\"?");
    }
}
