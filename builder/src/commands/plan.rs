//! `kiln plan`

use std::collections::BTreeSet;

use indicatif::DecimalBytes;
use serde::Serialize;

use super::{Open, Terminal, earlier_lock, resolve};
use crate::base::{self, Firmware};
use crate::cli::PlanArgs;
use crate::columns::widest;
use crate::definition::plan::{BasePlan, Choice, ImagePlan, LayerPlan, Origin};
use crate::definition::windows::WindowsPlan;
use crate::digest::Digest;
use crate::error::Result;
use crate::kernel_module;
use crate::lock::preload::LockedImage;
use crate::lock::{Lock, drift};
use crate::part::modules::{self, MissingDrivers};
use crate::pipeline::session::open_store;
use crate::store::Store;

#[derive(Serialize)]
struct Summary<'a> {
    plan: &'a ImagePlan,
    lock: std::path::PathBuf,
    differences: Vec<String>,
    warnings: &'a [String],
    to_fetch: usize,
    in_store: usize,
    /// Known once the kernel's packages are in the store.
    #[serde(skip_serializing_if = "Option::is_none")]
    missing_drivers: Option<Vec<MissingDrivers>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    firmware: Option<Firmware>,
    /// Modules that layers load and the kernel lacks.
    not_loadable: Vec<NotLoadable>,
}

/// Modules in a file of a layer that the kernel lacks.
#[derive(Serialize)]
struct NotLoadable {
    layer: String,
    path: String,
    modules: Vec<String>,
}

/// Shows the resolved definition, how its lock stands, and how much is missing from the store.
pub fn run(args: &PlanArgs, terminal: &Terminal) -> Result<()> {
    let (resolved, lock_path) = resolve(&args.definition, &args.output_dir, Open::Kept)?;
    let store = open_store(args.cache_dir.as_deref())?;
    let lock = earlier_lock(&args.definition, &lock_path)?;
    let differences = match &lock {
        Some(lock) => drift::differences(&resolved.plan, lock),
        None => vec!["there is no lock yet".to_owned()],
    };
    let (in_store, to_fetch) = lock.as_ref().map_or((0, 0), |lock| count(lock, &store));
    let warnings = &resolved.warnings;
    let modules = lock
        .as_ref()
        .map(|lock| kernel_modules(&resolved.plan, lock, &store))
        .transpose()?
        .flatten();
    let firmware = lock.as_ref().map(|lock| firmware(&resolved.plan, lock)).transpose()?;
    let shown = Summary {
        plan: &resolved.plan,
        lock: lock_path,
        differences,
        warnings,
        to_fetch,
        in_store,
        missing_drivers: modules.as_ref().map(modules::lacking),
        firmware: firmware.flatten(),
        not_loadable: modules.map(|modules| not_loadable(&resolved.plan, modules)).unwrap_or_default(),
    };
    terminal.show(&shown, text)
}

fn count(lock: &Lock, store: &Store) -> (usize, usize) {
    let images = lock.preload.iter().flat_map(LockedImage::digests);
    let digests = lock.artifacts.iter().map(|pin| &pin.sha256).chain(lock.base.pins().map(|pin| pin.sha256));
    let digests = digests.chain(images);
    let (present, missing): (Vec<&Digest>, Vec<&Digest>) = digests.partition(|digest| store.contains(digest));
    (present.len(), missing.len())
}

/// Known once the kernel's packages are in the store.
fn kernel_modules(plan: &ImagePlan, lock: &Lock, store: &Store) -> Result<Option<BTreeSet<String>>> {
    base::of(&plan.base)?.kernel_modules(&lock.base, store)
}

/// What layers want to be loaded, and neither the kernel nor a file of a layer is.
fn not_loadable(plan: &ImagePlan, mut modules: BTreeSet<String>) -> Vec<NotLoadable> {
    let own = plan.layers.iter().flat_map(LayerPlan::single_files).filter_map(kernel_module::in_file);
    modules.extend(own);
    let files = plan.layers.iter().flat_map(|layer| layer.files.iter().map(move |file| (layer, file)));
    let lists =
        files.filter(|(_, file)| file.path.contains("/modules-load.d/") && file.path.ends_with(".conf"));
    let lacking = lists.filter_map(|(layer, file)| {
        let names = modules::not_loadable(&String::from_utf8_lossy(&file.content), &modules);
        let (layer, path) = (layer.name.clone(), file.path.clone());
        (!names.is_empty()).then_some(NotLoadable { layer, path, modules: names })
    });
    lacking.collect()
}

fn firmware(plan: &ImagePlan, lock: &Lock) -> Result<Option<Firmware>> {
    Ok(base::of(&plan.base)?.firmware(&lock.base))
}

