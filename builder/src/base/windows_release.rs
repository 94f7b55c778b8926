//! A release of Windows Server that is not there: layers for it, without an image.

use super::{Base, BaseRequest, Content, Context, Job, LockedBase, LockedWindowsRelease, Mirrored};
use crate::assembly::Part;
use crate::definition::plan::{Arch, BasePlan, WindowsReleasePlan};
use crate::error::{Error, ErrorKind, Result};
use crate::fetch::Request;

/// The name of this base in the registry.
pub const NAME: &str = "windows-release";

/// A release of Windows Server.
#[derive(Debug)]
pub struct WindowsRelease;

impl Base for WindowsRelease {
    fn name(&self) -> &'static str {
        NAME
    }

    fn is_distribution(&self) -> bool {
        false
    }

    fn gives(&self) -> &'static [Part] {
        Part::FOR_WINDOWS
    }

    fn lock(&self, request: &BaseRequest<'_>, _: &Context<'_>) -> Result<LockedBase> {
        let plan = release_of(request.plan)?;
        Ok(LockedBase::WindowsRelease(LockedWindowsRelease { release: plan.release.clone() }))
    }

    fn requests(&self, _: &BasePlan, _: &LockedBase, _: &Context<'_>) -> Result<Vec<Request>> {
        Ok(Vec::new())
    }

    fn mirrored(&self, _: &BasePlan, _: Arch, _: &LockedBase) -> Result<Mirrored> {
        Ok(Mirrored::default())
    }

    fn assemble(&self, _: &LockedBase, _: &Job<'_>) -> Result<Content> {
        Ok(Content::Nothing)
    }
}

fn release_of(plan: &BasePlan) -> Result<&WindowsReleasePlan> {
    match plan {
        BasePlan::WindowsRelease(plan) => Ok(plan),
        _ => Err(Error::new(ErrorKind::Internal, "this base is no release of Windows")),
    }
}
