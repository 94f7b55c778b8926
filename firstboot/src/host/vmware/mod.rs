//! VMware's channel from a machine to its host: remote calls through an I/O port that the hypervisor answers
//! ("backdoor"). The commands `info-get KEY` and `info-set KEY VALUE` read and write the machine's
//! `guestinfo` keys (open-vm-tools: lib/include/backdoor_def.h, lib/message/message.c; linux:
//! drivers/gpu/drm/vmwgfx/vmwgfx_msg.c).
//!
//! A call is one instruction with a command in `cx`. A message is sent in steps of four bytes; the faster
//! transfer of whole strings is not used, because the messages are short. On x86-64 only.
//!
//! On Windows a program of VMware Tools sends the same commands where the port does not answer.

use zeroize::Zeroizing;

use crate::document::LIMIT;
use crate::error::{ErrorKind, Failure, Result};
#[cfg(target_arch = "x86_64")]
use crate::host::firmware;
use crate::host::root::Root;
use crate::host::vmware_tools::{self, Tools};

#[cfg(target_arch = "x86_64")]
mod port;

/// `VMXh`
const MAGIC: u32 = 0x564d_5868;
const PORT: u32 = 0x5658;
const MESSAGE: u32 = 0x1e;
/// `RPCI`, with cookies that keep other programs from using the channel.
const RPCI: u32 = 0x4943_5052 | 0x8000_0000;
/// Bits of the status in an answer.
const SUCCESS: u32 = 1;
const DATA: u32 = 2;

/// Steps of a message.
#[derive(Clone, Copy)]
enum Step {
    Open,
    SendSize,
    Send,
    ReceiveSize,
    Receive,
    Received,
    Close,
}

/// The processor's registers, before a call or after it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Registers {
    /// `eax`
    pub ax: u32,
    /// `ebx`
    pub bx: u32,
    /// `ecx`
    pub cx: u32,
    /// `edx`
    pub dx: u32,
    /// `esi`
    pub si: u32,
    /// `edi`
    pub di: u32,
}

/// The hypervisor's port; in tests, a stand-in for the host.
pub trait Port {
    /// Makes one call.
    fn call(&mut self, registers: Registers) -> Registers;
}

/// A way to the host.
pub trait Channel {
    /// Sends one command and returns the answer: `1 ` and the value, or `0 ` and why there is none.
    fn ask(&mut self, command: &str) -> Result<Zeroizing<Vec<u8>>>;
}

impl<P: Port> Channel for P {
    fn ask(&mut self, command: &str) -> Result<Zeroizing<Vec<u8>>> {
        exchange(self, command.as_bytes())
    }
}

/// Whether the hypervisor is VMware's, by the processor's CPUID.
pub fn is_here() -> bool {
    #[cfg(target_arch = "x86_64")]
    return port::is_vmware();
    #[cfg(not(target_arch = "x86_64"))]
    return false;
}

/// This machine's way to its host; none if its hypervisor is another one or does not answer.
pub fn open(root: &Root) -> Option<Box<dyn Channel>> {
    if !root.is_machine() {
        return None;
    }
    #[cfg(target_arch = "x86_64")]
    if let Some(port) = port::open(is_in_firmware(root)) {
        return Some(Box::new(port));
    }
    vmware_tools::tools(root).map(|tools| Box::new(tools) as Box<dyn Channel>)
}

/// Whether the firmware names VMware as the machine's vendor.
#[cfg(target_arch = "x86_64")]
fn is_in_firmware(root: &Root) -> bool {
    firmware::text(root, "sys_vendor").is_some_and(|vendor| vendor.starts_with("VMware"))
}

/// The value of a key; none if it has none or an empty one.
pub fn get(channel: &mut dyn Channel, key: &str) -> Result<Option<Zeroizing<Vec<u8>>>> {
    let answer = channel
        .ask(&format!("info-get {key}"))
        .map_err(|failure| failure.doing(format!("reading {key}")))?;
    Ok(value(&answer)
        .filter(|value| !value.is_empty())
        .map(|value| Zeroizing::new(value.to_vec())))
}

