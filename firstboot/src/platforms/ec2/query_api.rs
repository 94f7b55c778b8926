//! AWS's Query API: a form, signed with the credentials of the instance's role
//! (<https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-metadata-security-credentials.html>).

use serde::Deserialize;

use super::sigv4::{self, Credentials, Scope};
use super::{ADDRESSES, PROTOCOL};
use crate::error::{ErrorKind, Failure, Result};
use crate::net::Error;
use crate::net::http::{self, Method, Reply, Request};
use crate::net::service::Service;
use crate::net::url::{Url, shown};
use crate::reporter::{ReportContext, ReportTarget, form, xml};
use crate::secret::Secret;

/// Where the roles of an instance are listed, and below it their credentials.
const ROLES: &str = "/latest/meta-data/iam/security-credentials/";
const CONTENT_TYPE: &str = "application/x-www-form-urlencoded; charset=utf-8";
/// Errors whose message holds only names. Others may repeat the request, with the session's token in it.
const TELLING: &[&str] =
    &["ValidationError", "AccessDenied", "AccessDeniedException", "UnauthorizedOperation"];
/// Temporary errors.
const PASSING: &[&str] =
    &["Throttling", "ThrottlingException", "RequestLimitExceeded", "ServiceUnavailable", "InternalFailure"];

/// One action of an API.
pub(super) struct Action<'a> {
    /// The service's name in its endpoints and in signatures.
    pub service: &'static str,
    /// The API's version.
    pub version: &'static str,
    /// The action.
    pub name: &'static str,
    /// Its parameters.
    pub parameters: Vec<(&'static str, &'a str)>,
}

/// An API's error.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// `ValidationError`
    pub code: String,
    /// Empty where it might hold more than names.
    pub message: String,
}

impl Action<'_> {
    /// The form.
    pub fn body(&self) -> String {
        let fields = [("Action", self.name), ("Version", self.version)];
        form(&fields.into_iter().chain(self.parameters.iter().copied()).collect::<Vec<_>>())
    }
}

/// The endpoint: the config's, else the service's in this region and partition.
pub(super) fn endpoint(target: &ReportTarget, context: &ReportContext, service: &str) -> Result<String> {
    match target.get("endpoint") {
        Some(endpoint) => Ok(endpoint.to_owned()),
        None => Ok(format!("https://{service}.{}.{}", context.fact("region")?, context.fact("domain")?)),
    }
}

/// Checks an endpoint: signatures cover the path `/` only.
pub(super) fn check_endpoint(text: &str) -> std::result::Result<(), String> {
    match Url::secure(text)?.path.as_str() {
        "/" => Ok(()),
        _ => Err("must be https://HOST without a path".to_owned()),
    }
}

/// Calls the action; an error of the API is returned as a [`Refusal`].
pub(super) fn act(
    target: &ReportTarget,
    context: &ReportContext,
    action: &Action,
) -> Result<std::result::Result<(), Refusal>> {
    let url = endpoint(target, context, action.service)?;
    let region = context.fact("region")?;
    let no_role =
        |failure: Failure| failure.help("give the instance a role (instance profile) that may report");
    let credentials = credentials(&mut context.service(ADDRESSES, PROTOCOL)).map_err(no_role)?;
    let body = action.body();
    context.retry(|| {
        let time = sigv4::now()
            .ok_or_else(|| Failure::new(ErrorKind::Clock, "this machine's clock is before 1970"))?;
        let scope = Scope { region, service: action.service, time };
        let reply = post(context, &url, &credentials, &scope, &body)?;
        judge(&url, action.name, &reply)
    })
}

