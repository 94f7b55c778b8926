//! The lists of bases and outputs, as definitions see them.

use std::path::Path;

use schemars::{Schema, SchemaGenerator};
use serde_json::{Value, json};

use crate::assembly::Part;
use crate::base;
use crate::definition::image_spec::ImageSpec;
use crate::definition::interpolate::Variables;
use crate::definition::layer_spec::LayerSpec;
use crate::definition::plan::Form;
use crate::definition::registry::Registry;
use crate::definition::{self, Definition};
use crate::error::Result;
use crate::output;

/// All bases and outputs of this release.
#[derive(Debug, Clone, Copy)]
pub struct Release;

impl Registry for Release {
    fn distributions(&self) -> Vec<&'static str> {
        base::ALL.iter().filter(|base| base.is_distribution()).map(|base| base.name()).collect()
    }

    fn suites(&self, distribution: &str) -> Vec<&'static str> {
        base::find(distribution).map(|base| base.suites().to_vec()).unwrap_or_default()
    }

    fn channels(&self, distribution: &str) -> Vec<&'static str> {
        base::find(distribution).map(|base| base.channels().to_vec()).unwrap_or_default()
    }

    fn form(&self, output: &str) -> Option<Form> {
        let needs = output::find(output)?.needs;
        let forms = [(Part::Disk, Form::Disk), (Part::Network, Form::Network)];
        forms.into_iter().find(|(part, _)| needs.contains(part)).map(|(_, form)| form)
    }

    fn outputs(&self) -> Vec<&'static str> {
        output::ALL.iter().map(|output| output.name).collect()
    }

    fn missing_part(&self, distribution: &str, output: &str) -> Option<&'static str> {
        let gives = base::find(distribution)?.gives();
        let missing = output::find(output)?.needs.iter().find(|part| !gives.contains(part));
        missing.map(|part| part.title())
    }

    fn leaves_base_out(&self, output: &str) -> bool {
        output::find(output).is_some_and(|output| output.needs == [Part::Extensions])
    }

    fn has_large_sectors(&self, output: &str) -> bool {
        output::find(output).is_none_or(|output| output.large_sectors || !output.needs.contains(&Part::Disk))
    }

    fn check_options(&self, output: &str, options: &toml::Table) -> Result<(), String> {
        let Some(output) = output::find(output) else { return Ok(()) };
        output.configure(options).map(drop).map_err(|error| error.message().to_owned())
    }
}

/// Reads and resolves a definition: [`definition::load`] with everything that this release knows.
///
/// # Errors
/// Those of [`definition::load`].
pub fn load(path: &Path, sets: &[String], layers: Option<&Path>) -> Result<Definition> {
    load_again(path, sets, layers, &Variables::new())
}

/// The same for a definition that has a lock: `kept` are the versions that it chose.
///
/// # Errors
/// Those of [`definition::load`].
pub fn load_again(
    path: &Path,
    sets: &[String],
    layers: Option<&Path>,
    kept: &Variables,
) -> Result<Definition> {
    definition::load(path, sets, layers, &Release, kept)
}

/// The JSON Schema of image definitions, with the bases and the outputs of this release and their options.
pub fn image_schema() -> Schema {
    let mut generator = SchemaGenerator::default();
    let options: serde_json::Map<String, Value> = output::ALL
        .iter()
        .map(|output| (output.name.to_owned(), (output.options)(&mut generator).to_value()))
        .collect();
    let mut schema = generator.root_schema_for::<ImageSpec>();
    let names = output::ALL
        .iter()
        .map(|output| json!({ "const": output.name, "description": output.summary }));
    set(&mut schema, "/properties/outputs/items", json!({ "oneOf": names.collect::<Vec<_>>() }));
    let tables = json!({ "type": "object", "additionalProperties": false, "properties": options });
    for (key, value) in tables.as_object().into_iter().flatten() {
        set(&mut schema, &format!("/properties/output/{key}"), value.clone());
    }
    set(&mut schema, "/$defs/BaseSpec/properties/distribution/enum", distributions());
    unwrap(&mut schema);
    schema
}

