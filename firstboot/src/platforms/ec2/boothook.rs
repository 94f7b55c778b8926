//! The script by which Cluster API's provider for AWS delivers user data: it gets pieces from Secrets Manager
//! or the Parameter Store, and joins them. Nothing of it is run: its assignments say where the pieces are.
//! (<https://github.com/kubernetes-sigs/cluster-api-provider-aws>, `secret_fetch_script.go`)

/// The most pieces: a piece of the Parameter Store holds 4 KiB, user data at most 1 MiB.
const PIECES: usize = 256;

/// A service that keeps the pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keeper {
    SecretsManager,
    ParameterStore,
}

/// Where the pieces are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pieces {
    pub keeper: Keeper,
    pub region: String,
    pub prefix: String,
    pub count: usize,
    /// The service's URL, where it is not the region's.
    pub endpoint: Option<String>,
}

impl Pieces {
    /// The names of the pieces, in order.
    pub fn names(&self) -> impl Iterator<Item = String> + '_ {
        let separator = match self.keeper {
            Keeper::SecretsManager => '-',
            Keeper::ParameterStore => '/',
        };
        (0..self.count).map(move |number| format!("{}{separator}{number}", self.prefix))
    }
}

/// The pieces that a boothook names; none for any other script, an error for one whose values cannot be.
pub(super) fn read(script: &[u8]) -> Result<Option<Pieces>, &'static str> {
    let Ok(script) = std::str::from_utf8(script) else { return Ok(None) };
    let keeper = match (script.contains("get-secret-value"), script.contains("get-parameter")) {
        (true, false) => Keeper::SecretsManager,
        (false, true) => Keeper::ParameterStore,
        _ => return Ok(None),
    };
    let (Some(region), Some(prefix), Some(count)) =
        (assigned(script, "REGION"), assigned(script, "SECRET_PREFIX"), assigned(script, "CHUNKS"))
    else {
        return Ok(None);
    };
    let is_name = |text: &str, others: &[u8]| {
        (1..=512).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || others.contains(&byte))
    };
    if !is_name(region, b"-") {
        return Err("the region is no name");
    }
    if !is_name(prefix, b"/_+=.@-") {
        return Err("the prefix of the secrets is no name");
    }
    let count = count.parse().ok().filter(|count| (1..=PIECES).contains(count));
    let endpoint = assigned(script, "ENDPOINT")
        .and_then(|option| option.strip_prefix("--endpoint-url "))
        .map(|url| url.trim().to_owned())
        .filter(|url| !url.is_empty());
    Ok(Some(Pieces {
        keeper,
        region: region.to_owned(),
        prefix: prefix.to_owned(),
        count: count.ok_or("the number of secrets is not 1 to 256")?,
        endpoint,
    }))
}

/// The text that the script assigns to a variable: `NAME="text"` at the beginning of a line.
fn assigned<'a>(script: &'a str, name: &str) -> Option<&'a str> {
    script.lines().find_map(|line| {
        let value = line.trim().strip_prefix(name)?.strip_prefix('=')?;
        let value = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value);
        Some(value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(get: &str, region: &str, prefix: &str, count: &str, endpoint: &str) -> String {
        format!(
            "#cloud-boothook\n#!/bin/bash\nREGION=\"{region}\"\nif [ \"{endpoint}\" != \"\" ]; then\n  \
             ENDPOINT=\"--endpoint-url {endpoint}\"\nfi\nSECRET_PREFIX=\"{prefix}\"\nCHUNKS=\"{count}\"\n\
             data=$(aws {get} ${{ENDPOINT}} --region ${{REGION}})\n"
        )
    }

    #[test]
    fn a_script_says_where_the_pieces_are() {
        let text = script("secretsmanager get-secret-value", "eu-west-1", "aws.cluster.x-k8s.io/a", "2", "");
        let pieces = read(text.as_bytes()).unwrap().unwrap();
        assert_eq!((pieces.keeper, pieces.endpoint.as_deref()), (Keeper::SecretsManager, None));
        assert_eq!(
            pieces.names().collect::<Vec<_>>(),
            ["aws.cluster.x-k8s.io/a-0", "aws.cluster.x-k8s.io/a-1"]
        );
        let text = script("ssm get-parameter", "eu-west-1", "/a/b", "1", "https://ssm.example");
        let pieces = read(text.as_bytes()).unwrap().unwrap();
        assert_eq!(
            (pieces.keeper, pieces.endpoint.as_deref()),
            (Keeper::ParameterStore, Some("https://ssm.example"))
        );
        assert_eq!(pieces.names().collect::<Vec<_>>(), ["/a/b/0"]);
    }

    #[test]
    fn other_scripts_name_none_and_wrong_values_are_errors() {
        assert_eq!(read(b"#cloud-boothook\n#!/bin/sh\nREGION=a\nhostname x\n"), Ok(None));
        assert_eq!(read(b"aws secretsmanager get-secret-value --secret-id x\n"), Ok(None));
        assert_eq!(read(b"\xff"), Ok(None));
        for (region, prefix, count) in [
            ("eu-west-1.attacker.example/", "a", "1"),
            ("", "a", "1"),
            ("eu-west-1", "a\\\"b", "1"),
            ("eu-west-1", "$(id)", "1"),
            ("eu-west-1", "a", "0"),
            ("eu-west-1", "a", "257"),
            ("eu-west-1", "a", "-1"),
        ] {
            let text = script("secretsmanager get-secret-value", region, prefix, count, "");
            assert!(read(text.as_bytes()).is_err(), "{region} {prefix} {count}");
        }
    }
}
