//! The kubelet's client certificate: a CertificateSigningRequest, posted once and watched until it is
//! answered (<https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/>).
//!
//! The request's name follows from the node's name and key, so an interrupted agent finds its own request
//! again.

use std::ops::ControlFlow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::Deserialize;
use serde_json::{Value, json};
use x509_cert::der::oid::db::rfc5280::ID_KP_CLIENT_AUTH;
use x509_cert::der::pem::{LineEnding, encode_string};
use x509_cert::der::{Decode, DecodePem, Encode};
use x509_cert::ext::pkix::ExtendedKeyUsage;
use x509_cert::request::CertReq;
use x509_cert::{Certificate, TbsCertificate};

use crate::error::{ErrorKind, Failure, Result};
use crate::join::identity::node_name;
use crate::kubernetes::client::Client;
use crate::net::retry::{self, Backoff};
use crate::net::{Deadline, Error};

const REQUESTS: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
/// Number of hexadecimal digits in a request's name.
const NAME_DIGITS: usize = 32;
/// Limit on the certificates of an issued chain.
const LONGEST_CHAIN: usize = 16;

/// The certificate that the kubelet would request: `csr` is its PKCS #10 request as PEM.
pub struct CertificateRequest {
    name: String,
    node: String,
    csr: String,
    public_key: Vec<u8>,
}

