//! The iPXE scripts. None contains a word of the machine but its hardware address, which has a form: iPXE
//! would act on `${…}` and `&&` in any other.

use crate::output::pxe::{INITRD, KERNEL};

/// Leaves iPXE: the firmware goes on with its next boot device.
const NEXT_DEVICE: &str = "exit";

/// What the kernel takes of its command line on x86 (`COMMAND_LINE_SIZE`), without the final zero.
pub(super) const LONGEST_COMMAND_LINE: usize = 2047;

/// The script that is the same for all: it asks again with what iPXE knows of its machine. An `autoexec.ipxe`
/// that led here would end up in the initrd (iPXE issue 1723). Addresses are relative to the script's own.
pub(super) const BOOT: &str = "\
#!ipxe
imgfree autoexec.ipxe ||
isset ${netX/ip} || isset ${netX/ip6} || dhcp || goto failed
:ask
chain --replace --autofree machine.ipxe?mac=${netX/mac:hexhyp}&uuid=${uuid}&serial=${serial:uristring}&arch=${buildarch} || goto failed
:failed
echo Kiln: no script; asking again in 10 seconds
sleep 10
goto ask
";

/// Boots kernel and initrd in the folder `folder` of the server with these arguments. `boot` tells which
/// machine loads them.
pub(super) fn boot(name: &str, folder: &str, arguments: &str, boot: &str) -> String {
    format!(
        "#!ipxe\necho Kiln: {name}\n\
         kernel --name {KERNEL} files/{folder}/{KERNEL}?boot={boot} initrd={INITRD} {arguments} || goto failed\n\
         initrd --name {INITRD} files/{folder}/{INITRD}?boot={boot} || goto failed\n\
         boot || goto failed\n\
         :failed\necho Kiln: loading failed; asking again in 10 seconds\nsleep 10\n\
         imgfree\nchain --replace --autofree boot.ipxe\n"
    )
}

/// Boots the first disk. Firmware for UEFI without that goes on with its next boot device.
pub(super) fn disk(why: &str) -> String {
    format!(
        "#!ipxe\necho Kiln: {why}: booting from disk\nsanboot --no-describe --drive 0x80 || {NEXT_DEVICE}\n"
    )
}

/// Says why the machine gets nothing.
pub(super) fn nothing(why: &str) -> String {
    format!("#!ipxe\necho Kiln: {why}: booting the next device\nsleep 5\n{NEXT_DEVICE}\n")
}

/// Says why the machine gets nothing now, and asks again.
pub(super) fn later(why: &str) -> String {
    format!(
        "#!ipxe\necho Kiln: {why}; asking again in 30 seconds\nsleep 30\nchain --replace --autofree boot.ipxe\n"
    )
}

/// The kernel argument with the interface that booted, as PXELINUX writes it: its kind of hardware in ARP's
/// numbers (1 is Ethernet, 32 InfiniBand), then its address.
pub(super) fn boot_interface(mac: &str) -> String {
    let kind = if mac.len() == "00:".len() * 20 - 1 { "20" } else { "01" };
    format!("BOOTIF={kind}-{}", mac.replace(':', "-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_and_the_initrd_have_the_names_that_old_ipxe_needs() {
        let script = boot("debian-13", "debian-13-pxe", "quiet BOOTIF=01-52", "0a");
        assert!(script.starts_with("#!ipxe\n"));
        let has = |line: &str| script.lines().any(|each| each == line);
        assert!(has(
            "kernel --name vmlinuz files/debian-13-pxe/vmlinuz?boot=0a initrd=initrd quiet BOOTIF=01-52 || goto failed"
        ));
        assert!(has("initrd --name initrd files/debian-13-pxe/initrd?boot=0a || goto failed"));
    }

    #[test]
    fn a_machine_that_gets_nothing_goes_on() {
        assert!(nothing("no config").ends_with("\nexit\n"));
        assert!(disk("it has joined").ends_with("sanboot --no-describe --drive 0x80 || exit\n"));
        assert!(later("busy").ends_with("chain --replace --autofree boot.ipxe\n"));
        assert!(BOOT.starts_with("#!ipxe\n"));
    }

    #[test]
    fn the_interface_that_booted_is_named_as_pxelinux_does() {
        assert_eq!(boot_interface("52:54:00:12:34:56"), "BOOTIF=01-52-54-00-12-34-56");
        assert!(boot_interface(&["ab"; 20].join(":")).starts_with("BOOTIF=20-ab-ab"));
    }
}
