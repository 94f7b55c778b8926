//! `firstboot install`: writes a disk image to a disk.

use serde_json::{Value, json};

use crate::cli::request::Install;
use crate::error::{ErrorKind, Failure, Result};
use crate::evidence::CommandLine;
use crate::host::disks::Disk;
use crate::host::root::Root;
use crate::host::services::Services;
use crate::install::rule::{self, Candidate};
use crate::install::{self, Event, Installer, NodeConfig, Plan, Request, Say, Then, Written};
use crate::run::Console;

/// Installs, lists the disks, or says what an installation would do.
pub fn install(request: &Install, json: bool) -> Result<String> {
    let root = &request.common.root;
    if request.list {
        return Ok(list(&install::candidates(root, None), json));
    }
    let line = CommandLine::of(root);
    let (wanted, config) = match &request.image {
        Some(image) => {
            let written = Written {
                image,
                digest: request.sha256.as_deref(),
                disk: request.disk.as_deref(),
                may_overwrite: request.overwrite,
                report: request.report.as_deref(),
                // By hand, the machine goes on: somebody sits before it.
                then: Some("nothing"),
            };
            let config = request.config.clone().map_or(NodeConfig::Absent, NodeConfig::File);
            (Request::of_options(&written)?, config)
        }
        None => {
            let asked = Request::of_command_line(&line)?.ok_or_else(|| {
                let message =
                    format!("the kernel command line has no {}, and there is no --image", install::ARGUMENT);
                Failure::new(ErrorKind::Usage, message)
            })?;
            (asked, NodeConfig::CommandLine)
        }
    };
    let say: Say = if json { |_| () } else { |line| Console { json: false }.print(line) };
    let event = json.then_some(print as Event);
    let installer = Installer { root, line: &line, config, say, event };
    if request.dry_run {
        return installer.plan(&wanted).map(|plan| shown(&plan, json));
    }
    installer.install(&wanted)?;
    end(root, wanted.then, say)?;
    Ok(String::new())
}

fn print(event: &Value) {
    Console { json: true }.print_raw(&event.to_string());
}

/// Does what the kernel command line wants afterwards.
fn end(root: &Root, then: Then, say: Say) -> Result<()> {
    let Some(verb) = then.verb().filter(|_| root.is_machine()) else { return Ok(()) };
    say(&format!("next: {verb}"));
    Services::of(root).stop_machine(verb)
}

fn shown(plan: &Plan, json: bool) -> String {
    let Plan { image, disk, content, size, mapped, .. } = plan;
    if json {
        let plan = json!({
            "event": "plan",
            "image": image,
            "disk": disk,
            "holds": content.to_string(),
            "bytes": size,
            "mapped": mapped,
        });
        return format!("{plan}\n");
    }
    let (size, mapped) = (rule::shown(*size), rule::shown(*mapped));
    format!(
        "would install {image} ({size}, {mapped} of it data) on {}, which holds {content}\n",
        disk.display()
    )
}

/// The disks as rules see them.
fn list(candidates: &[Candidate], json: bool) -> String {
    let line = |candidate: &Candidate| {
        let Disk { path, links: _, size, sector, model, serials, wwns, bus, is_removable, unusable } =
            &candidate.disk;
        if !json {
            let unusable =
                unusable.as_ref().map(|why| format!(", not to be used: {why}")).unwrap_or_default();
            return format!("{}{unusable}\n", candidate.line());
        }
        let disk = json!({
            "path": path, "size": size, "sector": sector, "bus": bus, "model": model, "serial": serials,
            "wwn": wwns, "id": candidate.disk.ids(), "removable": is_removable, "unusable": unusable,
            "holds": candidate.content.to_string(),
        });
        format!("{disk}\n")
    };
    candidates.iter().map(line).collect()
}
