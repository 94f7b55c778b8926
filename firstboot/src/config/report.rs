//! `report` of the FirstbootConfiguration: the report targets. Each reporter declares its settings.

use super::check::Problems;
use super::fields::Fields;
use crate::error::Result;
use crate::report::{ReportTarget, Reporter, named, reporters};
use crate::secret::Secret;
use contract::suggest;

/// Reports of one config; each may take its seconds.
const MOST: usize = 16;

/// Reads the list. None: the config has no such field; an empty list is one.
pub fn read(fields: &mut Fields<'_>, problems: &mut Problems) -> Result<Option<Vec<ReportTarget>>> {
    let Some(items) = fields.list("report")? else { return Ok(None) };
    if items.len() > MOST {
        problems.note(format!("report: Too many: {}: must have at most {MOST} items", items.len()));
        return Ok(None);
    }
    let mut targets = Vec::new();
    for item in items {
        targets.extend(target(item, problems)?);
    }
    Ok(Some(targets))
}

fn target(mut fields: Fields<'_>, problems: &mut Problems) -> Result<Option<ReportTarget>> {
    let path = fields.path("kind");
    let Some(kind) = fields.text("kind")? else {
        problems.required(&path, &format!("one of {}", kinds().join(", ")));
        return Ok(None);
    };
    let Some(reporter) = named(&kind) else {
        problems.unsupported(&path, &kind, &kinds());
        return Ok(None);
    };
    let target = settings(reporter, &mut fields, problems)?;
    let mut unknown = Vec::new();
    fields.finish(&mut unknown);
    for field in unknown {
        let meant = suggest::did_you_mean(&field.name, field.known.iter().copied());
        let meant = if meant.is_empty() {
            format!("; {} has the fields {}", reporter.kind, field.known.join(", "))
        } else {
            meant
        };
        problems.note(format!("unknown field \"{}\"{meant}", field.path));
    }
    Ok(Some(target))
}

/// Any value may be secret: none is shown.
fn settings(reporter: &Reporter, fields: &mut Fields<'_>, problems: &mut Problems) -> Result<ReportTarget> {
    let mut target = ReportTarget::of(reporter);
    for setting in reporter.settings {
        let path = fields.path(setting.name);
        match fields.text(setting.name)? {
            Some(value) => match (setting.check)(&value) {
                Ok(()) if setting.is_secret => target.set(setting.name, Secret::new(value)),
                Ok(()) => target.set(setting.name, Secret::discreet(value)),
                Err(why) => problems.invalid_secret(&path, &why),
            },
            None if setting.is_required => problems.required(&path, &format!("{} needs it", reporter.kind)),
            None => {}
        }
    }
    Ok(target)
}

fn kinds() -> Vec<&'static str> {
    reporters().iter().map(|reporter| reporter.kind).collect()
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
