//! One document of YAML or JSON → a tree of values, within bounds, with the keys that occur twice.

use std::cell::{Cell, RefCell};
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::text::yaml::boolean;

/// The weight of all documents together. YAML aliases repeat values, so the size of the text is not a bound.
const BUDGET: usize = 4 << 20;
/// The weight of a value besides its text.
const VALUE: usize = 32;
/// Levels of lists and maps in each other.
const DEPTH: usize = 64;
/// Repeated keys that are reported.
const DUPLICATES: usize = 16;
/// YAML's key for taking fields over from another map (<https://yaml.org/type/merge.html>).
const MERGE: &str = "<<";

/// The rest of a file's budget, and the repeated keys found so far.
pub struct Reader<'t> {
    budget: Cell<usize>,
    duplicates: RefCell<Vec<String>>,
    /// The text of YAML that is read.
    text: &'t str,
}

impl<'t> Reader<'t> {
    /// A reader of a new file.
    pub fn new() -> Self {
        Self::of("")
    }

    /// A reader of YAML. Its plain words are read as in YAML 1.1, which Kubernetes and cloud-init follow.
    pub fn of(text: &'t str) -> Self {
        Self { budget: Cell::new(BUDGET), duplicates: RefCell::default(), text }
    }

    /// Whether `word`, a piece of the text, has no quotes around it.
    fn is_plain(&self, word: &str) -> bool {
        let start = (word.as_ptr() as usize).checked_sub(self.text.as_ptr() as usize);
        let Some(start) = start.filter(|start| start + word.len() <= self.text.len()) else { return false };
        let before = start.checked_sub(1).and_then(|position| self.text.as_bytes().get(position));
        !matches!(before, Some(b'"' | b'\''))
    }

    /// The next document's values.
    pub fn read<'de, D: Deserializer<'de>>(&self, deserializer: D) -> Result<Value, D::Error> {
        Place { reader: self, path: String::new(), depth: 0 }.deserialize(deserializer)
    }

    /// The paths of keys that occurred twice since the last call.
    pub fn take_duplicates(&self) -> Vec<String> {
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

/// Where in a document a value stands.
struct Place<'a> {
    reader: &'a Reader<'a>,
    path: String,
    depth: usize,
}

impl Place<'_> {
    fn below<E: Error>(&self, path: String) -> Result<Self, E> {
        if self.depth == DEPTH {
            return Err(E::custom("its lists and maps are nested too deeply"));
        }
        Ok(Place { reader: self.reader, path, depth: self.depth + 1 })
    }

    fn child(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
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
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Place<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a plain value, a list or a map")
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
        self.reader.weigh(0)?;
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom("a number is not finite"))
    }

    fn visit_i128<E: Error>(self, _: i128) -> Result<Value, E> {
        Err(E::custom("a number is too large"))
    }

    fn visit_u128<E: Error>(self, _: u128) -> Result<Value, E> {
        Err(E::custom("a number is too large"))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        self.reader.weigh(text.len()).map(|()| Value::String(text.to_owned()))
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Value, E> {
        match of_yaml_11(text).filter(|_| self.reader.is_plain(text)) {
            Some(value) => self.reader.weigh(0).map(|()| value),
            None => self.visit_str(text),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        self.reader.weigh(0)?;
        let mut list = Vec::new();
        while let Some(item) =
            items.next_element_seed(self.below(format!("{}[{}]", self.path, list.len()))?)?
        {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        self.reader.weigh(0)?;
        let mut map = Map::new();
        let mut merged = None;
        while let Some(key) = fields.next_key::<String>()? {
            self.reader.weigh(key.len())?;
            let value = fields.next_value_seed(self.below(self.child(&key))?)?;
            if key == MERGE && !matches!(value, Value::String(_)) {
                merged = Some(value);
            } else if map.insert(key.clone(), value).is_some() {
                self.note_duplicate(&key);
            }
        }
        merge(&mut map, merged);
        Ok(Value::Object(map))
    }
}

/// The boolean or the whole number that a plain word is for kubeadm's reader and not in YAML 1.2: octal with
/// a zero in front, and with any underscores but a first one.
fn of_yaml_11(word: &str) -> Option<Value> {
    let number = || {
        let is_of_number = |byte: u8| byte.is_ascii_digit() || byte == b'_';
        if !word.starts_with(|first: char| first.is_ascii_digit()) || !word.bytes().all(is_of_number) {
            return None;
        }
        let digits = word.replace('_', "");
        let base = if digits.starts_with('0') { 8 } else { 10 };
        u64::from_str_radix(&digits, base).ok()
    };
    boolean(word).map(Value::Bool).or_else(|| number().map(Value::from))
}

/// Adds the fields of the maps that `<<` names, unless `map` has them already. In a list, the first counts.
fn merge(map: &mut Map<String, Value>, sources: Option<Value>) {
    match sources {
        Some(Value::Object(source)) => {
            for (key, value) in source {
                map.entry(key).or_insert(value);
            }
        }
        Some(Value::Array(list)) => {
            list.into_iter().filter(Value::is_object).for_each(|source| merge(map, Some(source)))
        }
        _ => (),
    }
}
