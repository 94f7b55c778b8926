//! `#cloud-config-archive`: the parts of a message as a list in YAML.

use serde_json::Value;

use super::bounds::{Budget, text, wrong};
use super::kind::{Kind, kind};
use super::mime::Part;
use super::tree::{Fields, Tree};
use crate::error::Result;

/// The type of an entry that neither has a type nor a header.
const USUAL: &str = "text/cloud-config";

/// The parts, in order: texts, or maps with `content` and `type`.
pub fn parts(bytes: &[u8], budget: &Budget) -> Result<Vec<Part>> {
    let tree = Tree::of_cloud_init(text(bytes)?)?;
    let items = tree.items()?;
    items.iter().enumerate().map(|(index, item)| part(index, item, budget)).collect()
}

fn part(index: usize, item: &Value, budget: &Budget) -> Result<Part> {
    let place = format!("[{index}]");
    let (content, media_type, merge_type) = match item {
        Value::String(content) => (content.as_str(), None, None),
        Value::Object(map) => {
            let fields = Fields::of(map, &place);
            let merge_type = ["Merge-Type", "X-Merge-Type", "merge-type"]
                .iter()
                .find_map(|name| fields.value(name)?.as_str());
            (fields.text("content")?.unwrap_or_default(), fields.text("type")?, merge_type)
        }
        _ => return Err(wrong(format!("{place} is neither a text nor a map of fields"))),
    };
    budget.take(content.len())?;
    let is_known = kind(content.as_bytes()) != Kind::Unknown;
    let media_type = media_type.unwrap_or(if is_known { "text/plain" } else { USUAL });
    Ok(Part::new(media_type, content.as_bytes(), merge_type))
}
