//! User data that Cluster API's provider for AWS keeps elsewhere: in Secrets Manager or the Parameter Store,
//! named by a boothook, or as an Ignition config in S3. It is got with the role of the instance, or from a
//! URL that is signed already.

use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::boothook::{self, Keeper, Pieces};
use super::query_api;
use super::sigv4::{self, Credentials, Scope};
use super::{ADDRESSES, PROTOCOL};
use crate::document::{Document, LIMIT};
use crate::error::{ErrorKind, Failure, Result};
use crate::net::Error;
use crate::net::http::{self, Method, Reply, Request};
use crate::net::retry::{self, Backoff};
use crate::net::trust::Trust;
use crate::net::url::{Url, shown};
use crate::platforms::delivery::{Delivered, Named, Reach, Remains};
use crate::reporter::{fact, target};
use crate::text::{one_line, percent};

const CONTENT_TYPE: &str = "application/x-amz-json-1.1";
/// Base64 of the longest document, and the JSON around it.
const LONGEST_ANSWER: usize = LIMIT * 2;

/// Gets what Cluster API's provider names.
pub(super) fn follow(reach: &Reach, named: Named) -> Result<Option<Delivered>> {
    match named {
        Named::Boothook(script) => match boothook::read(script) {
            Ok(Some(pieces)) => joined(reach, pieces).map(Some),
            Ok(None) => Ok(None),
            Err(why) => Err(Failure::new(ErrorKind::Config, why)),
        },
        Named::Ignition(url) => {
            let document = match url.strip_prefix("s3://") {
                Some(place) => object(reach, place)?,
                None if url.starts_with("https://") => get(reach, url, None)?,
                None => return Ok(None),
            };
            Ok(Some(Delivered { document, remains: None }))
        }
    }
}

/// The user data that the pieces hold together.
fn joined(reach: &Reach, pieces: Pieces) -> Result<Delivered> {
    let credentials = credentials(reach)?;
    let mut whole = Zeroizing::new(Vec::new());
    for name in pieces.names() {
        let (action, field, body) = match pieces.keeper {
            Keeper::SecretsManager => ("GetSecretValue", "/SecretBinary", json!({ "SecretId": name })),
            Keeper::ParameterStore => {
                ("GetParameter", "/Parameter/Value", json!({ "Name": name, "WithDecryption": true }))
            }
        };
        let answer = call(reach, &pieces, &credentials, action, &body)?;
        let text = answer.pointer(field).and_then(Value::as_str).ok_or_else(|| {
            Failure::new(ErrorKind::Source, format!("{action} of {name}: the answer holds no user data"))
        })?;
        match pieces.keeper {
            // Each secret is encoded by itself, the parameters are pieces of one text.
            Keeper::SecretsManager => {
                let piece = Document::from_base64(text.as_bytes()).ok_or_else(|| not_base64(&name))?;
                whole.extend_from_slice(piece.bytes());
            }
            Keeper::ParameterStore => whole.extend_from_slice(text.as_bytes()),
        }
        if whole.len() > LONGEST_ANSWER {
            return Err(too_long());
        }
    }
    let document = match pieces.keeper {
        Keeper::SecretsManager => Document::new(whole).ok_or_else(too_long)?,
        Keeper::ParameterStore => Document::from_base64(&whole).ok_or_else(|| not_base64(&pieces.prefix))?,
    };
    Ok(Delivered { document, remains: Some(remains(pieces)) })
}

fn too_long() -> Failure {
    Failure::new(ErrorKind::Source, format!("the user data is longer than {LIMIT} bytes"))
}

fn not_base64(name: &str) -> Failure {
    Failure::new(ErrorKind::Source, format!("{name} is not base64"))
}

fn remains(pieces: Pieces) -> Remains {
    let keeper = match pieces.keeper {
        Keeper::SecretsManager => "AWS Secrets Manager",
        Keeper::ParameterStore => "AWS Parameter Store",
    };
    Remains {
        what: format!("{} in {keeper}, which held the user data", pieces.prefix),
        delete: Box::new(move |reach| delete(reach, &pieces)),
    }
}

/// Deletes the pieces, as the provider's script does.
fn delete(reach: &Reach, pieces: &Pieces) -> Result<()> {
    let credentials = credentials(reach)?;
    for name in pieces.names() {
        let (action, body) = match pieces.keeper {
            Keeper::SecretsManager => {
                ("DeleteSecret", json!({ "SecretId": name, "ForceDeleteWithoutRecovery": true }))
            }
            Keeper::ParameterStore => ("DeleteParameter", json!({ "Name": name })),
        };
        call(reach, pieces, &credentials, action, &body)?;
    }
    Ok(())
}

fn credentials(reach: &Reach) -> Result<Credentials> {
    query_api::credentials(&mut reach.service(ADDRESSES, PROTOCOL)).map_err(|failure| {
        failure.help("give the instance a role (instance profile) that may read its user data")
    })
}

/// The partition's domain, such as `amazonaws.com`.
fn domain<'a>(reach: &'a Reach) -> &'a str {
    fact(reach.facts, "domain").unwrap_or("amazonaws.com")
}

/// Calls an action of the service that keeps the pieces.
fn call(
    reach: &Reach,
    pieces: &Pieces,
    credentials: &Credentials,
    action: &str,
    body: &Value,
) -> Result<Value> {
    let (service, api) = match pieces.keeper {
        Keeper::SecretsManager => ("secretsmanager", "secretsmanager"),
        Keeper::ParameterStore => ("ssm", "AmazonSSM"),
    };
    let url = match &pieces.endpoint {
        Some(endpoint) => endpoint.clone(),
        None => format!("https://{service}.{}.{}", pieces.region, domain(reach)),
    };
    let name = format!("{api}.{action}");
    let body = body.to_string();
    let headers = [("content-type", CONTENT_TYPE), ("x-amz-target", name.as_str())];
    let ask = Ask { method: Method::POST, url: &url, headers: &headers, body: body.as_bytes() };
    let reply = signed(reach, &ask, credentials, (&pieces.region, service))?;
    if reply.status == 200 {
        return serde_json::from_slice(&Zeroizing::new(reply.body))
            .map_err(|_| Failure::new(ErrorKind::Source, format!("{action}: the answer is no JSON")));
    }
    Err(refused(&reply, action, service))
}

