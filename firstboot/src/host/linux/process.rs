//! The agent's own process.

#[cfg(target_arch = "x86_64")]
use nix::{
    libc,
    sys::wait::{WaitStatus, waitpid},
    unistd::{ForkResult, fork},
};

/// Disables core dumps of this process for any limits and core pattern of the machine, because a core dump
/// would contain secrets (prctl(2), `PR_SET_DUMPABLE`). Programs that this process starts are not affected.
pub fn keep_out_of_cores() {
    // On Linux this cannot fail.
    let _ = nix::sys::prctl::set_dumpable(false);
}

/// Whether this process may use I/O ports, as `attempt` does, which tells whether it was answered.
///
/// A kernel in lockdown mode lets no process use ports. A hypervisor usually answers anyway, but its settings
/// may forbid it, and then the instruction kills the process. So a child process tries it first.
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)] // a system call that std and nix do not offer
pub(crate) fn may_use_ports(attempt: fn() -> bool) -> bool {
    // SAFETY: it changes a permission of this thread and touches no memory.
    let has_right = unsafe { libc::iopl(3) } == 0;
    has_right || child_survives(attempt)
}

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)] // fork of a process that may have threads
fn child_survives(attempt: fn() -> bool) -> bool {
    // SAFETY: the child executes a few instructions and ends; it allocates nothing and takes no lock.
    match unsafe { fork() } {
        Ok(ForkResult::Child) => {
            let code = i32::from(!attempt());
            // SAFETY: it ends the process at once.
            unsafe { libc::_exit(code) }
        }
        Ok(ForkResult::Parent { child }) => matches!(waitpid(child, None), Ok(WaitStatus::Exited(_, 0))),
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_core_is_left() {
        keep_out_of_cores();
        assert_eq!(nix::sys::prctl::get_dumpable(), Ok(false));
    }
}
