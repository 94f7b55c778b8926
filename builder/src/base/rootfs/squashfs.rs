//! A squashfs, by way of a tar: `sqfs2tar` writes one without being root, with owners and extended
//! attributes.
//! The Rust libraries read no extended attributes, and unsquashfs needs root for owners.

use std::process::Stdio;

use super::{Container, Source};
use crate::archive;
use crate::error::{Error, ErrorKind, Result};
use crate::process::{self, Run, tool};
use crate::tree::Tree;

pub(super) const CONTAINER: Container = Container { name: "a squashfs", is, read };

/// The package of the tool.
const PACKAGE: &str = "squashfs-tools-ng";

fn is(head: &[u8]) -> bool {
    head.starts_with(b"hsqs")
}

pub(super) fn read(source: &Source<'_>) -> Result<Tree> {
    let mut command = tool("sqfs2tar");
    command.arg("--no-skip").arg(source.path).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.start(PACKAGE)?;
    let pipes = child.stdout.take().zip(child.stderr.take());
    let (mut stdout, stderr) =
        pipes.ok_or_else(|| Error::new(ErrorKind::Internal, "sqfs2tar was started without pipes"))?;
    std::thread::scope(|scope| {
        let said = scope.spawn(move || process::tail(stderr));
        let tar = archive::spool(&mut stdout, source.path, source.title, source.spool);
        drop(stdout);
        let said = said.join().unwrap_or_default();
        let status = child
            .wait()
            .map_err(|error| Error::new(ErrorKind::Tool, format!("waiting for sqfs2tar: {error}")))?;
        // A tar that is too long closes the pipe, so its error is the cause.
        let tar = tar?;
        process::check(&command, status, said.as_bytes()).map_err(|error| {
            error.context(format!("reading {}", source.title)).help("check where the file comes from")
        })?;
        archive::root(&tar, source.title)
    })
}