fn base_line(base: &BasePlan) -> String {
    match base {
        BasePlan::Packages(plan) => format!(
            "{} {}{} with {} packages and what they depend on",
            plan.distribution,
            plan.suite,
            plan.snapshot.map(|time| format!(" of {time}")).unwrap_or_default(),
            plan.packages.len()
        ),
        BasePlan::Vendor(plan) => format!(
            "{} {}, {}, with its own disk",
            plan.distribution,
            plan.channel,
            plan.version.as_deref().unwrap_or("the newest release")
        ),
        BasePlan::Rootfs(plan) => format!("the root file system {}", plan.rootfs.written),
        BasePlan::WindowsRelease(plan) => format!(
            "Windows Server {}, build {}.{} or a newer patch, for containers of {}",
            plan.release,
            plan.build,
            plan.least_revision,
            plan.runs.join(" and ")
        ),
        BasePlan::Windows(plan) => format!("the image of Windows {}", plan.windows.written),
    }
}

/// What a layer changes on Windows besides files: what, and which.
fn changes(windows: &WindowsPlan) -> Vec<(&'static str, String)> {
    let values = match windows.registry.len() {
        0 => String::new(),
        1 => "1 value".to_owned(),
        count => format!("{count} values"),
    };
    let services: Vec<&str> = windows.services.iter().map(|service| service.name.as_str()).collect();
    let rules: Vec<String> = windows
        .firewall
        .iter()
        .map(|rule| format!("{} ({})", rule.name, rule.ports.join(", ")))
        .collect();
    let variables: Vec<&str> = windows.environment.keys().map(String::as_str).collect();
    let changes = [
        ("registry", values),
        ("services", services.join(", ")),
        ("firewall", rules.join(", ")),
        ("path", windows.path.join(", ")),
        ("environment", variables.join(", ")),
        ("drivers", windows.drivers.join(", ")),
        ("features", windows.features.join(", ")),
        ("enables", windows.enables.join(", ")),
    ];
    changes.into_iter().filter(|(_, names)| !names.is_empty()).collect()
}

fn text(shown: &Summary<'_>) -> String {
    let plan = shown.plan;
    let mut lines = vec![
        format!("{} for {:?}: Kubernetes {}", plan.name, plan.arch, plan.variables["kubernetes"])
            .to_lowercase()
            .replace("kubernetes", "Kubernetes"),
        format!("base     {}", base_line(&plan.base)),
    ];
    let parts = widest(14, plan.choices.iter().map(|choice| choice.part.as_str()));
    for Choice { part, version, why, row, .. } in &plan.choices {
        let row = row.as_ref().map(|row| format!(" ({row})")).unwrap_or_default();
        lines.push(format!("version  {part:<parts$} {version}: {why}{row}"));
    }
    let layers = widest(14, plan.layers.iter().map(|layer| layer.name.as_str()));
    for layer in &plan.layers {
        lines.push(format!("layer    {:<layers$} {}", layer.name, layer.summary));
        for artifact in &layer.artifacts {
            let origin = match &artifact.origin {
                Origin::Url { url, signature: Some(_), .. } => {
                    format!("{} {url} (somebody whom the layer names must have signed it)", artifact.version)
                }
                Origin::Url { url, checksum: Some(_), .. } => format!("{} {url}", artifact.version),
                Origin::Url { url, checksum: None, .. } => {
                    format!("{} {url} (no published checksum: trusted on first use)", artifact.version)
                }
                Origin::Package { name } => format!("from the package {name}"),
                Origin::Program { name } => format!("{name} of this Kiln release, {}", artifact.version),
            };
            lines.push(format!("           {:<12} {origin}", artifact.name));
        }
        let changes = layer.windows.as_ref().map(changes).unwrap_or_default();
        lines.extend(changes.into_iter().map(|(what, names)| format!("           {what:<12} {names}")));
    }
    lines.extend(plan.preload.iter().map(|image| format!("preload  {}", image.reference)));
    lines.push(format!("outputs  {}", plan.outputs.join(", ")));
    lines.push(format!(
        "store    {} files of the lock file are there, {} to fetch",
        shown.in_store, shown.to_fetch
    ));
    for MissingDrivers { devices, hardware, drivers } in shown.missing_drivers.iter().flatten() {
        lines.push(format!("kernel   lacks drivers of {devices} for {hardware}: {}", drivers.join(", ")));
    }
    for NotLoadable { layer, path, modules } in &shown.not_loadable {
        lines.push(format!(
            "kernel   lacks modules that the layer {layer} loads by /{path}: {}",
            modules.join(", ")
        ));
    }
    if let Some(Firmware { packages, size }) = shown.firmware {
        let size = DecimalBytes(size);
        lines.push(format!("firmware {packages} packages of {size}: the root is about that much larger"));
    }
    let state = if shown.differences.is_empty() {
        "matches".to_owned()
    } else {
        format!("will be brought up to date: {}", shown.differences.join("; "))
    };
    lines.push(format!("lock     {} {state}", shown.lock.display()));
    lines.extend(shown.warnings.iter().map(|warning| format!("warning  {warning}")));
    lines.join("\n")
}
