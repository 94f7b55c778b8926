//! A release of Windows Server that is not there: layers for it, without an image.

use std::collections::BTreeSet;

use super::{
    Base, BaseOption, BaseRequest, Content, Context, Firmware, Job, LockedBase, LockedWindowsRelease,
    Mirrored,
};
use crate::assembly::{Packages, Part};
use crate::definition::plan::{Arch, BasePlan, WindowsReleasePlan};
use crate::error::{Error, ErrorKind, Result};
use crate::fetch::Request;
use crate::store::Store;

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

    fn suites(&self) -> &'static [&'static str] {
        &[]
    }

    fn gives(&self) -> &'static [Part] {
        Part::FOR_WINDOWS
    }

    fn packages(&self) -> Packages {
        Packages::NONE
    }

    fn options(&self) -> &'static [BaseOption] {
        &[]
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

    fn kernel_modules(&self, _: &LockedBase, _: &Store) -> Result<Option<BTreeSet<String>>> {
        Ok(None)
    }

    fn firmware(&self, _: &LockedBase) -> Option<Firmware> {
        None
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
