//! Tests with a stand-in for the host, because no VMware is available. It answers as vmwgfx_msg.c and
//! message.c expect.

use std::collections::BTreeMap;

use super::*;

/// A host with keys. `fault` makes it fail at a step.
#[derive(Default)]
pub(crate) struct PlayedHost {
    pub(crate) keys: BTreeMap<String, Vec<u8>>,
    pub(crate) refuses_to_set: bool,
    fault: Option<u32>,
    is_open: bool,
    expected: usize,
    command: Vec<u8>,
    answer: Vec<u8>,
    given: usize,
    /// Numbers of opened and closed channels.
    pub(crate) channels: (usize, usize),
}

const COOKIES: (u32, u32) = (0xaaaa_0001, 0xbbbb_0002);
const NUMBER: u32 = 5;

impl PlayedHost {
    pub(crate) fn with(keys: &[(&str, &str)]) -> Self {
        let keys = keys.iter().map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec())).collect();
        Self { keys, ..Self::default() }
    }

    fn execute(&mut self) -> Vec<u8> {
        let command = String::from_utf8(std::mem::take(&mut self.command)).unwrap();
        if let Some(key) = command.strip_prefix("info-get ") {
            return self
                .keys
                .get(key)
                .map_or(b"0 No value found".to_vec(), |value| [b"1 ", &value[..]].concat());
        }
        let Some((key, value)) = command.strip_prefix("info-set ").and_then(|rest| rest.split_once(' '))
        else {
            return b"0 Unknown command".to_vec();
        };
        if self.refuses_to_set {
            return b"0 Disallowed".to_vec();
        }
        self.keys.insert(key.to_owned(), value.as_bytes().to_vec());
        b"1 ".to_vec()
    }

    /// Status and `bx` of a step.
    fn step(&mut self, step: u32, bx: u32) -> (u32, u32) {
        match step {
            1 => {
                (self.expected, self.command) = (bx as usize, Vec::new());
                (SUCCESS, 0)
            }
            2 => {
                let left = (self.expected - self.command.len()).min(4);
                self.command.extend_from_slice(&bx.to_le_bytes()[..left]);
                (SUCCESS, 0)
            }
            3 => {
                assert_eq!(self.command.len(), self.expected, "the command is whole");
                (self.answer, self.given) = (self.execute(), 0);
                (SUCCESS | DATA, u32::try_from(self.answer.len()).unwrap())
            }
            4 => {
                let mut word = [0xee; 4];
                let part = &self.answer[self.given..self.answer.len().min(self.given + 4)];
                word[..part.len()].copy_from_slice(part);
                self.given += part.len();
                (SUCCESS, u32::from_le_bytes(word))
            }
            5 => (SUCCESS, 0),
            6 => {
                self.is_open = false;
                self.channels.1 += 1;
                (SUCCESS, 0)
            }
            other => panic!("no step {other}"),
        }
    }
}

impl Port for PlayedHost {
    fn call(&mut self, registers: Registers) -> Registers {
        assert_eq!((registers.ax, registers.cx & 0xffff, registers.dx & 0xffff), (0x564d_5868, 0x1e, 0x5658));
        let step = registers.cx >> 16;
        if self.fault == Some(step) {
            return Registers { cx: 0, bx: u32::MAX, ..registers };
        }
        if step == 0 {
            assert!(!self.is_open && registers.bx == 0xc943_5052, "one channel at a time, with cookies");
            self.is_open = true;
            self.channels.0 += 1;
            return Registers {
                cx: SUCCESS << 16,
                dx: NUMBER << 16,
                si: COOKIES.0,
                di: COOKIES.1,
                ..registers
            };
        }
        assert!(self.is_open && registers.dx >> 16 == NUMBER && (registers.si, registers.di) == COOKIES);
        let (status, bx) = self.step(step, registers.bx);
        Registers { cx: status << 16, bx, ..registers }
    }
}

#[test]
fn keys_of_a_played_host_are_read_and_written() {
    let long = "x".repeat(70_001);
    let mut host =
        PlayedHost::with(&[("guestinfo.a", "one"), ("guestinfo.empty", ""), ("guestinfo.long", &long)]);
    for (key, expected) in
        [("a", Some("one")), ("empty", None), ("none", None), ("long", Some(long.as_str()))]
    {
        let found = get(&mut host, &format!("guestinfo.{key}")).unwrap();
        assert_eq!(found.as_deref().map(Vec::as_slice), expected.map(str::as_bytes), "{key}");
    }
    set(&mut host, "guestinfo.a", "two words").unwrap();
    assert_eq!(get(&mut host, "guestinfo.a").unwrap().unwrap().as_slice(), b"two words");
    assert_eq!(host.channels, (6, 6), "every channel is closed");
    host.refuses_to_set = true;
    assert!(
        set(&mut host, "guestinfo.a", "x")
            .unwrap_err()
            .message
            .contains("overwriting guestinfo.a")
    );
}

#[test]
fn a_played_host_that_fails_at_any_step_is_a_failure() {
    for fault in 0..=5 {
        let mut host = PlayedHost { fault: Some(fault), ..PlayedHost::with(&[("guestinfo.a", "canary")]) };
        let failure = get(&mut host, "guestinfo.a").unwrap_err();
        assert!(
            failure.kind == ErrorKind::Source && !failure.message.contains("canary"),
            "{fault}: {failure}"
        );
        assert_eq!(host.channels.0, host.channels.1, "{fault}: every channel is closed");
    }
}

#[test]
fn an_answer_that_is_too_long_is_refused() {
    let mut host = PlayedHost::default();
    host.keys.insert("guestinfo.a".to_owned(), vec![b'x'; LIMIT + 1]);
    assert!(get(&mut host, "guestinfo.a").unwrap_err().message.contains("too long"));
}

#[test]
fn answers_are_read() {
    for (answer, expected) in [
        (&b"1 a b"[..], Some(&b"a b"[..])),
        (b"1 ", Some(b"")),
        (b"1", Some(b"")),
        (b"1 a\0", Some(b"a")),
        (b"0 No value found", None),
        (b"", None),
    ] {
        assert_eq!(value(answer), expected);
    }
}

#[test]
fn there_is_no_port_where_the_processor_names_another_hypervisor() {
    assert_eq!(open(&Root::default()).is_some(), is_here());
}
