//! `kiln lock`

use serde::Serialize;

use super::{Open, Terminal, earlier_lock, resolve, warn};
use crate::base::Pin;
use crate::cli::LockArgs;
use crate::definition::plan::ImagePlan;
use crate::definition::snapshot::{Snapshot, Wanted};
use crate::error::{Error, ErrorKind, Result};
use crate::lock::preload::LockedImage;
use crate::lock::table::DigestTable;
use crate::lock::update::{Policy, update};
use crate::lock::{Lock, LockedArtifact, drift};
use crate::pipeline::session::{Session, drifted, no_lock};
use crate::progress::Progress;

#[derive(Serialize)]
struct Summary {
    lock: std::path::PathBuf,
    artifacts: usize,
    packages: usize,
    #[serde(skip)]
    base: String,
    changes: Vec<String>,
}

/// Writes the lock, or with `--check` compares it with the definition.
pub fn run(args: &LockArgs, progress: Progress, terminal: &Terminal) -> Result<()> {
    let upgrade = args.upgrade.as_ref();
    let all = upgrade.is_some_and(Vec::is_empty);
    let open = if all && !args.check { Open::Chosen } else { Open::Kept };
    let (resolved, path) = resolve(&args.definition, &args.output_dir, open)?;
    warn(&resolved, &progress);
    let plan = &resolved.plan;
    let old = earlier_lock(&args.definition, &path)?;
    if args.check {
        let differences = match &old {
            Some(lock) => drift::differences(plan, lock),
            None => return Err(no_lock(&path)),
        };
        return if differences.is_empty() {
            terminal.print("the lock file matches the definition")
        } else {
            Err(drifted(&path, &differences))
        };
    }
    let snapshot = snapshot(args.snapshot, plan)?;
    let session = Session::open(&args.fetch, progress)?;
    let table = args.digests.as_deref().map(DigestTable::read).transpose()?.unwrap_or_default();
    let policy = Policy {
        recheck: true,
        upgrade_packages: all,
        upgrade_only: upgrade.into_iter().flatten().cloned().collect(),
        snapshot,
        accept: args.accept.iter().cloned().collect(),
        table,
    };
    let lock =
        update(plan, old.as_ref(), &policy, &session.fetcher()?, |request| session.lock_base(request))?;
    lock.write(&path)?;
    let changes = changes(old.as_ref(), &lock);
    let summary = Summary {
        lock: path,
        artifacts: lock.artifacts.len(),
        packages: lock.base.packages().len(),
        base: lock.base.summary(),
        changes,
    };
    terminal.show(&summary, |summary| {
        let lines: String = summary.changes.iter().map(|change| format!("\n  {change}")).collect();
        format!("{}: {} artifacts, {}{lines}", summary.lock.display(), summary.artifacts, summary.base)
    })
}

/// The snapshot that the command line asks for. A lock of another one than the definition's would not match
/// the definition.
fn snapshot(wanted: Option<Wanted>, plan: &ImagePlan) -> Result<Option<Snapshot>> {
    let wanted = wanted.map(Wanted::time);
    match (wanted, plan.base.snapshot()) {
        (Some(wanted), Some(defined)) if wanted != defined => {
            let message = format!("--snapshot asks for {wanted}, and the definition for {defined}");
            Err(Error::new(ErrorKind::Usage, message)
                .help("change base.snapshot in the definition, or remove it"))
        }
        _ => Ok(wanted),
    }
}

/// Every pin that is new, changed or gone, one line each.
fn changes(old: Option<&Lock>, new: &Lock) -> Vec<String> {
    let Some(old) = old else { return Vec::new() };
    let artifact = |pin: &LockedArtifact| {
        (format!("{}/{}", pin.layer, pin.name), format!("{} {:.19}", pin.version, pin.sha256.to_string()))
    };
    let image = |pin: &LockedImage| {
        (format!("container image {}", pin.reference), format!("{:.19}", pin.sha256.to_string()))
    };
    let package = |pin: Pin<'_>| (pin.name.into_owned(), pin.version.into_owned());
    let entries = |lock: &Lock| -> std::collections::BTreeMap<String, String> {
        let snapshot = lock.base.snapshot().map(|time| ("snapshot of the base".to_owned(), time.to_string()));
        let artifacts = lock.artifacts.iter().map(artifact);
        let chosen = lock
            .versions
            .iter()
            .map(|(part, version)| (format!("version of {part}"), version.clone()));
        let artifacts = artifacts.chain(chosen).chain(lock.preload.iter().map(image));
        artifacts.chain(lock.base.pins().map(package)).chain(snapshot).collect()
    };
    let (old, new) = (entries(old), entries(new));
    let names: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    names
        .into_iter()
        .filter_map(|name| match (old.get(name), new.get(name)) {
            (None, Some(new)) => Some(format!("+ {name} {new}")),
            (Some(old), None) => Some(format!("- {name} {old}")),
            (Some(old), Some(new)) if old != new => Some(format!("~ {name} {old} -> {new}")),
            _ => None,
        })
        .collect()
}
