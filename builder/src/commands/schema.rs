//! `kiln schema`

use schemars::schema_for;

use super::Terminal;
use crate::cli::{SchemaArgs, SchemaKind};
use crate::definition::image_spec::ImageSpec;
use crate::definition::layer_spec::LayerSpec;
use crate::error::{Error, ErrorKind, Result};

/// Prints the JSON Schema by which editors complete and check definitions.
pub fn run(args: &SchemaArgs, terminal: &Terminal) -> Result<()> {
    let schema = match args.kind {
        SchemaKind::Image => schema_for!(ImageSpec),
        SchemaKind::Layer => schema_for!(LayerSpec),
    };
    let text = serde_json::to_string_pretty(&schema)
        .map_err(|error| Error::new(ErrorKind::Internal, format!("printing the schema: {error}")))?;
    terminal.print(&text)
}
