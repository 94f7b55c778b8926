//! One document of YAML or JSON → a tree of values, within bounds, with the keys that occur twice.

use std::cell::{Cell, RefCell};
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::plain::{Dialect, Plain};

/// The weight of all documents together. YAML aliases repeat values, so the size of the text is not a bound.
const BUDGET: usize = 4 << 20;
/// The weight of a value besides its text.
const VALUE: usize = 32;
/// Levels of lists and maps in each other.
const DEPTH: usize = 64;
/// Repeated keys that are reported.
const DUPLICATES: usize = 16;
/// The values that are read.
const EXPECTED: &str = "a plain value, a list or a map";
/// YAML's key for taking fields over from another map (<https://yaml.org/type/merge.html>).
const MERGE: &str = "<<";
/// Letters in front of a value that are searched for a tag.
const TAG: usize = 200;
/// The field of a map that stands for a number or a date that Python writes in another way than the document.
/// It holds the number; null for what JSON does not have.
const WRITTEN_OTHERWISE: &str = "a number or a date that is written otherwise";

/// The value itself, where `value` stands for one that Python writes in another way; null for a date.
pub(crate) fn written_otherwise(value: &Value) -> Option<&Value> {
    value.as_object()?.get(WRITTEN_OTHERWISE)
}

/// The rest of a file's budget, and the repeated keys found so far.
pub(crate) struct Reader<'t> {
    budget: Cell<usize>,
    duplicates: RefCell<Vec<String>>,
    /// The text of YAML that is read, and whose reading of it counts; none for JSON.
    plain: Option<(&'t str, Dialect)>,
}

/// Which reading of a document this is.
#[derive(Clone, Copy)]
enum Pass<'a> {
    /// The only one.
    Only,
    /// The first one of two: the library tells what each value is. A text is empty, and a map is the list of
    /// its values.
    First,
    /// The second one: how each value is written, with what the first one made of it.
    Second(&'a Value),
}

impl<'t> Reader<'t> {
    /// A reader of a new file of JSON.
    pub(crate) fn new() -> Self {
        Self { budget: Cell::new(BUDGET), duplicates: RefCell::default(), plain: None }
    }

    /// A reader of a new file of YAML.
    pub(crate) fn of(text: &'t str, dialect: Dialect) -> Self {
        Self { plain: Some((text, dialect)), ..Self::new() }
    }

    /// The next document's values.
    pub(crate) fn read<'de, D: Deserializer<'de>>(&self, deserializer: D) -> Result<Value, D::Error> {
        self.place(Pass::Only).deserialize(deserializer)
    }

    /// The next document's values. `again` reads the same document: the library tells what a value is, or how
    /// it is written, and never both.
    pub(super) fn read_twice<'de, D: Deserializer<'de>>(
        &self,
        first: D,
        again: D,
    ) -> Result<Value, D::Error> {
        let budget = self.budget.get();
        let known = self.place(Pass::First).deserialize(first)?;
        self.budget.set(budget);
        // An empty document has nothing to read again.
        if known.is_null() {
            return Ok(Value::Null);
        }
        self.place(Pass::Second(&known)).deserialize(again)
    }

    /// Where a document begins.
    fn place<'a>(&'a self, pass: Pass<'a>) -> Place<'a> {
        Place { reader: self, path: String::new(), depth: 0, pass }
    }

    /// What a value of YAML is that stands in the text as it is.
    fn read_plain<E: Error>(&self, word: &str, known: &Value) -> Result<Value, E> {
        let as_known = || match known {
            Value::String(_) => Value::String(word.to_owned()),
            value => value.clone(),
        };
        let Some((text, dialect)) = self.plain else { return Ok(as_known()) };
        let start = (word.as_ptr() as usize).checked_sub(text.as_ptr() as usize);
        let Some(before) = start.and_then(|start| text.get(..start)) else { return Ok(as_known()) };
        if known.is_null() || before.ends_with(['"', '\'']) || is_tagged(before) {
            return Ok(as_known());
        }
        match dialect.plain(word) {
            Plain::Text => Ok(Value::String(word.to_owned())),
            Plain::Value(value) => Ok(value),
            Plain::Otherwise(value) => {
                Ok(Value::Object(Map::from_iter([(WRITTEN_OTHERWISE.to_owned(), value)])))
            }
            Plain::Refused(why) => Err(E::custom(why)),
        }
    }

    /// The paths of keys that occurred twice since the last call.
    pub(crate) fn take_duplicates(&self) -> Vec<String> {
        self.duplicates.take()
    }

    fn weigh<E: Error>(&self, text: usize) -> Result<(), E> {
        let left = self
            .budget
            .get()
            .checked_sub(VALUE + text)
            .ok_or_else(|| E::custom("it holds too much, aliases counted"))?;
        self.budget.set(left);
        Ok(())
    }
}

/// Whether a tag such as `!!str` stands at the end of `before`, or before an anchor there.
fn is_tagged(before: &str) -> bool {
    let start = before.len().saturating_sub(TAG);
    let near = (start..before.len()).find_map(|start| before.get(start..)).unwrap_or_default();
    if !near.ends_with(char::is_whitespace) {
        return false;
    }
    let mut words = near.split_whitespace().rev();
    let last = words.next().filter(|word| !word.starts_with('&')).or_else(|| words.next());
    last.is_some_and(|word| word.starts_with('!'))
}

