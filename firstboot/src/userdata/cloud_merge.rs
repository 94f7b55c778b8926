//! Merges the cloud-configs of several parts into one, as cloud-init does
//! (<https://cloudinit.readthedocs.io/en/latest/reference/merging.html>).

use serde_json::{Map, Value};

use super::bounds::wrong;
use crate::error::Result;

/// How two cloud-configs are merged. A type without a merger keeps its first value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mergers {
    maps: Option<Maps>,
    lists: Option<Lists>,
    texts: Option<Texts>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Maps {
    replaces: bool,
    deletes: bool,
    recursion: Recursion,
}

/// Which values within a map or list are merged, and not replaced or kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Recursion {
    texts: bool,
    lists: bool,
    maps: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lists {
    Append,
    Prepend,
    /// Replaces the items that both have.
    Replace(Recursion),
    Keep,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Texts {
    Append,
    Replace,
}

/// The fields of a cloud-config that say how it is merged.
const HOW: &[&str] = &["merge_how", "merge_type"];

impl Mergers {
    /// cloud-init's default: a later part replaces whole fields.
    fn usual() -> Self {
        let recursion = Recursion { texts: false, lists: false, maps: true };
        let whole = Recursion { maps: false, ..recursion };
        Self {
            maps: Some(Maps { replaces: true, deletes: false, recursion }),
            lists: Some(Lists::Replace(whole)),
            texts: Some(Texts::Replace),
        }
    }

    /// Takes the way of merging out of `part`; else the one in the part's header, else the usual one.
    pub fn of(part: &mut Map<String, Value>, header: Option<&str>) -> Result<Self> {
        let mut mergers = Self::default();
        let given = HOW.iter().find_map(|name| part.remove(*name).filter(|value| !value.is_null()));
        match given {
            None => {}
            Some(Value::String(text)) => mergers.add_text(&text)?,
            Some(Value::Array(list)) => list.iter().try_for_each(|item| mergers.add_item(item))?,
            Some(_) => return Err(unknown()),
        }
        mergers.add_text(header.unwrap_or_default())?;
        Ok(if mergers == Self::default() { Self::usual() } else { mergers })
    }

    /// `list(append)+dict(no_replace,recurse_list)+str()`
    fn add_text(&mut self, text: &str) -> Result<()> {
        for part in text.split('+').map(str::trim).filter(|part| !part.is_empty()) {
            let (name, options) = part
                .split_once('(')
                .and_then(|(name, rest)| Some((name, rest.strip_suffix(')')?)))
                .ok_or_else(unknown)?;
            let options: Vec<String> =
                options.split(',').map(|option| option.trim().to_lowercase()).collect();
            self.add(name, &options)?;
        }
        Ok(())
    }

    /// `{name: list, settings: [append]}`, or `[list, append]`.
    fn add_item(&mut self, item: &Value) -> Result<()> {
        let texts = |items: &[Value]| -> Vec<String> {
            items.iter().filter_map(Value::as_str).map(str::to_owned).collect()
        };
        match item {
            Value::Object(fields) => {
                let name = fields.get("name").and_then(Value::as_str).ok_or_else(unknown)?;
                let settings = fields.get("settings").and_then(Value::as_array).ok_or_else(unknown)?;
                self.add(name, &texts(settings))
            }
            Value::Array(words) => {
                let words = texts(words);
                let (name, options) = words.split_first().ok_or_else(unknown)?;
                self.add(name, options)
            }
            _ => Err(unknown()),
        }
    }

    /// The first merger of a type counts.
    fn add(&mut self, name: &str, options: &[String]) -> Result<()> {
        let has = |names: &[&str]| options.iter().any(|option| names.contains(&option.as_str()));
        let recursion = Recursion {
            texts: has(&["recurse_str"]),
            lists: has(&["recurse_array", "recurse_list"]),
            maps: has(&["recurse_dict"]),
        };
        match name.trim().to_lowercase().trim_start_matches("m_") {
            "dict" => {
                let recursion = Recursion { maps: true, ..recursion };
                let maps = Maps { replaces: has(&["replace"]), deletes: has(&["allow_delete"]), recursion };
                self.maps.get_or_insert(maps);
            }
            "list" => {
                let lists = match () {
                    () if has(&["append"]) => Lists::Append,
                    () if has(&["prepend"]) => Lists::Prepend,
                    () if has(&["replace"]) => Lists::Replace(recursion),
                    () if has(&["no_replace"]) => Lists::Keep,
                    () => Lists::Replace(recursion),
                };
                self.lists.get_or_insert(lists);
            }
            "str" => {
                self.texts.get_or_insert(if has(&["append"]) { Texts::Append } else { Texts::Replace });
            }
            _ => return Err(unknown()),
        }
        Ok(())
    }

    /// Merges `part` into `merged`.
    pub fn merge(&self, merged: Map<String, Value>, part: Map<String, Value>) -> Map<String, Value> {
        match self.maps {
            Some(maps) => self.merge_maps(maps, merged, part),
            None => merged,
        }
    }

    fn merge_value(&self, before: Value, after: Value) -> Value {
        match (before, after) {
            (Value::Object(before), Value::Object(after)) => Value::Object(self.merge(before, after)),
            (Value::Array(before), after) => match self.lists {
                Some(lists) => self.merge_lists(lists, before, after),
                None => Value::Array(before),
            },
            (Value::String(before), after) => match (self.texts, after) {
                (Some(Texts::Append), Value::String(after)) => Value::String(before + &after),
                (Some(_), after) => after,
                (None, _) => Value::String(before),
            },
            (before, _) => before,
        }
    }

    fn merge_maps(
        &self,
        how: Maps,
        mut merged: Map<String, Value>,
        part: Map<String, Value>,
    ) -> Map<String, Value> {
        for (key, after) in part {
            if after.is_null() && how.deletes && merged.contains_key(&key) {
                merged.remove(&key);
                continue;
            }
            let value = match merged.remove(&key) {
                Some(before) if how.replaces => {
                    drop(before);
                    after
                }
                Some(before) if how.recursion.covers(&after) => self.merge_value(before, after),
                Some(before) => before,
                None => after,
            };
            merged.insert(key, value);
        }
        merged
    }

    fn merge_lists(&self, how: Lists, before: Vec<Value>, after: Value) -> Value {
        let after = match after {
            Value::Array(after) => after,
            other if matches!(how, Lists::Replace(_)) => return other,
            _ => return Value::Array(before),
        };
        Value::Array(match how {
            Lists::Append => before.into_iter().chain(after).collect(),
            Lists::Prepend => after.into_iter().chain(before).collect(),
            Lists::Keep => before,
            Lists::Replace(recursion) => {
                let mut after = after.into_iter();
                before
                    .into_iter()
                    .map(|before| match after.next() {
                        Some(after) if recursion.covers(&after) => self.merge_value(before, after),
                        Some(after) => after,
                        None => before,
                    })
                    .collect()
            }
        })
    }
}

impl Recursion {
    fn covers(self, value: &Value) -> bool {
        match value {
            Value::String(_) => self.texts,
            Value::Array(_) => self.lists,
            Value::Object(_) => self.maps,
            _ => false,
        }
    }
}

fn unknown() -> crate::error::Failure {
    wrong("its way of merging is not one that cloud-init has")
        .help("it is written as merge_how: 'list(append)+dict(no_replace,recurse_list)+str()'")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn parts_are_merged_as_their_header_or_field_says() {
        let first = json!({"l": [1, 2], "m": {"a": 1, "b": [1]}, "t": "x", "n": 1});
        let second = json!({"l": [3], "m": {"a": 2, "b": [2], "c": 3}, "t": "y", "z": null, "n": null});
        for (how, expected) in [
            ("", json!({"l": [3], "m": {"a": 2, "b": [2], "c": 3}, "t": "y", "z": null, "n": null})),
            (
                "list(append)+dict(recurse_array)+str()",
                json!({"l": [1, 2, 3], "m": {"a": 1, "b": [1, 2], "c": 3}, "t": "x", "n": 1, "z": null}),
            ),
            (
                "list(prepend)+dict(recurse_list,recurse_str)+str(append)",
                json!({"l": [3, 1, 2], "m": {"a": 1, "b": [2, 1], "c": 3}, "t": "xy", "n": 1, "z": null}),
            ),
            (
                "dict(allow_delete)",
                json!({"l": [1, 2], "m": {"a": 1, "b": [1], "c": 3}, "t": "x", "z": null}),
            ),
            ("list(append)", first.clone()),
            ("m_list(replace) + M-DICT(recurse_array)", json!(null)),
        ] {
            let (Value::Object(first), Value::Object(mut second)) = (first.clone(), second.clone()) else {
                panic!()
            };
            match Mergers::of(&mut second, Some(how)) {
                Ok(mergers) => assert_eq!(Value::Object(mergers.merge(first, second)), expected, "{how}"),
                Err(failure) => assert!(expected.is_null() && failure.help.is_some(), "{how}"),
            }
        }
    }

    #[test]
    fn the_field_may_be_a_text_or_a_list() {
        let usual = Mergers::usual();
        let of = |field: Value| {
            let Value::Object(mut part) = field else { panic!() };
            let mergers = Mergers::of(&mut part, None);
            assert!(part.is_empty());
            mergers
        };
        assert_eq!(of(json!({})).unwrap(), usual);
        let text = of(json!({"merge_how": "list(append)+dict(no_replace)"})).unwrap();
        assert_eq!(of(json!({"merge_type": [["list", "append"], ["dict", "no_replace"]]})).unwrap(), text);
        let named = json!({"merge_how": [{"name": "list", "settings": ["append"]}, {"name": "dict", "settings": []}]});
        assert_eq!(of(named).unwrap(), text);
        for wrong in
            [json!("canary()"), json!("list"), json!([1]), json!({"a": 1}), json!([{"name": "list"}])]
        {
            let failure = of(json!({ "merge_how": wrong })).unwrap_err();
            assert!(!failure.message.contains("canary"), "{failure}");
        }
    }
}
