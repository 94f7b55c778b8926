//! AWS Secrets Manager and the Parameter Store, as far as Cluster API's provider for AWS keeps user data in
//! them: pieces that a boothook in the metadata service names.
//!
//! Requests must have the role's credentials; their signatures are not computed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::http::{Answer, Request};
use crate::template::Values;

/// Where the services are: an address of their own, as `--endpoint-url` of the boothook says.
const ENDPOINT: &str = "http://169.254.169.250";
/// The longest pieces, in bytes.
const SECRET: usize = 7000;
const PARAMETER: usize = 4000;

/// Which service keeps the user data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    SecretsManager,
    ParameterStore,
}

/// A service with the pieces that are left in it.
#[derive(Debug, Clone)]
pub struct Keeper {
    kind: Kind,
    access_key: String,
    session_token: String,
    boothook: String,
    pieces: Arc<Mutex<BTreeMap<String, String>>>,
}

impl Keeper {
    /// The service that the variable `keeper` names, with the user data in it; none if it is absent.
    pub fn of(values: &Values) -> Result<Option<Self>> {
        let value = |name: &str| values.string(&format!("${{{name}}}"));
        let user_data = &values.user_data;
        let kind = match value("keeper")?.as_str() {
            "" => return Ok(None),
            "secrets-manager" => Kind::SecretsManager,
            "parameter-store" => Kind::ParameterStore,
            name => {
                return Err(Error::usage(format!("keeper: nothing is called {name:?}"))
                    .help("set it to secrets-manager or parameter-store"));
            }
        };
        let prefix = "aws.cluster.x-k8s.io/0c9a1b2c-3d4e-5f60-7182-93a4b5c6d7e8";
        let (prefix, pieces): (String, Vec<String>) = match kind {
            // Each secret is encoded by itself, the parameters are pieces of one text.
            Kind::SecretsManager => {
                (prefix.to_owned(), user_data.chunks(SECRET).map(|piece| STANDARD.encode(piece)).collect())
            }
            Kind::ParameterStore => {
                let whole = STANDARD.encode(user_data);
                let pieces = whole.as_bytes().chunks(PARAMETER);
                (
                    format!("/{prefix}"),
                    pieces.map(|piece| String::from_utf8_lossy(piece).into_owned()).collect(),
                )
            }
        };
        let boothook = boothook(kind, &value("region")?, &prefix, pieces.len());
        let separator = if kind == Kind::SecretsManager { '-' } else { '/' };
        let pieces = (0..).zip(pieces).map(|(number, piece)| (format!("{prefix}{separator}{number}"), piece));
        let pieces = Arc::new(Mutex::new(pieces.collect()));
        let (access_key, session_token) = (value("access-key")?, value("session-token")?);
        Ok(Some(Self { kind, access_key, session_token, boothook, pieces }))
    }

    /// The user data of the metadata service.
    pub fn user_data(&self) -> Vec<u8> {
        self.boothook.clone().into_bytes()
    }

    /// The names of the pieces that were not deleted.
    pub fn left(&self) -> Vec<String> {
        self.pieces().keys().cloned().collect()
    }

    /// The answer to a request.
    pub fn answer(&self, request: &Request) -> Answer {
        let authorization = request.header("authorization").unwrap_or_default();
        let service = if self.kind == Kind::SecretsManager { "secretsmanager" } else { "ssm" };
        let is_signed = authorization
            .starts_with(&format!("AWS4-HMAC-SHA256 Credential={}/", self.access_key))
            && authorization.contains(&format!("/{service}/aws4_request, "));
        if !is_signed || request.header("x-amz-security-token") != Some(self.session_token.as_str()) {
            return refused("UnrecognizedClientException");
        }
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let action = request.header("x-amz-target").unwrap_or_default();
        let (key, missing) = match self.kind {
            Kind::SecretsManager => ("SecretId", "ResourceNotFoundException"),
            Kind::ParameterStore => ("Name", "ParameterNotFound"),
        };
        let name = body[key].as_str().unwrap_or_default();
        let mut pieces = self.pieces();
        let Some(piece) = pieces.get(name).cloned() else { return refused(missing) };
        match (self.kind, action) {
            (Kind::SecretsManager, "secretsmanager.GetSecretValue") => {
                said(200, &json!({ "Name": name, "SecretBinary": piece }))
            }
            (Kind::ParameterStore, "AmazonSSM.GetParameter") => {
                said(200, &json!({ "Parameter": { "Name": name, "Type": "SecureString", "Value": piece } }))
            }
            (Kind::SecretsManager, "secretsmanager.DeleteSecret")
            | (Kind::ParameterStore, "AmazonSSM.DeleteParameter") => {
                pieces.remove(name);
                said(200, &json!({}))
            }
            _ => refused("UnknownOperationException"),
        }
    }

