//! The kernel arguments of an installation, with their rule for the disk.
#![no_main]

use firstboot::evidence::CommandLine;
use firstboot::install::Request;
use firstboot::install::rule::Rule;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Err(why) = Rule::parse(text) {
        assert!(!why.contains(char::is_control) && why.len() < 1000);
    }
    let line = CommandLine::parse(&format!("firstboot.install={text}"));
    if let Err(failure) = Request::of_command_line(&line) {
        assert!(!failure.message.contains(char::is_control));
    }
});
