//! The rule by which an installation chooses a disk. The agent reads it (docs/install.md); a mistake in it
//! shows here, before a machine has booted.

use contract::disk_rule;

use crate::error::{Error, ErrorKind, Result};

/// Checks a rule that the agent reads and that can stand in a script: one word, on which neither a boot
/// loader nor the kernel acts. `named` is where it is written, and of which kind a mistake is.
///
/// # Errors
/// Of that kind.
pub fn check(rule: &str, named: (&str, ErrorKind)) -> Result<()> {
    let (place, kind) = named;
    let wrong = |why: &str| Error::new(kind, format!("{place} {rule}: {why}"));
    let is_word = rule.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"'$\\#".contains(&byte));
    if !is_word {
        return Err(
            wrong("it is no word of plain letters and marks").help("write ? for a blank in a pattern")
        );
    }
    disk_rule::parse(rule).map(drop).map_err(|why| {
        wrong(&why).help("write conditions with commas between them, such as bus=nvme,size>=100G,smallest")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: (&str, ErrorKind) = ("--install", ErrorKind::Usage);

    #[test]
    fn rules_that_the_agent_reads_are_taken_and_others_named() {
        for rule in [
            "size>=100G,smallest",
            "size>=1.92T,size<=0.5TiB",
            "id=nvme-*",
            "serial=S?1",
            "wwn=0x5000*",
            "model=Samsung?SSD*",
            "path=/dev/vda",
            "bus=virtio,size<=2TiB,largest",
        ] {
            check(rule, PLACE).unwrap();
        }
        for (rule, why) in [
            ("", "a condition is missing"),
            ("smallest,", "a condition is missing"),
            ("smalest", "smallest"),
            ("smallest=1", "no condition"),
            ("smallest,largest", "exclude each other"),
            ("||", "no condition"),
            ("&&", "no condition"),
            ("size=100G", "a comparison"),
            ("size>=much", "a size is a number"),
            ("size>=10X", "a size is a number"),
            ("size>=1.2.3T", "a size is a number"),
            ("size>=.5T", "a size is a number"),
            ("bus=sata", "bus is one of"),
            ("path=vda", "absolute path"),
            ("serial=", "wants a value"),
            ("disk=vda", "no condition \"disk\""),
            ("model=a b", "plain letters"),
            ("id=${x}", "plain letters"),
            ("id=a\nb", "plain letters"),
            ("id=\"x\"", "plain letters"),
            ("größte", "plain letters"),
        ] {
            let error = check(rule, PLACE).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Usage);
            assert!(error.to_string().contains(why), "{rule}: {error}");
        }
    }
}
