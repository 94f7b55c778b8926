//! The files that a build needs in the store.

use super::session::Session;
use crate::base;
use crate::definition::plan::ImagePlan;
use crate::error::Result;
use crate::fetch::Request;
use crate::lock::{Lock, preload};

/// The files that must be in the store before a build of `plan` can go on without a network.
pub fn requests(session: &Session, plan: &ImagePlan, lock: &Lock) -> Result<Vec<Request>> {
    let artifacts = lock.artifacts.iter().map(|pin| Request {
        title: format!("{} {}", pin.name, pin.version),
        urls: vec![pin.url.clone()],
        kept: Vec::new(),
        digest: pin.sha256,
        size: pin.size,
        absent: None,
    });
    let mut requests: Vec<Request> = artifacts.collect();
    requests.extend(preload::requests(plan, &lock.preload));
    requests.extend(base::of(&plan.base)?.requests(
        &plan.base,
        &lock.base,
        &session.base_context(&session.fetcher()?),
    )?);
    Ok(requests)
}
