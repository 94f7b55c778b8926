//! Requests and answers.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{
    ACCEPT_RANGES, ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_SECURITY_POLICY,
    CONTENT_TYPE, ETAG, HeaderName, HeaderValue, IF_NONE_MATCH, IF_RANGE, RANGE, RETRY_AFTER,
    X_CONTENT_TYPE_OPTIONS,
};
use hyper::http::response::Builder;
use hyper::{Method, Request, Response, StatusCode};
use serde_json::Value;

use super::access_log::{AccessLog, Line};
use super::body::Body;
use super::config::{Config, Configs, Report};
use super::identity::Identity;
use super::image::{Disk, Image, Served};
use super::machines::{Machines, Next, Take};
use super::page::{self, About};
use super::range::{self, Part};
use super::script::{self, LONGEST_COMMAND_LINE};
use super::token::Tokens;
use crate::digest::Digest;

/// The longest report that is read, in bytes.
const LONGEST_REPORT: usize = 64 << 10;

/// How long a client may take to send one.
const REPORT_PATIENCE: Duration = Duration::from_secs(10);

/// How long a page of the status is given again before it is made anew.
const PAGE_AGE: Duration = Duration::from_secs(1);

const SCRIPT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";

/// An installation.
#[derive(Debug)]
pub(super) struct Install {
    pub disk: Disk,
    pub rule: String,
    pub is_overwrite: bool,
}

/// The service.
pub(super) struct Service {
    pub about: About,
    pub image: Image,
    pub configs: Option<Configs>,
    pub tokens: Option<Tokens>,
    pub install: Option<Install>,
    pub machines: Arc<Machines>,
    /// The URL by which machines reach the server; none: the address at which each did.
    pub url: Option<String>,
    /// The port for plain HTTP.
    pub port: u16,
    /// Where reports go, if there is HTTPS: the port, and the authority of its certificates.
    pub reports: Option<(u16, Arc<str>)>,
    /// iPXE itself, by the names of its files.
    pub programs: Vec<(String, Arc<Served>)>,
    pub log: AccessLog,
    pub pages: Pages,
}

/// The status, made at most once a second.
#[derive(Debug, Default)]
pub(super) struct Pages(Mutex<Option<(Instant, Bytes, Bytes)>>);

/// A connection.
pub(super) struct Peer {
    /// The client's address.
    pub address: IpAddr,
    /// The server's.
    pub local: SocketAddr,
    pub is_secure: bool,
    /// A config that this connection carries: its machine and its ID, and whether HTTP took it whole.
    pub delivery: Mutex<Option<Delivery>>,
}

/// A config on its way.
pub(super) struct Delivery {
    pub machine: Arc<str>,
    pub id: String,
    pub is_read: bool,
}

/// An answer, and whose it is.
struct Answer {
    response: Response<Body>,
    machine: Option<Arc<str>>,
}

impl From<Response<Body>> for Answer {
    fn from(response: Response<Body>) -> Self {
        Self { response, machine: None }
    }
}

impl Answer {
    fn of(machine: &Arc<str>, response: Response<Body>) -> Self {
        Self { response, machine: Some(machine.clone()) }
    }
}