/// Sets the value of a key. Keys cannot be removed.
pub fn set(channel: &mut dyn Channel, key: &str, text: &str) -> Result<()> {
    let doing = |failure: Failure| failure.doing(format!("overwriting {key}"));
    let answer = channel.ask(&format!("info-set {key} {text}")).map_err(doing)?;
    let refused = || {
        doing(
            failed("the host refuses")
                .help("isolation.tools.setInfo.disable of the virtual machine may forbid it"),
        )
    };
    value(&answer).map(drop).ok_or_else(refused)
}

/// The text after `1 ` in an answer; none after `0 `, which means that there is no value.
pub fn value(answer: &[u8]) -> Option<&[u8]> {
    let value = answer.strip_prefix(b"1")?;
    let value = value.strip_prefix(b" ").unwrap_or(value);
    Some(value.strip_suffix(b"\0").unwrap_or(value))
}

impl Channel for Tools {
    fn ask(&mut self, command: &str) -> Result<Zeroizing<Vec<u8>>> {
        Self::ask(self, command)
    }
}

/// A conversation by the port, which the host opened.
struct Conversation<'a> {
    port: &'a mut dyn Port,
    number: u32,
    cookies: (u32, u32),
}

fn failed(what: &str) -> Failure {
    Failure::new(ErrorKind::Source, format!("VMware's channel to the host: {what}"))
}

/// Sends one command and returns the answer.
fn exchange(port: &mut dyn Port, command: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
    let opened = port.call(Registers {
        ax: MAGIC,
        bx: RPCI,
        cx: MESSAGE | (Step::Open as u32) << 16,
        dx: PORT,
        si: 0,
        di: 0,
    });
    if opened.cx >> 16 & SUCCESS == 0 {
        return Err(failed("it does not open"));
    }
    let mut conversation =
        Conversation { port, number: opened.dx & 0xffff_0000, cookies: (opened.si, opened.di) };
    let answer = conversation.send(command).and_then(|()| conversation.receive());
    conversation.call(Step::Close, 0);
    answer
}

impl Conversation<'_> {
    fn call(&mut self, step: Step, bx: u32) -> Registers {
        let (si, di) = self.cookies;
        self.port.call(Registers {
            ax: MAGIC,
            bx,
            cx: MESSAGE | (step as u32) << 16,
            dx: PORT | self.number,
            si,
            di,
        })
    }

    /// A call that must succeed.
    fn succeed(&mut self, step: Step, bx: u32, what: &str) -> Result<Registers> {
        let answer = self.call(step, bx);
        if answer.cx >> 16 & SUCCESS == 0 { Err(failed(what)) } else { Ok(answer) }
    }

    fn send(&mut self, command: &[u8]) -> Result<()> {
        let length = u32::try_from(command.len()).map_err(|_| failed("the command is too long"))?;
        self.succeed(Step::SendSize, length, "it takes no command")?;
        for part in command.chunks(4) {
            let mut word = [0; 4];
            word[..part.len()].copy_from_slice(part);
            self.succeed(Step::Send, u32::from_le_bytes(word), "it does not take the whole command")?;
        }
        Ok(())
    }

    fn receive(&mut self) -> Result<Zeroizing<Vec<u8>>> {
        let size = self.succeed(Step::ReceiveSize, 0, "there is no answer")?;
        if size.cx >> 16 & DATA == 0 {
            return Err(failed("there is no answer"));
        }
        // Two bytes precede the value.
        let length = usize::try_from(size.bx)
            .ok()
            .filter(|length| *length <= LIMIT + 2)
            .ok_or_else(|| failed("the answer is too long"))?;
        let mut answer = Zeroizing::new(vec![0; length]);
        for part in answer.chunks_mut(4) {
            let word = self.succeed(Step::Receive, SUCCESS, "the answer is cut off")?.bx.to_le_bytes();
            let length = part.len();
            part.copy_from_slice(&word[..length]);
        }
        self.succeed(Step::Received, SUCCESS, "the end of the answer is not taken note of")?;
        Ok(answer)
    }
}

#[cfg(test)]
#[path = "tests.rs"]
pub(crate) mod tests;