/// The fields of a CertificateSigningRequest that are used.
#[derive(Debug, Deserialize)]
struct Object {
    metadata: Metadata,
    spec: Option<Spec>,
    status: Option<Status>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    resource_version: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Spec {
    request: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Status {
    certificate: Option<String>,
    conditions: Option<Vec<Condition>>,
}

#[derive(Debug, Deserialize)]
struct Condition {
    r#type: String,
    reason: Option<String>,
    message: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Event {
    r#type: String,
    object: Value,
}

/// The state of the request.
enum Seen {
    /// The issued chain, as PEM.
    Issued(String),
    /// No certificate yet, approved or not, at this resource version.
    Waiting(String),
}

impl CertificateRequest {
    /// Prepares the request of `node` with the PKCS #10 request `csr` (PEM).
    pub fn new(node: &str, csr: &str) -> Result<Self> {
        let public_key =
            public_key_of_request(csr.as_bytes()).map_err(|why| Failure::new(ErrorKind::Internal, why))?;
        let mut hashed = node.as_bytes().to_vec();
        hashed.push(b'|');
        hashed.extend_from_slice(&public_key);
        let hash = crate::text::hex(digest::digest(&digest::SHA256, &hashed).as_ref());
        Ok(Self {
            name: format!("firstboot-{}", &hash[..NAME_DIGITS]),
            node: node.to_owned(),
            csr: csr.to_owned(),
            public_key,
        })
    }

    /// The name of the object in the API.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Posts the request and waits until the certificate is there: the chain, as PEM, for the key of the
    /// request.
    pub fn submit(&self, client: &mut Client, deadline: Deadline, backoff: &mut Backoff) -> Result<String> {
        let mut look = self.post(client, deadline, backoff)?;
        loop {
            let version = match self.judge(&look)? {
                Seen::Issued(chain) => return Ok(chain),
                Seen::Waiting(version) => version,
            };
            let error = match self.watch(client, &version, deadline) {
                Ok(Some(outcome)) => return outcome,
                Ok(None) if deadline.has_passed() => return Err(self.pending(deadline)),
                Ok(None) => Failure::new(ErrorKind::Pending, "the watch ended").transient().into(),
                Err(error) => error,
            };
            // The stream broke. The answer may have come meanwhile, so look again.
            self.wait(error, deadline, backoff)?;
            look = self.look(client, deadline, backoff)?;
        }
    }

    /// The object after the POST. If it exists already, an earlier run made it.
    fn post(&self, client: &mut Client, deadline: Deadline, backoff: &mut Backoff) -> Result<Value> {
        loop {
            match client.post(REQUESTS, &self.object(), deadline) {
                Ok(answer) => return answer.json(),
                Err(error) if error.is_conflict() => {
                    match client.get(&format!("{REQUESTS}/{}", self.name), deadline) {
                        Ok(answer) => return answer.json(),
                        Err(error) if error.is_missing() => {} // cleaned up between the two: post it again
                        Err(error) => retry::pause(deadline, backoff, error)?,
                    }
                }
                Err(error) => retry::pause(deadline, backoff, error).map_err(Self::refused)?,
            }
            if deadline.has_passed() {
                return Err(self.pending(deadline));
            }
        }
    }

    fn look(&self, client: &mut Client, deadline: Deadline, backoff: &mut Backoff) -> Result<Value> {
        loop {
            match client.get(&format!("{REQUESTS}/{}", self.name), deadline) {
                Ok(answer) => return answer.json(),
                Err(error) if error.is_missing() => return self.post(client, deadline, backoff),
                Err(error) => self.wait(error, deadline, backoff)?,
            }
        }
    }

    /// All three usages: a server before 1.25 requires them, a newer one accepts them.
    fn object(&self) -> Value {
        json!({
            "apiVersion": "certificates.k8s.io/v1",
            "kind": "CertificateSigningRequest",
            "metadata": {"name": self.name},
            "spec": {
                "request": STANDARD.encode(&self.csr),
                "signerName": "kubernetes.io/kube-apiserver-client-kubelet",
                "usages": ["digital signature", "key encipherment", "client auth"],
            },
        })
    }

    fn watch(
        &self,
        client: &mut Client,
        version: &str,
        deadline: Deadline,
    ) -> std::result::Result<Option<Result<String>>, Error> {
        // A little longer than the agent waits, so that the server does not end the watch first.
        let seconds = deadline.remaining().as_secs() + 1;
        let path = format!(
            "{REQUESTS}?fieldSelector=metadata.name%3D{}&resourceVersion={version}&timeoutSeconds={seconds}&watch=true",
            self.name
        );
        client
            .watch(&path, deadline, |line| match self.event(line) {
                Ok(None) => ControlFlow::Continue(()),
                Ok(Some(chain)) => ControlFlow::Break(Ok(chain)),
                Err(failure) => ControlFlow::Break(Err(failure)),
            })
            .and_then(|outcome| match outcome {
                Some(Err(failure)) if failure.transient => Err(failure.into()),
                outcome => Ok(outcome),
            })
    }

    /// Reads one line of the watch: a certificate, nothing yet, or a failure. After a transient failure the
    /// caller looks again.
    pub fn event(&self, line: &[u8]) -> Result<Option<String>> {
        let again = |what: &str| {
            Failure::new(
                ErrorKind::Unreachable,
                format!("watching the certificate request {}: {what}", self.name),
            )
            .transient()
        };
        let event: Event = serde_json::from_slice(line).map_err(|_| again("an event cannot be read"))?;
        match event.r#type.as_str() {
            "ADDED" | "MODIFIED" => match self.judge(&event.object)? {
                Seen::Issued(chain) => Ok(Some(chain)),
                Seen::Waiting(_) => Ok(None),
            },
            "BOOKMARK" => Ok(None),
            "DELETED" => Err(again("it was deleted")),
            _ => Err(again("the server ends the watch")),
        }
    }

    /// The state of the object with our name.
    fn judge(&self, object: &Value) -> Result<Seen> {
        let object = Object::deserialize(object).map_err(|_| {
            Failure::new(
                ErrorKind::Unreachable,
                format!("the certificate request {}: the answer is not what an API server sends", self.name),
            )
        })?;
        let request = object.spec.and_then(|spec| spec.request).and_then(|text| STANDARD.decode(text).ok());
        let theirs = request.and_then(|pem| public_key_of_request(&pem).ok());
        if theirs.is_some_and(|key| key != self.public_key) {
            return Err(Failure::new(
                ErrorKind::Refused,
                format!("there is another certificate request of the name {}", self.name),
            ));
        }
        let status = object.status.unwrap_or(Status { certificate: None, conditions: None });
        for condition in status.conditions.unwrap_or_default() {
            if condition.r#type == "Denied" || condition.r#type == "Failed" {
                return Err(self.denied(&condition));
            }
        }
        match status.certificate.filter(|text| !text.is_empty()) {
            Some(text) => self.chain(&text).map(Seen::Issued).map_err(|why| {
                Failure::new(
                    ErrorKind::Refused,
                    format!("the certificate issued for the request {}: {why}", self.name),
                )
            }),
            None => Ok(Seen::Waiting(object.metadata.resource_version.unwrap_or_default())),
        }
    }

    fn denied(&self, condition: &Condition) -> Failure {
        let part = |text: &Option<String>| {
            text.as_deref().map(crate::text::one_line).filter(|text| !text.is_empty())
        };
        let why: Vec<_> = [part(&condition.reason), part(&condition.message)].into_iter().flatten().collect();
        let what = if condition.r#type == "Denied" { "was denied" } else { "failed" };
        let why = if why.is_empty() { "no reason is given".to_owned() } else { why.join(": ") };
        Failure::new(ErrorKind::Refused, format!("the certificate request {} {what}: {why}", self.name))
            .help("see kubectl get csr; a new try needs a new key: firstboot reset")
    }

    /// The chain, if its first certificate is for our key and our node. Nothing else of the answer is kept.
    fn chain(&self, base64: &str) -> std::result::Result<String, &'static str> {
        let text = STANDARD
            .decode(base64)
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .ok_or("it is not PEM")?;
        let chain = CertificateDer::pem_slice_iter(text.as_bytes())
            .take(LONGEST_CHAIN)
            .collect::<std::result::Result<Vec<_>, _>>();
        let chain = chain.map_err(|_| "it is not PEM")?;
        let own = chain.first().ok_or("it holds no certificate")?;
        let own = Certificate::from_der(own).map_err(|_| "it cannot be read")?.tbs_certificate;
        if own.subject_public_key_info.to_der().ok().as_deref() != Some(&self.public_key) {
            return Err("it is for another key");
        }
        if node_name(&own.subject).as_deref() != Some(&self.node) {
            return Err("it is not for this node");
        }
        if !is_for_clients(&own) {
            return Err("it is not for a client");
        }
        chain.iter().map(|certificate| pem(certificate)).collect()
    }