fn below<E: Error>(depth: usize) -> Result<usize, E> {
    if depth == DEPTH {
        return Err(E::custom("its lists and maps are nested too deeply"));
    }
    Ok(depth + 1)
}

/// Where in a document a value stands.
struct Place<'a> {
    reader: &'a Reader<'a>,
    path: String,
    depth: usize,
    pass: Pass<'a>,
}

impl Place<'_> {
    fn below<E: Error>(&self, path: String, position: usize) -> Result<Self, E> {
        let pass = match self.pass {
            Pass::Second(known) => known.get(position).map_or(Pass::Only, Pass::Second),
            pass => pass,
        };
        Ok(Place { reader: self.reader, path, depth: below(self.depth)?, pass })
    }

    fn is_first(&self) -> bool {
        matches!(self.pass, Pass::First)
    }

    /// A value that is no number of JSON: its text counts.
    fn otherwise<E: Error>(self, why: &str) -> Result<Value, E> {
        if self.is_first() { self.visit_str("") } else { Err(E::custom(why)) }
    }

    fn item(&self, position: usize) -> String {
        if self.is_first() { String::new() } else { format!("{}[{position}]", self.path) }
    }

    fn child(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// Notes fields of the map that a later `<<` has too: Kubernetes' reader then takes the value of `<<`,
    /// others that of the map.
    fn note_replaced(&self, own: &Map<String, Value>, source: &Value) {
        let sources = source.as_array().map_or(std::slice::from_ref(source), Vec::as_slice);
        for key in sources.iter().filter_map(Value::as_object).flat_map(Map::keys) {
            if own.contains_key(key) {
                self.note_duplicate(key);
            }
        }
    }

    fn note_duplicate(&self, key: &str) {
        let mut duplicates = self.reader.duplicates.borrow_mut();
        if duplicates.len() < DUPLICATES {
            duplicates.push(self.child(key));
        }
    }
}

impl<'de> DeserializeSeed<'de> for Place<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        match self.pass {
            Pass::Second(known) if !known.is_array() => deserializer.deserialize_str(self),
            _ => deserializer.deserialize_any(self),
        }
    }
}

impl<'de> Visitor<'de> for Place<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(EXPECTED)
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        self.reader.weigh(0).map(|()| Value::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Value, E> {
        self.visit_unit()
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        self.reader.weigh(0).map(|()| Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        self.reader.weigh(0).map(|()| Value::Number(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        self.reader.weigh(0).map(|()| Value::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        match Number::from_f64(value) {
            Some(number) => self.reader.weigh(0).map(|()| Value::Number(number)),
            None => self.otherwise("a number is not finite"),
        }
    }

    fn visit_i128<E: Error>(self, _: i128) -> Result<Value, E> {
        self.otherwise("a number is too large")
    }

    fn visit_u128<E: Error>(self, _: u128) -> Result<Value, E> {
        self.otherwise("a number is too large")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        // The first reading need not keep it.
        let text = if self.is_first() { "" } else { text };
        self.reader.weigh(text.len()).map(|()| Value::String(text.to_owned()))
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Value, E> {
        let Pass::Second(known) = self.pass else { return self.visit_str(text) };
        self.reader.weigh(text.len())?;
        self.reader.read_plain(text, known)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        self.reader.weigh(0)?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self.below(self.item(list.len()), list.len())?)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        self.reader.weigh(0)?;
        if self.is_first() {
            let mut values = Vec::new();
            while fields.next_key::<IgnoredAny>()?.is_some() {
                values.push(fields.next_value_seed(self.below(String::new(), values.len())?)?);
            }
            return Ok(Value::Array(values));
        }
        let mut map = Map::new();
        let mut merged = Vec::new();
        let mut position = 0;
        while let Some(key) = fields.next_key::<String>()? {
            self.reader.weigh(key.len())?;
            let value = fields.next_value_seed(self.below(self.child(&key), position)?)?;
            position += 1;
            if key == MERGE {
                self.note_replaced(&map, &value);
                merged.push(value);
            } else if map.insert(key.clone(), value).is_some() {
                self.note_duplicate(&key);
            }
        }
        // The last one counts, and behind all those the map's own fields.
        merged.into_iter().rev().try_for_each(|source| merge(&mut map, source))?;
        Ok(Value::Object(map))
    }
}

/// Adds the fields of the maps that `<<` names, unless `map` has them already. In a list, the first counts.
fn merge<E: Error>(map: &mut Map<String, Value>, source: Value) -> Result<(), E> {
    match source {
        Value::Object(source) => {
            for (key, value) in source {
                map.entry(key).or_insert(value);
            }
            Ok(())
        }
        Value::Array(list) if list.iter().all(Value::is_object) => {
            list.into_iter().try_for_each(|source| merge(map, source))
        }
        _ => Err(E::custom("<< names something else than maps")),
    }
}
