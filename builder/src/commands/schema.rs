//! `kiln schema`

use super::Terminal;
use crate::cli::{SchemaArgs, SchemaKind};
use crate::error::{Error, ErrorKind, Result};
use crate::registry;

/// Prints the JSON Schema by which editors complete and check definitions.
pub fn run(args: &SchemaArgs, terminal: &Terminal) -> Result<()> {
    let schema = match args.kind {
        SchemaKind::Image => registry::image_schema(),
        SchemaKind::Layer => registry::layer_schema(),
    };
    let text = serde_json::to_string_pretty(&schema)
        .map_err(|error| Error::new(ErrorKind::Internal, format!("printing the schema: {error}")))?;
    terminal.print(&text)
}