    fn wait(&self, error: Error, deadline: Deadline, backoff: &mut Backoff) -> Result<()> {
        let transient = error.failure.transient;
        retry::pause(deadline, backoff, error)
            .map_err(|failure| if transient { self.pending_after(deadline, &failure) } else { failure })
    }

    fn refused(failure: Failure) -> Failure {
        if failure.kind != ErrorKind::Credential {
            return failure;
        }
        failure.help("the token may not request a node's certificate: it needs the usage authentication and kubeadm's default group")
    }

    fn pending(&self, deadline: Deadline) -> Failure {
        let seconds = deadline.elapsed().as_secs();
        Failure::new(
            ErrorKind::Pending,
            format!(
                "the certificate request {} was neither approved nor denied within {seconds} s",
                self.name
            ),
        )
        .help(format!("approve it: kubectl certificate approve {}", self.name))
        .transient()
    }

    fn pending_after(&self, deadline: Deadline, last: &Failure) -> Failure {
        let mut failure = self.pending(deadline);
        if last.kind != ErrorKind::Pending {
            failure.message = format!("{}; the last look at it: {}", failure.message, last.message);
        }
        failure
    }
}

fn is_for_clients(certificate: &TbsCertificate) -> bool {
    let usages = certificate.get::<ExtendedKeyUsage>().ok().flatten();
    usages.is_some_and(|(_, usages)| usages.0.contains(&ID_KP_CLIENT_AUTH))
}

fn pem(certificate: &CertificateDer<'_>) -> std::result::Result<String, &'static str> {
    encode_string("CERTIFICATE", LineEnding::LF, certificate).map_err(|_| "it cannot be written")
}

/// The SubjectPublicKeyInfo (DER) of a PKCS #10 request (PEM).
pub fn public_key_of_request(pem: &[u8]) -> std::result::Result<Vec<u8>, &'static str> {
    let request = CertReq::from_pem(pem).map_err(|_| "the certificate request is not PKCS #10")?;
    request
        .info
        .public_key
        .to_der()
        .map_err(|_| "the certificate request's public key cannot be written")
}

#[cfg(test)]
#[path = "certificate_request_tests.rs"]
mod tests;
