//! The end of a run: removes secrets that are no longer needed, writes Cluster API's sentinel file, and
//! powers a failed machine off if the config says so.

use super::{ResolvedConfig, Session, delivery, extra_files};
use crate::config::model::OnFailure;
use crate::host::files;
use crate::host::notify;
use crate::host::services::Services;
use crate::metadata::Metadata;
use crate::platforms::Platform;

/// The steps after a join. No failure here ends the run.
pub(super) fn after_join(session: &Session, metadata: &Metadata, resolved: &ResolvedConfig) {
    if resolved.config.join.dry_run {
        return;
    }
    remove_config(session, resolved);
    extra_files::remove_secrets(session, &resolved.files, &resolved.config);
    scrub(session, metadata, resolved);
    delete_remains(session, metadata, resolved);
    if let Some(sentinel) = &resolved.sentinel
        && let Err(failure) = extra_files::write_sentinel(session.root, sentinel)
    {
        session.warn(format_args!("{failure}: Cluster API does not learn that this machine has joined"));
    }
}

/// Removes the file that the config came from, because its token is no longer needed.
fn remove_config(session: &Session, resolved: &ResolvedConfig) {
    let Some(path) = &resolved.file else { return };
    match files::remove(&session.root.entry(path)) {
        Ok(()) => session.print(&format!("removed {}: it held a token", path.display())),
        Err(failure) => session.warn(format_args!("{failure}: it holds a token")),
    }
}

/// Makes the platform's copy of the config unreadable, if the config came from there and the platform allows
/// it.
fn scrub(session: &Session, metadata: &Metadata, resolved: &ResolvedConfig) {
    if !resolved.config.agent.scrub || !session.root.is_machine() {
        return;
    }
    let came_from = |platform: &&Platform| resolved.origin == Some(platform.name);
    let Some(scrub) = metadata.platform.filter(came_from).and_then(|platform| platform.scrub) else {
        return;
    };
    match scrub(session.root) {
        Ok(done) => done.iter().for_each(|done| session.print(done)),
        Err(failure) => session.warn(format_args!("{failure}: it may hold a token")),
    }
}

/// Deletes what the used config left elsewhere.
fn delete_remains(session: &Session, metadata: &Metadata, resolved: &ResolvedConfig) {
    for remains in resolved.remains.iter().filter(|_| resolved.config.agent.scrub) {
        match delivery::follow(session.root, &metadata.facts, |reach| (remains.delete)(reach)) {
            Ok(()) => session.print(&format!("deleted {}", remains.what)),
            Err(failure) => session.warn(format_args!("deleting {}: {failure}", remains.what)),
        }
    }
}

/// After a failure: powers off or reboots if the config says so, so that an autoscaler replaces the machine.
pub(super) fn give_up(session: &Session, on_failure: OnFailure) {
    let verb = match on_failure {
        OnFailure::Nothing => return,
        OnFailure::PowerOff => "poweroff",
        OnFailure::Reboot => "reboot",
    };
    session.print(&format!("the config asks for it: {verb}"));
    notify::send(&format!("STATUS=failed: {verb}"));
    if session.root.is_machine()
        && let Err(failure) = Services::of(session.root).stop_machine(verb)
    {
        session.warn(failure);
    }
}
