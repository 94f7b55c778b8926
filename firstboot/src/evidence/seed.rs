//! NoCloud's seed: `ds=nocloud;s=URL;h=HOSTNAME;i=INSTANCE-ID`, a word of the kernel command line or of the
//! firmware's serial number (<https://docs.cloud-init.io/en/latest/reference/datasources/nocloud.html>).

/// Longest part that is taken.
const LONGEST: usize = 2048;

/// Contents of such a word.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seed {
    /// `s=`: a folder with `meta-data` and `user-data` in it.
    pub url: Option<String>,
    /// `h=`
    pub hostname: Option<String>,
    /// `i=`
    pub instance_id: Option<String>,
}

impl Seed {
    /// The seed that the firmware's serial number names among its words.
    pub fn in_serial(serial: &str) -> Option<Self> {
        serial.split_whitespace().find_map(Self::parse)
    }

    /// Reads one word; none when it is no such word. Unknown keys are left out; of several equal keys
    /// the first counts.
    pub fn parse(word: &str) -> Option<Self> {
        let mut parts = word.split(';');
        if !matches!(parts.next()?, "ds=nocloud" | "ds=nocloud-net") {
            return None;
        }
        let mut seed = Self::default();
        for (key, value) in parts.filter_map(|part| part.split_once('=')) {
            let place = match key {
                "s" | "seedfrom" => &mut seed.url,
                "h" | "local-hostname" => &mut seed.hostname,
                "i" | "instance-id" => &mut seed.instance_id,
                _ => continue,
            };
            let value = Some(value).filter(|value| {
                !value.is_empty() && value.len() <= LONGEST && !value.contains(char::is_control)
            });
            *place = place.take().or(value.map(str::to_owned));
        }
        Some(seed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read() {
        let seed = |url: &str, hostname: &str, id: &str| {
            let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
            Some(Seed { url: some(url), hostname: some(hostname), instance_id: some(id) })
        };
        for (word, expected) in [
            ("ds=nocloud", seed("", "", "")),
            ("ds=nocloud-net;s=https://h/a/", seed("https://h/a/", "", "")),
            ("ds=nocloud;s=https://h/?a=b;h=n1;i=7;x=y;;z", seed("https://h/?a=b", "n1", "7")),
            ("ds=nocloud;seedfrom=https://h;local-hostname=n1;instance-id=7", seed("https://h", "n1", "7")),
            ("ds=nocloud;h=;h=a;h=b", seed("", "a", "")),
            ("ds=nocloud;i=a\u{1b}b", seed("", "", "")),
            ("ds=nocloudy", None),
            ("xds=nocloud", None),
            ("ds=nocloud,s=x", None),
            ("ds=ec2;s=nocloud", None),
            ("", None),
        ] {
            assert_eq!(Seed::parse(word), expected, "{word}");
        }
    }
}