/// The JSON Schema of layer definitions.
pub fn layer_schema() -> Schema {
    let mut schema = schemars::schema_for!(LayerSpec);
    set(&mut schema, "/properties/os/items/enum", definition::operating_systems(&Release).into());
    unwrap(&mut schema);
    schema
}

/// Joins the lines of descriptions: they break where the source does. A blank line still begins a paragraph.
fn unwrap(schema: &mut Schema) {
    fn visit(value: &mut Value) {
        match value {
            Value::Object(members) => {
                if let Some(Value::String(text)) = members.get_mut("description") {
                    let paragraphs: Vec<String> =
                        text.split("\n\n").map(|paragraph| paragraph.replace('\n', " ")).collect();
                    *text = paragraphs.join("\n\n");
                }
                members.values_mut().for_each(visit);
            }
            Value::Array(items) => items.iter_mut().for_each(visit),
            _ => {}
        }
    }
    schema
        .as_object_mut()
        .into_iter()
        .flat_map(|members| members.values_mut())
        .for_each(visit);
}

fn distributions() -> Value {
    Release.distributions().into()
}

/// Puts `value` at `pointer`, whose parent exists.
fn set(schema: &mut Schema, pointer: &str, value: Value) {
    let Some((parent, key)) = pointer.rsplit_once('/') else { return };
    if let Some(Value::Object(parent)) = schema.pointer_mut(parent) {
        parent.insert(key.to_owned(), value);
    }
}

/// The outputs as lines of help.
pub fn outputs_help() -> String {
    let lines = output::ALL.iter().map(|output| format!("\n  {:<13} {}", output.name, output.summary));
    format!("Outputs:{}", lines.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_names_every_output_its_options_and_every_base() {
        let schema = image_schema();
        let at = |pointer: &str| schema.pointer(pointer).unwrap_or_else(|| panic!("{pointer}: {schema:#?}"));
        for (index, output) in output::ALL.iter().enumerate() {
            assert_eq!(at(&format!("/properties/outputs/items/oneOf/{index}/const")), output.name);
            assert_eq!(at(&format!("/properties/output/properties/{}/type", output.name)), "object");
        }
        at("/properties/output/properties/qcow2/properties/compression");
        assert_eq!(at("/properties/output/additionalProperties"), false);
        let name = at("/properties/name/description").as_str().unwrap();
        assert!(!name.is_empty() && !name.contains('\n'), "{name}");
        assert_eq!(at("/$defs/BaseSpec/properties/distribution/enum"), &distributions());
        let systems = layer_schema().pointer("/properties/os/items/enum").cloned().unwrap();
        assert!(systems.as_array().unwrap().contains(&"windows".into()), "{systems}");
    }

    /// The table in docs/reference.md is this one; the test prints it when it is not.
    #[test]
    fn the_reference_has_the_outputs_of_the_list() {
        let mut table = String::from("| output | content | options |\n|---|---|---|\n");
        for output in output::ALL {
            let options = (output.options)(&mut SchemaGenerator::default()).to_value();
            let options: Vec<String> = options["properties"]
                .as_object()
                .into_iter()
                .flatten()
                .map(|(name, _)| format!("`{name}`"))
                .collect();
            table += &format!("| `{}` | {} | {} |\n", output.name, output.summary, options.join(", "));
        }
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference.md");
        assert!(std::fs::read_to_string(page).unwrap().contains(&table), "docs/reference.md lacks:\n{table}");
    }

    #[test]
    fn a_base_that_lacks_a_part_is_named() {
        for output in output::ALL {
            let windows = [[Part::Wim].as_slice(), &[Part::WindowsLayers]].contains(&output.needs);
            assert_eq!(Release.missing_part("debian", output.name).is_some(), windows, "{}", output.name);
            let alone = output.needs == [Part::WindowsLayers];
            assert_eq!(Release.missing_part("windows-release", output.name).is_none(), alone);
        }
        assert_eq!(Release.missing_part("windows", "oci"), Some("layers as archives"));
        assert_eq!(Release.missing_part("windows", "vhdx"), None);
    }
}
