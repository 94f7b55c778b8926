//! The real port. The hypervisor sees the instruction whether or not the process may use ports. If the host
//! restricts the port, the processor refuses the instruction, so the agent first asks the system for the
//! permission.

use std::arch::asm;
use std::arch::x86_64::__cpuid;

use super::{MAGIC, PORT, Port, Registers};
use crate::host::process;

const GET_VERSION: u32 = 10;

/// The port of this machine.
pub(super) struct Backdoor;

/// CPUID leaf 0x40000000 has the hypervisor's name if leaf 1 reports a hypervisor.
// In older versions of std the instruction is an unsafe function.
#[allow(unsafe_code, unused_unsafe)]
pub(super) fn is_vmware() -> bool {
    // SAFETY: every x86-64 processor has CPUID; it changes nothing.
    let (first, name) = unsafe { (__cpuid(1), __cpuid(0x4000_0000)) };
    let words = [name.ebx, name.ecx, name.edx].map(u32::to_le_bytes);
    first.ecx >> 31 == 1 && words.concat() == b"VMwareVMware"
}

/// `is_vmware_machine`: whether something else than the processor says that this is VMware, which can be set
/// not to name itself there (`hypervisor.cpuid.v0`).
pub(super) fn open(is_vmware_machine: bool) -> Option<Backdoor> {
    let may_try = is_vmware() || is_vmware_machine;
    (may_try && process::may_use_ports(answers)).then_some(Backdoor).filter(|_| answers())
}

fn answers() -> bool {
    Backdoor
        .call(Registers { ax: MAGIC, bx: !MAGIC, cx: GET_VERSION, dx: PORT, ..Registers::default() })
        .bx
        == MAGIC
}

impl Port for Backdoor {
    #[allow(unsafe_code)] // a call to the hypervisor
    fn call(&mut self, registers: Registers) -> Registers {
        let Registers { mut ax, bx, mut cx, mut dx, mut si, mut di } = registers;
        let mut bx = u64::from(bx);
        // SAFETY: `open` makes sure that this is VMware. There the instruction is a call to the hypervisor
        // that reads and writes only these registers; rbx, which the compiler reserves, is restored.
        unsafe {
            asm!(
                "xchg {bx}, rbx",
                "in eax, dx",
                "xchg {bx}, rbx",
                bx = inout(reg) bx,
                inout("eax") ax,
                inout("ecx") cx,
                inout("edx") dx,
                inout("esi") si,
                inout("edi") di,
                options(nostack),
            );
        }
        // The upper half is unused.
        #[allow(clippy::cast_possible_truncation)]
        Registers { ax, bx: bx as u32, cx, dx, si, di }
    }
}
