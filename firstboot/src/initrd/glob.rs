//! Shell patterns as in the kernel's modules.alias: `*`, `?`, `[a-z]`, `[!a-z]`.

/// Whether all of `text` matches `pattern`. In the worst case the time is proportional to the product of
/// their lengths.
pub fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    // Where to continue if the last `*` matched too little: the position after the star, and the text that it
    // has matched.
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            p += 1;
            retry = Some((p, t));
        } else if let Some(width) = matches_one(&pattern[p..], text[t]) {
            p += width;
            t += 1;
        } else if let Some((star, eaten)) = retry {
            (p, t) = (star, eaten + 1);
            retry = Some((star, t));
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

/// The length of the pattern's first element if it matches `byte`.
fn matches_one(pattern: &[u8], byte: u8) -> Option<usize> {
    match *pattern.first()? {
        b'?' => Some(1),
        b'[' => {
            let end = pattern.iter().position(|byte| *byte == b']')?;
            let (set, is_in) = match &pattern[1..end] {
                [b'!' | b'^', set @ ..] if !set.is_empty() => (set, false),
                set => (set, true),
            };
            (in_set(set, byte) == is_in).then_some(end + 1)
        }
        literal => (literal == byte).then_some(1),
    }
}

fn in_set(mut set: &[u8], byte: u8) -> bool {
    while let [low, rest @ ..] = set {
        let (high, rest) = match rest {
            [b'-', high, rest @ ..] => (high, rest),
            _ => (low, rest),
        };
        if (*low..=*high).contains(&byte) {
            return true;
        }
        set = rest;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn matches_device_aliases() {
        assert!(matches("virtio:d00000002v*", "virtio:d00000002v00001AF4"));
        assert!(!matches("virtio:d00000002v*", "virtio:d00000001v00001AF4"));
        assert!(matches(
            "pci:v*d*sv*sd*bc01sc08i02*",
            "pci:v00001B36d00000010sv00001AF4sd00001100bc01sc08i02"
        ));
        assert!(!matches(
            "pci:v*d*sv*sd*bc01sc08i02*",
            "pci:v00001B36d00000010sv00001AF4sd00001100bc01sc06i01"
        ));
        assert!(matches("usb:v0*d[0-1][!x]?", "usb:v05d1!z"));
        assert!(!matches("a[0-4]", "a5") && matches("a[0-4]", "a3"));
        for negated in ["[!S]*", "[^S]*", "[!A-Z]*"] {
            assert!(!matches(negated, "S1") && matches(negated, "b2"), "{negated}");
        }
    }

    #[test]
    fn odd_patterns_end_quickly() {
        assert!(matches("", "") && !matches("", "a") && matches("**", "") && matches("*", "abc"));
        assert!(!matches("[", "[") && !matches("a[0-", "a0") && !matches("[]", "x") && !matches("?", ""));
        let text = "a".repeat(2000);
        assert!(!matches(&format!("{}b", "a*".repeat(200)), &text));
    }
}
