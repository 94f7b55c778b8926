//! The header of programs: System V gABI, "ELF Header".

use std::fmt;
use std::io::{self, Read};

use crate::definition::plan::Arch;

/// The length of the part of the header that tells the machine.
const HEAD: u64 = 20;

const EM_X86_64: u16 = 62;
const EM_AARCH64: u16 = 183;

/// The machine that a program is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Machine {
    /// One that images can be for.
    Known(Arch),
    /// The number of any other: `e_machine`, or `Machine` of a PE image.
    Other(u16),
}

impl fmt::Display for Machine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(arch) => formatter.write_str(arch.name()),
            Self::Other(number) => write!(formatter, "another machine ({number})"),
        }
    }
}

/// The machine that `program` is for; none if it is no program, or one with the bytes of numbers in the order
/// that no known machine has.
///
/// # Errors
/// When reading fails.
pub fn machine(program: impl Read) -> io::Result<Option<Machine>> {
    let mut head = Vec::new();
    program.take(HEAD).read_to_end(&mut head)?;
    let little = head.starts_with(b"\x7fELF") && head.get(5) == Some(&1);
    let bytes = head.get(18..).and_then(|bytes| bytes.try_into().ok()).filter(|_| little);
    Ok(bytes.map(|bytes| match u16::from_le_bytes(bytes) {
        EM_X86_64 => Machine::Known(Arch::Amd64),
        EM_AARCH64 => Machine::Known(Arch::Arm64),
        other => Machine::Other(other),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_of_a_program_is_in_its_header() {
        let of = |order: u8, number: [u8; 2]| {
            let head = [b"\x7fELF\x02".as_slice(), &[order], &[0; 12], &number, b"more"].concat();
            machine(head.as_slice()).unwrap()
        };
        assert_eq!(of(1, [62, 0]), Some(Machine::Known(Arch::Amd64)));
        assert_eq!(of(1, [183, 0]), Some(Machine::Known(Arch::Arm64)));
        assert_eq!(of(1, [1, 1]), Some(Machine::Other(257)));
        assert_eq!(of(2, [0, 62]), None, "big-endian");
        for not in [b"".as_slice(), b"\x7fELF\x02\x01", b"#!/bin/sh\nexec a program"] {
            assert_eq!(machine(not).unwrap(), None);
        }
        let this = std::fs::File::open(std::env::current_exe().unwrap()).unwrap();
        assert_eq!(machine(this).unwrap(), Some(Machine::Known(Arch::OF_THIS_MACHINE)));
    }
}
