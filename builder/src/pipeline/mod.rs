//! A whole build: from a plan and its lock to outputs under their final names.

mod layers;
mod merge;
mod outputs;
pub mod program;
mod publish;
mod report;
mod requests;
pub mod session;

use std::path::Path;
use std::time::Instant;

use serde::Serialize;

pub use requests::requests;

use crate::assembly::{Assembly, Image, Part};
use crate::base::{self, Content};
use crate::definition::plan::ImagePlan;
use crate::determinism;
use crate::digest::Digest;
use crate::error::{Error, ErrorKind, Result};
use crate::layer::PackedLayer;
use crate::lock::Lock;
use crate::namespaces;
use crate::output;
use crate::part::Parts;
use crate::part::work::Work;
use crate::provenance::{self, Pins};
use crate::scratch::Scratch;
use layers::Builder;
use report::{Report, Timer};
use session::Session;

/// Builds the image of `plan` from `lock` into `output_dir`.
pub fn build(
    session: &Session,
    plan: &ImagePlan,
    lock: &Lock,
    firstboot: Option<&Path>,
    output_dir: &Path,
) -> Result<Report> {
    if plan.outputs.iter().any(|name| packs_a_file_system(name)) {
        namespaces::check()?;
    }
    let started = Instant::now();
    let mut timer = Timer::default();
    let epoch = determinism::source_date_epoch()?;
    let publication = publish::Publication::begin(output_dir)?;
    let scratch = session.store.scratch()?;
    let programs = program::all(plan, firstboot)?;
    let builder = Builder { session, plan, lock, programs, epoch, scratch: scratch.path() };

    // 1. Every byte into the store, verified.
    let fetched = timer.step("fetch", || session.fetcher()?.fetch_all(&requests(session, plan, lock)?))?;

    // 2. The base and the layers, each from the store when nothing that decides it has changed.
    let (base, layers) = timer.step("layers", || builder.contents())?;
    let (beside, mut layers) = match base {
        Content::Layer(base) => (None, [vec![base], layers].concat()),
        other => (Some(other), layers),
    };

    // 3. One tree, and the final layer.
    let (tree, last) = timer.step("tree", || merge::merge(&builder, &layers, beside.is_some()))?;
    layers.push(last);

    // 4. The outputs, complete before any of them is visible.
    let work = Scratch::new(output_dir)?;
    let identity = identity(plan, lock, &layers, epoch)?;
    let assembly = match &beside {
        None | Some(Content::Layer(_)) => Assembly::Tree { tree: &tree, layers: &layers },
        Some(Content::Vendor(release)) => Assembly::Vendor { release, tree: &tree, layers: &layers },
        Some(Content::Nothing) => Assembly::Layers { tree: &tree, layers: &layers },
        Some(Content::Windows(release)) => Assembly::Windows { release, tree: &tree, layers: &layers },
    };
    let parts = Parts::new(
        Image { plan, identity, epoch, assembly, packages: base::of(&plan.base)?.packages() },
        Work::new(&session.store, work.path(), &session.progress),
    );
    let files = outputs::write(&parts, publication.folder(), &mut timer)?;
    let pins = Pins { artifacts: &lock.artifacts, base: &lock.base, preload: &lock.preload };
    let sums = timer.step("manifest", || provenance::write(&parts, pins, files, publication.folder()))?;
    drop(parts);

    // 5. Final names.
    let outputs = timer.step("publish", || publication.finish())?;
    Ok(Report::new(plan, identity, layers, &fetched, sums, outputs, timer, started.elapsed()))
}

/// Whether an output is more than archives: then a tool packs files of other owners.
fn packs_a_file_system(output: &str) -> bool {
    output::find(output)
        .is_some_and(|output| output.needs != [Part::Layers] && output.needs != [Part::WindowsLayers])
}

/// Everything that decides the identifiers on the disk.
fn identity(plan: &ImagePlan, lock: &Lock, layers: &[PackedLayer], epoch: u64) -> Result<Digest> {
    // A vendor's release, and an image of Windows, is no layer.
    let release = lock.base.vendor().into_iter().flat_map(|vendor| &vendor.files).map(|file| &file.sha256);
    let windows = lock.base.windows().map(|windows| &windows.sha256);
    let layers = layers.iter().map(|layer| &layer.diff_id);
    let diff_ids: Vec<&Digest> = release.chain(windows).chain(layers).collect();
    let hash_of = (&plan.name, plan.arch, &plan.kernel_arguments, &plan.disk, diff_ids, epoch);
    // Of what layers change on Windows besides files, the archives of the layers know nothing.
    let changes: Vec<_> = plan.layers.iter().filter_map(|layer| layer.windows.as_ref()).collect();
    if changes.is_empty() { hash(&hash_of) } else { hash(&(hash_of, changes)) }
}

fn hash(value: &impl Serialize) -> Result<Digest> {
    let bytes = serde_json::to_vec(value)
        .map_err(|error| Error::new(ErrorKind::Internal, format!("hashing: {error}")))?;
    Ok(Digest::of(&bytes))
}
