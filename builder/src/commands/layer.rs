//! `kiln layer`

use std::process::ExitCode;

use serde_json::{Value, json};

use super::{Terminal, as_json};
use crate::cli::{LayerCheckArgs, LayerNewArgs, LayerVerb};
use crate::error::{Error, ErrorKind, Result};
use crate::lint::{self, System, Verifier};
use crate::registry::Release;

/// Starts or checks layers.
pub fn run(verb: &LayerVerb, terminal: &Terminal) -> Result<ExitCode> {
    match verb {
        LayerVerb::New(args) => new(args, terminal).map(|()| ExitCode::SUCCESS),
        LayerVerb::Check(args) => check(args, terminal),
    }
}

fn new(args: &LayerNewArgs, terminal: &Terminal) -> Result<()> {
    let system = args.os.unwrap_or_else(|| System::of_name(&args.name));
    let folder = lint::start(&args.name, system, &args.into)?;
    let folder = folder.display();
    let adds = match system {
        System::Linux => "one setting of the kernel",
        System::Windows => "a value of the registry and a service without its program",
    };
    terminal.show(&json!({ "folder": folder.to_string() }), |_| {
        format!(
            "{folder} is a layer that adds {adds}. Next:\n  \
             change {folder}/layer.toml and its files\n  \
             kiln layer check {folder}\n  \
             add it to layers in an image's definition: \"{}\" if it lies in layers/, \
             else its path from the definition, which begins with ./\n  \
             kiln plan DEFINITION, kiln build DEFINITION",
            args.name
        )
    })
}

fn check(args: &LayerCheckArgs, terminal: &Terminal) -> Result<ExitCode> {
    let verifier = if args.no_systemd { Verifier::Own } else { Verifier::of_this_machine() };
    let mut layers = Vec::new();
    for folder in &args.folders {
        let found = match lint::check(folder, &Release, verifier) {
            // What is no layer does not keep the others from being looked at.
            Err(error) if error.kind() == ErrorKind::Definition => vec![error],
            found => found?,
        };
        layers.push((folder, found));
    }
    let shown: Vec<Value> = layers
        .iter()
        .map(|(folder, errors)| json!({ "folder": folder, "findings": errors.iter().map(finding).collect::<Vec<_>>() }))
        .collect();
    let count: usize = layers.iter().map(|(_, errors)| errors.len()).sum();
    terminal.show(&json!({ "layers": shown, "systemd": verifier != Verifier::Own }), |_| {
        let mut lines: Vec<String> =
            layers.iter().flat_map(|(_, errors)| errors).map(Error::to_string).collect();
        let by = match verifier {
            Verifier::Systemd | Verifier::OlderSystemd => "",
            Verifier::Own => "; unit files were not shown to systemd-analyze",
        };
        lines.push(match (count, layers.len()) {
            (0, 1) => format!("nothing is wrong with the layer{by}"),
            (0, many) => format!("nothing is wrong with {many} layers{by}"),
            (1, _) => format!("1 finding{by}"),
            (count, _) => format!("{count} findings{by}"),
        });
        lines.join("\n")
    })?;
    Ok(ExitCode::from(if count == 0 { 0 } else { ErrorKind::Definition.exit_code() }))
}

fn finding(error: &Error) -> Value {
    as_json(error)["error"].take()
}
