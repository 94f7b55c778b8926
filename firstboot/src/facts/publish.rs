//! The facts as JSON, for people (`firstboot explain`) and for other programs, which then need no metadata
//! service. Every user may read them. So tags are there by their names alone, because their values may be
//! secrets, and URLs by their servers.

use std::borrow::Cow;
use std::fmt::Display;
use std::time::SystemTime;

use serde_json::{Map, Value, json};

use super::{Candidate, Fact, Facts};
use crate::error::Result;
use crate::host::files;
use crate::host::root::Root;
use crate::net::url;
use crate::output::clean_json;
use crate::paths;

/// The path of the published facts.
pub const PATH: &str = paths::FACTS;

/// Writes the facts to [`PATH`].
pub fn publish(root: &Root, facts: &Facts) -> Result<()> {
    files::write(&root.entry(PATH), format!("{:#}\n", facts.json()).as_bytes(), files::PUBLIC)
}

impl Facts {
    /// All known fields: `{"zone": {"value": …, "source": …, "time": …, "others": [{"value": …, "source": …,
    /// "time": …}]}}`.
    pub fn json(&self) -> Value {
        let mut record = Map::new();
        let mut text =
            |name: &str, fact: &Fact<String>| put(&mut record, name, fact, |value| json!(open(value)));
        text("platform", &self.platform);
        text("instance-id", &self.instance_id);
        text("hostname", &self.hostname);
        text("region", &self.region);
        text("zone", &self.zone);
        text("instance-type", &self.instance_type);
        text("provider-id", &self.provider_id);
        text("lifecycle", &self.lifecycle);
        self.extra.iter().for_each(|(name, fact)| text(name, fact));
        put(&mut record, "spot", &self.spot, |value| json!(value));
        put(&mut record, "tags", &self.tags, |tags| tags.iter().map(tag).collect());
        put(&mut record, "addresses", &self.addresses, |value| value.iter().map(shown).collect());
        clean_json(Value::Object(record))
    }
}

/// A fact without the parts that may be secret: a URL's path often authorizes a report.
fn open(fact: &str) -> Cow<'_, str> {
    let is_url = ["http://", "https://"].iter().any(|scheme| starts_with(fact, scheme));
    if is_url { Cow::Owned(url::shown(fact)) } else { Cow::Borrowed(fact) }
}

fn starts_with(text: &str, begin: &str) -> bool {
    text.get(..begin.len()).is_some_and(|front| front.eq_ignore_ascii_case(begin))
}

/// The name of a tag. Where the platform has only names, users write `name=value` into them.
fn tag((name, value): (&String, &String)) -> Value {
    let is_alone = value.is_empty();
    json!(name.split(|letter| letter == '=' || is_alone && letter == ':').next())
}

fn shown(value: &impl Display) -> Value {
    json!(value.to_string())
}

fn put<T>(record: &mut Map<String, Value>, name: &str, fact: &Fact<T>, value: impl Fn(&T) -> Value) {
    let entry = |said: &Candidate<T>| json!({ "value": value(&said.value), "source": said.source, "time": time(said.time) });
    let Some(first) = fact.chosen() else { return };
    let mut object = entry(first);
    if !fact.others().is_empty()
        && let Value::Object(fields) = &mut object
    {
        fields.insert("others".to_owned(), fact.others().iter().map(entry).collect());
    }
    record.insert(name.to_owned(), object);
}

/// Seconds since 1970 with milliseconds.
fn time(time: SystemTime) -> Value {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    json!(since.as_millis() as f64 / 1000.0)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::facts::{Address, Scope};

    #[test]
    fn the_record_says_who_said_what() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::at(folder.path());
        let mut facts = Facts::default();
        facts.zone.add("a".to_owned(), "one");
        facts.zone.add("b".to_owned(), "two");
        facts
            .fact("phone-home-url")
            .add("HTTPS://u:canary@h:1/canary?canary".to_lowercase(), "one");
        let tags = [("pool", "canary"), ("env:canary", ""), ("password=canary", "")];
        let tags = tags.map(|(name, value)| (name.to_owned(), value.to_owned()));
        facts.tags.add(BTreeMap::from(tags), "one");
        facts
            .addresses
            .add(vec![Address { scope: Scope::Private, ip: "10.0.0.1".parse().unwrap() }], "one");
        publish(&root, &facts).unwrap();
        let record: Value = serde_json::from_slice(&std::fs::read(root.path(PATH)).unwrap()).unwrap();
        assert_eq!((&record["zone"]["value"], &record["zone"]["source"]), (&json!("a"), &json!("one")));
        assert_eq!(record["zone"]["others"][0]["value"], "b");
        assert_eq!(record["tags"]["value"], json!(["env", "password", "pool"]));
        assert_eq!(record["phone-home-url"]["value"], "https://h:1");
        assert!(!record.to_string().contains("canary"), "{record}");
        assert_eq!(record["addresses"]["value"], json!(["10.0.0.1 (private)"]));
        assert!(record["zone"]["time"].as_f64().unwrap() > 1.0 && record.get("region").is_none());
    }
}
