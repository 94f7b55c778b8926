//! `firstboot`: the agent of a Kiln image, and the `/init` of its initrd.

use std::process::ExitCode;

fn main() -> ExitCode {
    #[cfg(target_os = "linux")]
    if firstboot::initrd::is_init() {
        firstboot::initrd::main();
    }
    firstboot::commands::main(std::env::args_os())
}