impl Service {
    /// Answers a request, and writes it into the access log when the answer has gone.
    pub async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        peer: Arc<Peer>,
    ) -> Result<Response<Body>, Infallible> {
        let (began, address) = (Instant::now(), peer.address);
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let is_head = method == Method::HEAD;
        let Answer { mut response, machine } = self.route(request, &peer).await;
        let headers = response.headers_mut();
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if is_head {
            let length = response.body().length();
            response.headers_mut().insert(CONTENT_LENGTH, length.into());
            *response.body_mut() = Body::text("");
        }
        let status = response.status().as_u16();
        Ok(response.map(|body| {
            let sender = peer.clone();
            body.then(move |bytes, is_whole| {
                if let Some(delivery) = &mut *sender.delivery.lock().unwrap_or_else(PoisonError::into_inner) {
                    delivery.is_read = is_whole;
                }
                let line = Line {
                    address,
                    method: method.as_str(),
                    path: &path,
                    machine: machine.as_deref(),
                    status,
                    bytes,
                    is_whole,
                    took: began.elapsed(),
                };
                self.log.add(&line);
            })
        }))
    }

    async fn route(&self, request: Request<Incoming>, peer: &Arc<Peer>) -> Answer {
        let path = request.uri().path();
        if let Some((kind, id)) = report_of(path) {
            let id = id.to_owned();
            return match (request.method() == Method::POST, kind) {
                (false, _) => not_allowed("POST").into(),
                // A verdict that anyone on the way could change says nothing.
                (_, Kind::Verdict) if !peer.is_secure => not_found().into(),
                (_, kind) => self.report(kind, &id, request).await,
            };
        }
        let (is_get, is_head) = (request.method() == Method::GET, request.method() == Method::HEAD);
        if let Some(id) = path.strip_prefix("/config/") {
            // A look at it would not be the one time.
            return if is_get { self.config(id, peer) } else { not_allowed("GET").into() };
        }
        if !is_get && !is_head {
            return not_allowed("GET, HEAD").into();
        }
        match path {
            "/" => self.page(true).into(),
            "/status.json" => self.page(false).into(),
            "/healthz" => text(StatusCode::OK, SCRIPT, "ok\n").into(),
            "/boot.ipxe" | "/autoexec.ipxe" => text(StatusCode::OK, SCRIPT, script::BOOT).into(),
            // Looking at it would make a config.
            "/machine.ipxe" if is_head => not_allowed("GET").into(),
            "/machine.ipxe" => self.script(request.uri().query().unwrap_or_default(), peer).await,
            "/uki.efi" => self.image.uki().map_or_else(not_found, |uki| file(uki, &request, None)).into(),
            path => self.file(path, &request),
        }
    }

    fn file(&self, path: &str, request: &Request<Incoming>) -> Answer {
        let path = path.strip_prefix('/').unwrap_or(path);
        if let Some((_, program)) = self.programs.iter().find(|(name, _)| name == path) {
            return file(program, request, None).into();
        }
        let Some((name, served)) =
            path.strip_prefix("files/").and_then(|name| self.image.files.get_key_value(name))
        else {
            return not_found().into();
        };
        let boot = request.uri().query().and_then(|query| query.strip_prefix("boot="));
        let is_initrd = *name == format!("{}/{}", self.image.folder, crate::output::pxe::INITRD);
        let Some(boot) = boot.filter(|_| is_initrd).map(str::to_owned) else {
            return file(served, request, None).into();
        };
        let (machine, machines) = (self.machines.owner(&boot), self.machines.clone());
        let response = file(served, request, Some(Box::new(move |percent| machines.loading(&boot, percent))));
        Answer { response, machine }
    }

    async fn script(&self, query: &str, peer: &Peer) -> Answer {
        let identity = match Identity::parse(query) {
            Ok(identity) => identity,
            Err(why) => return text(StatusCode::BAD_REQUEST, SCRIPT, format!("{why}\n")).into(),
        };
        let (machine, next) = match self.machines.seen(&identity, peer.address) {
            Ok(seen) => seen,
            Err(why) => return text(StatusCode::SERVICE_UNAVAILABLE, SCRIPT, format!("{why}\n")).into(),
        };
        let script = match next {
            Next::Disk(why) => script::disk(why),
            Next::Boot => self.boot(&identity, &machine, peer).await.unwrap_or_else(|refusal| {
                let is_final = matches!(refusal, Refusal::Never(_));
                self.machines.nothing(&machine, &refusal.to_string(), is_final);
                refusal.script()
            }),
        };
        Answer::of(&machine, text(StatusCode::OK, SCRIPT, script))
    }

    /// The script that boots the image.
    async fn boot(&self, identity: &Identity, machine: &Arc<str>, peer: &Peer) -> Result<String, Refusal> {
        if let (Some(own), Some(wanted)) = (self.image.arch, identity.arch)
            && own != wanted
        {
            let (own, wanted) = (own.name(), wanted.name());
            return Err(Refusal::Never(format!("the image is for {own}, the machine is {wanted}")));
        }
        let config = match &self.configs {
            Some(configs) => Some(self.config_for(configs, identity, machine, peer).await?),
            None => None,
        };
        let ids = self
            .machines
            .issue(machine, config.as_ref())
            .map_err(|why| Refusal::Now(why.to_owned()))?;
        let base = self.base(peer);
        let mut arguments: Vec<String> = self.image.arguments.split_whitespace().map(str::to_owned).collect();
        arguments.extend(identity.mac.as_deref().map(script::boot_interface));
        if let Some(install) = &self.install {
            let Install { disk, rule, is_overwrite } = install;
            arguments.push(format!("firstboot.install={base}/files/{}", disk.file));
            arguments.push(format!("firstboot.install-sha256={}", disk.map.hex()));
            arguments.push(format!("firstboot.install-disk={rule}"));
            arguments.push(format!("firstboot.install-report={base}/install-report/{}", ids.install));
            arguments.extend(is_overwrite.then(|| "firstboot.install-overwrite".to_owned()));
        }
        if let Some(config) = config {
            let digest = Digest::of(config.text(&ids.report).as_bytes());
            arguments.push(format!("firstboot.config={base}/config/{}", ids.config));
            arguments.push(format!("firstboot.config-sha256={}", digest.hex()));
        }
        let arguments = arguments.join(" ");
        if arguments.len() + "initrd=initrd ".len() > LONGEST_COMMAND_LINE {
            return Err(Refusal::Never("the kernel arguments are too long".to_owned()));
        }
        Ok(script::boot(&self.image.name, &self.image.folder, &arguments, &ids.boot))
    }

    async fn config_for(
        &self,
        configs: &Configs,
        identity: &Identity,
        machine: &Arc<str>,
        peer: &Peer,
    ) -> Result<Config, Refusal> {
        let template = match configs.find(identity) {
            Ok(Some(template)) => template,
            Ok(None) => return Err(Refusal::Never("there is no node config for it".to_owned())),
            Err(error) => {
                super::warn(&error);
                return Err(Refusal::Now("its node config cannot be read".to_owned()));
            }
        };
        let token = match &self.tokens {
            Some(tokens) if template.wants_token() => {
                Some(tokens.make(machine, peer.address).await.map_err(|error| {
                    super::warn(&format!("no token for {}: {error}", identity.key().unwrap_or_default()));
                    Refusal::Now("there is no token".to_owned())
                })?)
            }
            _ => None,
        };
        let report = self.reports.as_ref().map(|(port, authority)| {
            let base = format!("https://{}", self.host(peer, *port));
            Arc::new(Report { base, authority: authority.clone() })
        });
        Config::new(template, identity, token, report)
            .map_err(|variable| Refusal::Never(format!("its node config needs its {variable}")))
    }

    /// The server's URL for this client.
    fn base(&self, peer: &Peer) -> String {
        let own = || format!("http://{}", SocketAddr::new(peer.local.ip(), self.port));
        self.url.clone().unwrap_or_else(own)
    }

    /// The server's host and a port of it, for this client.
    fn host(&self, peer: &Peer, port: u16) -> String {
        let named = self.url.as_deref().and_then(host);
        named.map_or_else(
            || SocketAddr::new(peer.local.ip(), port).to_string(),
            |host| format!("{host}:{port}"),
        )
    }

    fn config(&self, id: &str, peer: &Peer) -> Answer {
        match self.machines.take(id, peer.address) {
            Take::Give { machine, text: config } => {
                let delivery = Delivery { machine: machine.clone(), id: id.to_owned(), is_read: false };
                *peer.delivery.lock().unwrap_or_else(PoisonError::into_inner) = Some(delivery);
                let mut response = text(StatusCode::OK, "application/yaml", config);
                // The end of the connection shows that HTTP has handed over the last byte.
                set(&mut response, CONNECTION, "close");
                Answer::of(&machine, response)
            }
            Take::Later(machine) => {
                let message = "this address is still being given this config\n";
                let mut response = text(StatusCode::SERVICE_UNAVAILABLE, SCRIPT, message);
                set(&mut response, RETRY_AFTER, "1");
                Answer::of(&machine, response)
            }
            Take::Void(machine) => {
                let message = "this config was given once; boot the machine again for a new one\n";
                Answer::of(&machine, text(StatusCode::GONE, SCRIPT, message))
            }
            Take::Unknown => not_found().into(),
        }
    }

    async fn report(&self, kind: Kind, id: &str, request: Request<Incoming>) -> Answer {
        let body = Limited::new(request.into_body(), LONGEST_REPORT).collect();
        let bytes = match tokio::time::timeout(REPORT_PATIENCE, body).await {
            Err(_) => return text(StatusCode::REQUEST_TIMEOUT, SCRIPT, "the report does not end\n").into(),
            Ok(Err(_)) => {
                let message = format!("the report is broken or longer than {LONGEST_REPORT} bytes\n");
                let mut response = text(StatusCode::PAYLOAD_TOO_LARGE, SCRIPT, message);
                set(&mut response, CONNECTION, "close");
                return response.into();
            }
            Ok(Ok(body)) => body.to_bytes(),
        };
        let Ok(report @ Value::Object(_)) = serde_json::from_slice(&bytes) else {
            return text(StatusCode::BAD_REQUEST, SCRIPT, "the report is no JSON object\n").into();
        };
        let machine = match kind {
            Kind::Verdict => self.machines.report(id, &report),
            Kind::Install => self.machines.install_report(id, &report),
        };
        match machine {
            Some(machine) => Answer::of(&machine, text(StatusCode::NO_CONTENT, SCRIPT, "")),
            None => not_found().into(),
        }
    }

    fn page(&self, is_html: bool) -> Response<Body> {
        let mut pages = self.pages.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, html, json) = match &mut *pages {
            Some(pages) if pages.0.elapsed() < PAGE_AGE => pages,
            pages => {
                let snapshot = self.machines.snapshot();
                let html = page::html(&self.about, &snapshot).into();
                let json = format!("{:#}\n", page::json(&self.about, &snapshot)).into();
                pages.insert((Instant::now(), html, json))
            }
        };
        let (kind, body) = if is_html { ("text/html; charset=utf-8", html) } else { (JSON, json) };
        let mut response = text(StatusCode::OK, kind, body.clone());
        if let Ok(policy) = HeaderValue::from_str(&page::policy()) {
            response.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
        }
        response
    }
}