/// An error of the API. Its kind is a name; its message may repeat the request.
fn refused(reply: &Reply, action: &str, service: &str) -> Failure {
    let answer: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    let kind = answer["__type"].as_str().and_then(|kind| kind.rsplit('#').next()).unwrap_or("no reason");
    let failure = Failure::new(ErrorKind::Refused, format!("{action}: {} {}", reply.status, one_line(kind)));
    match kind {
        kind if kind.starts_with("AccessDenied") => {
            failure.help(format!("allow {service}:{action} to the role of the instance"))
        }
        "ResourceNotFoundException" | "ParameterNotFound" => {
            failure.help("the user data was fetched and deleted before; make a new machine")
        }
        _ => failure,
    }
}

/// A request before it is signed.
struct Ask<'a> {
    method: Method,
    url: &'a str,
    headers: &'a [(&'a str, &'a str)],
    body: &'a [u8],
}

/// Sends a request, signed for a region and a service. Repeats it while the error may pass.
fn signed(reach: &Reach, ask: &Ask, credentials: &Credentials, place: (&str, &str)) -> Result<Reply> {
    let url: Url = ask.url.parse().map_err(|why: String| Failure::new(ErrorKind::Config, why))?;
    let trust = if url.is_secure { (reach.trust)()? } else { near(&url)? };
    let host = url.host();
    retry::until(reach.deadline, &mut Backoff::new(), || {
        let time = sigv4::now()
            .ok_or_else(|| Failure::new(ErrorKind::Clock, "this machine's clock is before 1970"))?;
        let scope = Scope { region: place.0, service: place.1, time };
        let all: Vec<(&str, &str)> =
            [("host", host.as_str())].into_iter().chain(ask.headers.iter().copied()).collect();
        let added = sigv4::sign_path(credentials, &scope, (ask.method.as_str(), &url.path), &all, ask.body);
        let added = added.iter().map(|(name, value)| (*name, value.reveal()));
        let headers: Vec<(&str, &str)> = ask.headers.iter().copied().chain(added).collect();
        send(reach, ask, &headers, &trust)
    })
}

/// Credentials go without TLS only to addresses of this machine or of the link, as the service that gives
/// them.
fn near(url: &Url) -> Result<Trust> {
    if target::is_near_host(&url.endpoint.host) {
        return Ok(Trust::Nobody);
    }
    let message = "the endpoint is http://, and not an address of this machine or of the link";
    Err(Failure::new(ErrorKind::Config, message).help("name an https:// endpoint"))
}

fn send(
    reach: &Reach,
    ask: &Ask,
    headers: &[(&str, &str)],
    trust: &Trust,
) -> std::result::Result<Reply, Error> {
    let request = Request {
        headers,
        body: ask.body,
        limit: LONGEST_ANSWER,
        ..Request::new(ask.method.clone(), ask.url, trust)
    };
    let reply = http::send(&reach.network, &request, reach.deadline)?;
    let is_throttled = reply.status == 400
        && [b"Throttling".as_slice(), b"RequestLimitExceeded"]
            .iter()
            .any(|word| reply.body.windows(word.len()).any(|part| part == *word));
    if is_throttled {
        let message = format!("{}: the service asks for fewer requests", shown(ask.url));
        return Err(Failure::new(ErrorKind::Unreachable, message).transient().into());
    }
    match reply.check(&shown(ask.url)) {
        Err(error) if error.failure.transient => Err(error),
        _ => Ok(reply),
    }
}

/// An object of S3: `BUCKET/KEY`.
fn object(reach: &Reach, place: &str) -> Result<Document> {
    let wrong = || Failure::new(ErrorKind::Config, "the URL is not s3://BUCKET/KEY");
    let (bucket, key) = place.split_once('/').filter(|(_, key)| !key.is_empty()).ok_or_else(wrong)?;
    let is_bucket = !bucket.is_empty()
        && bucket.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte));
    if !is_bucket {
        return Err(wrong());
    }
    let region = fact(reach.facts, "region")?;
    let url = format!("https://s3.{region}.{}/{bucket}/{}", domain(reach), percent::encoded(key, b"/"));
    get(reach, &url, Some((region, &credentials(reach)?)))
}

/// The content of a URL, signed with these credentials if it is not signed already.
fn get(reach: &Reach, url: &str, credentials: Option<(&str, &Credentials)>) -> Result<Document> {
    let ask = Ask { method: Method::GET, url, headers: &[], body: b"" };
    let reply = match credentials {
        Some((region, credentials)) => {
            let digest = sigv4::sha256(b"");
            let headers = [("x-amz-content-sha256", digest.as_str())];
            signed(reach, &Ask { headers: &headers, ..ask }, credentials, (region, "s3"))?
        }
        None => {
            let trust = (reach.trust)()?;
            retry::until(reach.deadline, &mut Backoff::new(), || send(reach, &ask, &[], &trust))?
        }
    };
    reply.check(&shown(url)).map_err(|error| error.failure)?;
    Document::new(Zeroizing::new(reply.body)).ok_or_else(too_long)
}

#[cfg(test)]
#[path = "delivery_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "moto_tests.rs"]
mod moto_tests;
