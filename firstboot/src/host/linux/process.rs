//! The agent's own process.

/// From now on a fault leaves no core of this process, whatever limits and pattern the machine has for cores: its secrets
/// would be in it (prctl(2), `PR_SET_DUMPABLE`). Programs that it starts are not affected.
pub fn keep_out_of_cores() {
    // Linux refuses this to no process.
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
