//! User namespaces, with which a plain user builds an image, and hosts that refuse them.

use std::fs;
use std::path::Path;
use std::process::Command;

use nix::unistd::geteuid;

use crate::error::{Error, Result};
use crate::process::{Run, tool};

/// Set where AppArmor takes all rights from a namespace, unless its program has a profile that allows it
/// (AppArmor 4): `unshare(2)` works, and writing `uid_map` fails.
const BY_PROFILE: &str = "proc/sys/kernel/apparmor_restrict_unprivileged_userns";

/// A program as root of a user namespace.
pub fn as_root(name: &str) -> Command {
    let mut command = tool("unshare");
    command.args(["--map-root-user", "--", name]);
    command
}

/// Makes a namespace unless this user is root, so that a host that refuses them is found before anything is
/// built.
///
/// # Errors
/// [`crate::error::ErrorKind::Tool`], with what this host has to allow.
pub fn check() -> Result<()> {
    if geteuid().is_root() { Ok(()) } else { made(&mut as_root("true")) }
}

fn made(probe: &mut Command) -> Result<()> {
    probe.run("util-linux").map(drop).map_err(explain)
}

/// The error of a program that [`as_root`] should have started, with what this host has to allow if it
/// refused the namespace.
pub fn explain(error: Error) -> Error {
    if error.message().contains("\nunshare: ") { error.help(advice()) } else { error }
}

/// What this host has to allow.
pub fn advice() -> String {
    let kiln = std::env::current_exe().unwrap_or_else(|_| "/usr/local/bin/kiln".into());
    advice_on(Path::new("/"), &kiln)
}

fn advice_on(root: &Path, kiln: &Path) -> String {
    let is_by_profile = fs::read_to_string(root.join(BY_PROFILE)).is_ok_and(|value| value.trim() == "1");
    if !is_by_profile {
        return "allow user namespaces (sysctl user.max_user_namespaces=15000 kernel.unprivileged_userns_clone=1, \
                and the limits of the container that kiln runs in), or run kiln as root"
            .to_owned();
    }
    format!(
        "allow user namespaces: AppArmor leaves them to programs with a profile here. As root, give kiln one:\n    \
         echo 'abi <abi/4.0>, profile kiln \"{}\" flags=(unconfined) {{ userns, }}' > /etc/apparmor.d/kiln\n    \
         apparmor_parser -r /etc/apparmor.d/kiln\n  \
         or allow them to all programs (sysctl kernel.apparmor_restrict_unprivileged_userns=0), or run kiln as root",
        kiln.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The kernel refuses to map root for a program without CAP_SETFCAP (user_namespaces(7)), at the same
    /// call and with the same error as AppArmor does.
    #[test]
    fn a_namespace_whose_map_the_kernel_refuses_says_what_to_allow() {
        let name = "a_namespace_whose_map_the_kernel_refuses_says_what_to_allow";
        if let Err(error) = made(&mut as_root("true")) {
            return testkit::not_run(name, error.message());
        }
        let mut probe = as_root("setpriv");
        probe.args(["--bounding-set=-setfcap", "--inh-caps=-setfcap", "unshare", "--map-root-user", "true"]);
        let error = made(&mut probe).unwrap_err();
        assert!(error.message().contains("uid_map: Operation not permitted"), "{error}");
        assert_eq!(error.hint(), Some(advice().as_str()));
    }

    #[test]
    fn the_advice_is_about_what_this_host_restricts() {
        let root = tempfile::tempdir().unwrap();
        let switch = root.path().join(BY_PROFILE);
        fs::create_dir_all(switch.parent().unwrap()).unwrap();
        let advice = || advice_on(root.path(), Path::new("/opt/my tools/kiln"));
        let general = advice();
        assert!(general.contains("user.max_user_namespaces") && !general.contains("AppArmor"), "{general}");
        fs::write(&switch, "0\n").unwrap();
        assert_eq!(advice(), general);
        fs::write(&switch, "1\n").unwrap();
        let profile =
            "profile kiln \"/opt/my tools/kiln\" flags=(unconfined) { userns, }' > /etc/apparmor.d/kiln";
        assert!(advice().contains(profile), "{}", advice());
        assert!(advice().contains("sysctl kernel.apparmor_restrict_unprivileged_userns=0"), "{}", advice());
    }
}
