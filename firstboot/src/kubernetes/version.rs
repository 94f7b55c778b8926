//! Versions of Kubernetes.

use std::fmt;
use std::str::FromStr;

/// A version such as `v1.36.2`. Anything after a `-` or `+` is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// 1
    pub major: u16,
    /// 36
    pub minor: u16,
    /// 2
    pub patch: u16,
}

impl Version {
    /// Whether this is at least 1.`minor`.
    pub fn at_least(&self, minor: u16) -> bool {
        self.major > 1 || (self.major == 1 && self.minor >= minor)
    }
}

impl FromStr for Version {
    type Err = String;

    /// Reads `v1.36.2`, `1.36.2`, `v1.36.2-rc.1+build`.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("\"{}\" is no Kubernetes version", text.escape_debug());
        let numbers = text.trim().trim_start_matches('v').split(['-', '+']).next().unwrap_or_default();
        let mut parts = numbers.split('.').map(|part| part.parse::<u16>().map_err(|_| wrong()));
        let mut next = || parts.next().unwrap_or_else(|| Err(wrong()));
        let version = Self { major: next()?, minor: next()?, patch: next()? };
        if parts.next().is_some() { Err(wrong()) } else { Ok(version) }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "v{}.{}.{}", self.major, self.minor, self.patch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_versions_and_compares_them() {
        let version: Version = "v1.36.2-eks-1+abc".parse().unwrap();
        assert_eq!(version.to_string(), "v1.36.2");
        assert!(version.at_least(34) && version.at_least(36) && !version.at_least(37));
        assert!("1.9.0".parse::<Version>().unwrap() < "v1.20.2".parse().unwrap());
        for wrong in ["", "v1", "v1.2", "1.2.3.4", "v1.x.2", "stable-1"] {
            assert!(wrong.parse::<Version>().is_err(), "{wrong}");
        }
    }
}