fn post(
    context: &ReportContext,
    url: &str,
    credentials: &Credentials,
    scope: &Scope,
    body: &str,
) -> std::result::Result<Reply, Error> {
    let host = Url::secure(url).map_err(|why| Failure::new(ErrorKind::Config, why))?.host();
    let added = sigv4::sign(
        credentials,
        scope,
        "POST",
        &[("host", &host), ("content-type", CONTENT_TYPE)],
        body.as_bytes(),
    );
    let added = added.iter().map(|(name, value)| (*name, value.reveal()));
    let headers: Vec<(&str, &str)> = [("content-type", CONTENT_TYPE)].into_iter().chain(added).collect();
    let request = Request {
        headers: &headers,
        body: body.as_bytes(),
        ..Request::new(Method::POST, url, &context.trust)
    };
    http::send(&context.network, &request, context.deadline)
}

/// Judges an answer: a success, a refusal by the API, or an error, which may be temporary.
fn judge(
    url: &str,
    action: &str,
    reply: &Reply,
) -> std::result::Result<std::result::Result<(), Refusal>, Error> {
    let refusal = refusal(&reply.body).filter(|_| (400..500).contains(&reply.status));
    match refusal {
        Some(refusal) if PASSING.contains(&refusal.code.as_str()) => {
            Err(Failure::new(ErrorKind::Unreachable, format!("{action} at {}: {}", shown(url), refusal.code))
                .transient()
                .into())
        }
        Some(refusal) => Ok(Err(refusal)),
        None => reply.check(&format!("{action} at {}", shown(url))).map(Ok),
    }
}

impl Refusal {
    /// The failure for a refusal that needs no special treatment.
    pub fn failure(self, action: &str, permission: &str) -> Failure {
        let message = if self.message.is_empty() {
            self.code.clone()
        } else {
            format!("{}: {}", self.code, self.message)
        };
        let failure = Failure::new(ErrorKind::Refused, format!("{action}: {message}"));
        if self.code.starts_with("AccessDenied") || self.code == "UnauthorizedOperation" {
            return failure.help(format!("allow {permission} to the role of the instance"));
        }
        failure
    }
}

/// The error in an answer of the Query API:
/// `<ErrorResponse><Error><Code>…</Code><Message>…</Message></Error></ErrorResponse>`.
fn refusal(body: &[u8]) -> Option<Refusal> {
    let text = std::str::from_utf8(body).ok()?;
    let document = xml::parse(text)?;
    let error = document.descendants().find(|node| node.tag_name().name() == "Error")?;
    let child = |name: &str| xml::child(error, name).and_then(|node| node.text()).unwrap_or_default();
    let code = child("Code").trim();
    let message =
        if TELLING.contains(&code) { crate::text::one_line(child("Message").trim()) } else { String::new() };
    Some(Refusal { code: crate::text::one_line(code), message }).filter(|refusal| !refusal.code.is_empty())
}

/// The credentials of the instance's role. For some seconds after its start the service answers 404.
pub(super) fn credentials(service: &mut Service) -> Result<Credentials> {
    let roles = service.text(ROLES)?;
    let role = roles.lines().map(str::trim).find(|role| !role.is_empty()).unwrap_or_default();
    let path = format!("{ROLES}{role}");
    let answer = service.get(&path)?;
    read_credentials(&answer).map_err(|why| service.wrong(&path, why))
}

/// Reads the credentials of a role.
fn read_credentials(bytes: &[u8]) -> std::result::Result<Credentials, &'static str> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Answer {
        code: Option<String>,
        access_key_id: String,
        secret_access_key: String,
        token: Option<String>,
    }
    let answer: Answer =
        serde_json::from_slice(bytes).map_err(|_| "the answer has no credentials of a role")?;
    let credentials = Credentials {
        access_key: answer.access_key_id,
        secret_key: Secret::new(answer.secret_access_key),
        token: answer.token.map(Secret::new),
    };
    match answer.code.as_deref() {
        None | Some("Success") => Ok(credentials),
        Some(_) => Err("the role's credentials could not be made"),
    }
}

#[cfg(test)]
#[path = "query_api_tests.rs"]
pub(super) mod tests;
