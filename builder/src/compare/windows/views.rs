//! Parts of the registry as people know them: services, rules of the firewall, variables.

use std::collections::BTreeMap;

use super::registry::values_of;
use super::secret::{self, Hidden, Shown};
use crate::definition::windows::ENVIRONMENT;
use crate::definition::windows::firewall::RULES;
use crate::definition::windows::names::folded;
use crate::error::Result;
use crate::format::hive::Value;
use crate::lock::diff::Change;
use crate::verify::Windows;

/// Something by the form in which its name is compared: its name, and its values.
pub(super) type Named = BTreeMap<String, (String, View)>;

/// What is shown, and what decides whether two are the same.
pub(super) struct View {
    shown: String,
    values: Vec<Value>,
}

/// How a service starts, by its number ("HKLM\SYSTEM\CurrentControlSet\Services Registry Tree", Microsoft).
const STARTS: [&str; 5] = ["at boot", "by the system", "automatic", "on demand", "disabled"];

/// The values of a service that are compared.
const OF_SERVICE: [&str; 3] = ["Start", "ObjectName", "ImagePath"];

/// "automatic, LocalSystem, C:\k\kubelet.exe"
pub(super) fn services(image: &Windows) -> Result<Named> {
    let path = format!("{}\\Services", image.control_set);
    let mut walk = image.system.walk();
    let Some(services) = walk.at(&path)? else { return Ok(Named::new()) };
    // A service's name says what it does; whether there is a secret, its command does.
    let hidden = Hidden::of(&format!("HKLM\\SYSTEM\\{path}"));
    let mut named = Named::new();
    for branch in walk.subkeys(&services)?.into_values() {
        let mut values = walk.values(&branch)?;
        values.retain(|_, (name, _)| OF_SERVICE.iter().any(|wanted| wanted.eq_ignore_ascii_case(name)));
        if values.is_empty() {
            continue;
        }
        let find = |wanted: &str| {
            let mut all = values.values();
            all.find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value)
        };
        let shown: Vec<String> = OF_SERVICE
            .iter()
            .filter_map(|name| find(name).map(|value| part(hidden, name, value)))
            .collect();
        let values = OF_SERVICE.iter().filter_map(|name| find(name).cloned()).collect();
        let view = View { shown: shown.join(", "), values };
        named.insert(folded(branch.name()), (secret::in_line(branch.name()), view));
    }
    Ok(named)
}

fn part(hidden: Hidden, name: &str, value: &Value) -> String {
    let start = value.number().and_then(|number| STARTS.get(number as usize));
    match start.filter(|_| name == OF_SERVICE[0]) {
        Some(start) => (*start).to_owned(),
        None => bare(&Shown::of(hidden, name, value).text).to_owned(),
    }
}

/// A text without the quotes of a list; its own stay, such as those around a service's program.
fn bare(text: &str) -> &str {
    text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text)
}

/// The parts of a rule, without the version of their grammar.
pub(super) fn firewall(image: &Windows) -> Result<Named> {
    values(image, RULES, |text| {
        let parts = bare(text).split('|').filter(|part| !part.is_empty() && !part.starts_with("v2."));
        parts.collect::<Vec<_>>().join(" ")
    })
}

/// The variables of the machine.
pub(super) fn environment(image: &Windows) -> Result<Named> {
    values(image, ENVIRONMENT, |text| bare(text).to_owned())
}

/// The values of a key of the control set.
fn values(image: &Windows, key: &str, shown: fn(&str) -> String) -> Result<Named> {
    let path = format!("{}\\{key}", image.control_set);
    let title = format!("HKLM\\SYSTEM\\{path}");
    let hidden = Hidden::of(&title);
    let all = values_of(&image.system, &path)?.into_iter();
    let view = |(name, value): (String, Value)| {
        let text = shown(&Shown::of(hidden, &name, &value).text);
        (folded(&name), (secret::name(&title, &name), View { shown: text, values: vec![value] }))
    };
    Ok(all.map(view).collect())
}

/// What came, went, or has other values.
pub(super) fn changed(mut old: Named, new: Named) -> Vec<Change> {
    let mut changes = Vec::new();
    for (key, (name, to)) in new {
        let from = old.remove(&key).map(|(_, view)| view);
        if from.as_ref().is_some_and(|from| from.values == to.values) {
            continue;
        }
        let from = from.map(|from| from.shown);
        let is_alike = from.as_ref() == Some(&to.shown);
        let to =
            if is_alike { format!("{} (other values, which are not shown)", to.shown) } else { to.shown };
        changes.push(Change::new(name, from, Some(to), None));
    }
    changes.extend(old.into_values().map(|(name, from)| Change::new(name, Some(from.shown), None, None)));
    changes.sort_by_key(|change| folded(&change.name));
    changes
}