/// Why a machine gets nothing to boot.
#[derive(Debug)]
enum Refusal {
    /// It need not ask again.
    Never(String),
    /// It may ask again.
    Now(String),
}

impl Refusal {
    fn script(&self) -> String {
        match self {
            Self::Never(why) => script::nothing(why),
            Self::Now(why) => script::later(why),
        }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Self::Never(why) | Self::Now(why)) = self;
        f.write_str(why)
    }
}

/// What is reported.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// How a join ended.
    Verdict,
    /// How far an installation is.
    Install,
}

fn report_of(path: &str) -> Option<(Kind, &str)> {
    let verdict = path.strip_prefix("/report/").map(|id| (Kind::Verdict, id));
    verdict.or_else(|| path.strip_prefix("/install-report/").map(|id| (Kind::Install, id)))
}

/// The host of a URL without a login, IPv6 addresses in brackets.
pub(super) fn host(url: &str) -> Option<String> {
    reqwest::Url::parse(url).ok()?.host_str().map(str::to_owned)
}

/// A file, or the part of it that the request asks for (RFC 9110, 13 and 14).
fn file(
    served: &Arc<Served>,
    request: &Request<Incoming>,
    progress: Option<Box<dyn Fn(u8) + Send>>,
) -> Response<Body> {
    let header = |name: HeaderName| request.headers().get(name).and_then(|value| value.to_str().ok());
    let names_it = |tags: &str| tags == "*" || tags.split(',').any(|tag| tag.trim() == served.etag);
    let builder = Response::builder()
        .header(ETAG, &served.etag)
        .header(ACCEPT_RANGES, "bytes")
        .header(CONTENT_TYPE, "application/octet-stream");
    if header(IF_NONE_MATCH).is_some_and(names_it) {
        return built(builder.status(StatusCode::NOT_MODIFIED), Body::text(""));
    }
    let range = header(RANGE).filter(|_| header(IF_RANGE).is_none_or(|tag| tag == served.etag));
    match range::part(range, served.length) {
        Part::Whole => built(builder, Body::file(served.clone(), 0..served.length, progress)),
        Part::Range(range) => {
            let value = format!("bytes {}-{}/{}", range.start, range.end - 1, served.length);
            let builder = builder.status(StatusCode::PARTIAL_CONTENT).header(CONTENT_RANGE, value);
            built(builder, Body::file(served.clone(), range, progress))
        }
        Part::Outside => {
            let value = format!("bytes */{}", served.length);
            built(
                builder.status(StatusCode::RANGE_NOT_SATISFIABLE).header(CONTENT_RANGE, value),
                Body::text(""),
            )
        }
    }
}

fn text(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Body> {
    let builder = Response::builder()
        .status(status)
        .header(CONTENT_TYPE, kind)
        .header(CACHE_CONTROL, "no-store");
    built(builder, Body::text(body))
}

/// Values of headers are ours, so a response can always be built.
fn built(builder: Builder, body: Body) -> Response<Body> {
    builder.body(body).unwrap_or_else(|_| Response::new(Body::text("")))
}

fn set(response: &mut Response<Body>, name: HeaderName, value: &'static str) {
    response.headers_mut().insert(name, HeaderValue::from_static(value));
}

fn not_found() -> Response<Body> {
    text(StatusCode::NOT_FOUND, SCRIPT, "there is no such thing here\n")
}

fn not_allowed(methods: &'static str) -> Response<Body> {
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, SCRIPT, "another method is needed\n");
    set(&mut response, ALLOW, methods);
    response
}
