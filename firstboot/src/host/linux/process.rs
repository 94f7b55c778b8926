//! The agent's own process.

/// Disables core dumps of this process for any limits and core pattern of the machine, because a core dump
/// would contain secrets (prctl(2), `PR_SET_DUMPABLE`). Programs that this process starts are not affected.
pub fn keep_out_of_cores() {
    // On Linux this cannot fail.
    let _ = nix::sys::prctl::set_dumpable(false);
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