    fn pieces(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.pieces.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

fn said(status: u16, body: &Value) -> Answer {
    Answer::of(status, body.to_string()).header("Content-Type", "application/x-amz-json-1.1")
}

fn refused(kind: &str) -> Answer {
    said(400, &json!({ "__type": kind }))
}

/// A message with a script that gets the pieces, and the name of the file that it would write.
fn boothook(kind: Kind, region: &str, prefix: &str, count: usize) -> String {
    let (get, delete) = match kind {
        Kind::SecretsManager => (
            "secretsmanager ${ENDPOINT} --region ${REGION} get-secret-value --output text \
             --query SecretBinary --secret-id ${SECRET_PREFIX}-${i} | base64 -d",
            "secretsmanager ${ENDPOINT} --region ${REGION} delete-secret \
             --force-delete-without-recovery --secret-id ${SECRET_PREFIX}-${i}",
        ),
        Kind::ParameterStore => (
            "ssm ${ENDPOINT} --region ${REGION} get-parameter --output text --with-decryption \
             --query Parameter.Value --name ${SECRET_PREFIX}/${i}",
            "ssm ${ENDPOINT} --region ${REGION} delete-parameter --name ${SECRET_PREFIX}/${i}",
        ),
    };
    format!(
        "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=\"simulated\"\n\n\
         --simulated\nContent-Type: text/cloud-boothook\n\n\
         #cloud-boothook\n#!/bin/bash\n\
         REGION=\"{region}\"\n\
         if [ \"{ENDPOINT}\" != \"\" ]; then\n  ENDPOINT=\"--endpoint-url {ENDPOINT}\"\nfi\n\
         SECRET_PREFIX=\"{prefix}\"\nCHUNKS=\"{count}\"\nFILE=\"/etc/secret-userdata.txt\"\n\
         for i in $(seq 0 $((CHUNKS - 1))); do\n  aws {get} >>\"${{FILE}}.packed\"\n  aws {delete}\ndone\n\
         --simulated\nContent-Type: text/x-include-url\n\nfile:///etc/secret-userdata.txt\n--simulated--\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keeper(name: &str, user_data: &[u8]) -> Result<Option<Keeper>> {
        let texts = [("keeper", name), ("region", "r"), ("access-key", "A"), ("session-token", "T")];
        let texts = texts.map(|(name, text)| (name.to_owned(), text.to_owned())).into();
        Keeper::of(&Values { texts, user_data: user_data.to_vec() })
    }

    fn ask(keeper: &Keeper, action: &str, service: &str, body: Value) -> (u16, Value) {
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let request = Request {
            method: "POST".to_owned(),
            headers: vec![
                header("X-Amz-Target", action),
                header("X-Amz-Security-Token", "T"),
                header(
                    "Authorization",
                    &format!("AWS4-HMAC-SHA256 Credential=A/20260102/r/{service}/aws4_request, x"),
                ),
            ],
            body: body.to_string().into_bytes(),
            ..Request::default()
        };
        let answer = keeper.answer(&request);
        (answer.status, serde_json::from_slice(&answer.body).unwrap())
    }

    #[test]
    fn secrets_are_given_until_they_are_deleted() {
        let keeper = keeper("secrets-manager", &[b'x'; SECRET + 1]).unwrap().unwrap();
        let names = keeper.left();
        assert_eq!(names.len(), 2);
        let id = json!({ "SecretId": names[1] });
        let get = |service| ask(&keeper, "secretsmanager.GetSecretValue", service, id.clone());
        assert_eq!(get("secretsmanager").1["SecretBinary"], STANDARD.encode("x"));
        assert_eq!(get("ssm"), (400, json!({ "__type": "UnrecognizedClientException" })));
        assert_eq!(ask(&keeper, "secretsmanager.DeleteSecret", "secretsmanager", id.clone()).0, 200);
        assert_eq!(get("secretsmanager"), (400, json!({ "__type": "ResourceNotFoundException" })));
        assert_eq!(keeper.left(), names[..1]);
    }

    #[test]
    fn parameters_are_pieces_of_one_text() {
        let keeper = keeper("parameter-store", &[b'x'; PARAMETER]).unwrap().unwrap();
        let whole: String = keeper
            .left()
            .into_iter()
            .map(|name| {
                let answer = ask(&keeper, "AmazonSSM.GetParameter", "ssm", json!({ "Name": name }));
                answer.1["Parameter"]["Value"].as_str().unwrap().to_owned()
            })
            .collect();
        assert_eq!(STANDARD.decode(whole).unwrap(), [b'x'; PARAMETER]);
    }

    #[test]
    fn another_name_is_refused() {
        assert!(keeper("", b"x").unwrap().is_none());
        assert!(keeper("vault", b"x").is_err());
    }
}
