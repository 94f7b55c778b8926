//! A client of one API server: one connection, reused for every request.

use std::ops::ControlFlow;
use std::time::SystemTime;

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, LOCATION, USER_AGENT};
use http::{HeaderValue, Method, Request};
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::Value;

use super::answer::Answer;
use super::server::Server;
use super::{api_status, untrusted};
use crate::error::{ErrorKind, Failure, Result};
use crate::net::connection::{Connection, Transport};
use crate::net::exchange::{LONGEST_BODY, Received};
use crate::net::http::{self as net_http, AGENT, Peer};
use crate::net::stream::Fault;
use crate::net::trust::{Authorities, ClientCertificate, Trust};
use crate::net::{Deadline, Error, Network, tls};
use crate::secret::Secret;
use crate::text::one_line;

/// Longest event of a watch.
const LONGEST_LINE: usize = 1024 * 1024;

/// Who asks.
#[derive(Debug, Clone)]
pub enum Credential {
    /// No credential.
    Anonymous,
    /// A bearer token.
    Bearer(Secret),
    /// A client certificate.
    Certificate(ClientCertificate),
}

/// A client of an API server whose certificate is verified before anything is sent.
pub struct Client {
    http: net_http::Client,
    server: Server,
    name: ServerName<'static>,
    authorization: Option<HeaderValue>,
    /// The certificates of the connection that gave the last answer.
    peer_chain: Vec<CertificateDer<'static>>,
    /// The server's and this machine's time at the last answer.
    dates: Option<(SystemTime, SystemTime)>,
}

/// A client that accepts any certificate and therefore has no credential: it can only ask as nobody, until
/// the chain is verified.
pub struct UnverifiedClient(Client);

struct Outgoing<'a> {
    method: Method,
    path: &'a str,
    content_type: &'static str,
    body: Vec<u8>,
}

impl UnverifiedClient {
    /// A client of `server`; nothing is sent yet.
    pub fn new(network: &Network, server: Server) -> Result<Self> {
        let name = tls::server_name(&server.endpoint, None)?;
        let transport = Transport::Tls(name.clone(), tls::unverified()?);
        Ok(Self(Client::with(network, server, name, transport, None)))
    }

    /// GET, without any Authorization header. The answer is not to be trusted.
    pub fn get(&mut self, path: &str, deadline: Deadline) -> std::result::Result<Answer, Error> {
        self.0.get(path, deadline)
    }

    /// The server as it is called.
    pub fn server(&self) -> &Server {
        &self.0.server
    }

    /// Verifies the certificates of the very connection that gave the last answer against `authorities`.
    pub fn verify(&self, authorities: &Authorities) -> Result<()> {
        let date = self.0.dates.map(|(server, _)| server);
        let peer = self.0.server.endpoint.to_string();
        authorities
            .verify(&self.0.peer_chain, &self.0.name, date)?
            .map_err(|error| untrusted::failure(&peer, &error, date))
    }

    /// The same, and goes on as `credential`, on the same connection where the credential allows it.
    pub fn verified(mut self, authorities: &Authorities, credential: &Credential) -> Result<Client> {
        self.verify(authorities)?;
        let mut client = Client::new(self.0.http.network(), self.0.server, None, authorities, credential)?;
        client.dates = self.0.dates;
        if !matches!(credential, Credential::Certificate(_)) {
            client.http.take_connection(&mut self.0.http);
        }
        Ok(client)
    }
}

impl Client {
    /// A client of `server`, which must show a certificate that `authorities` signed for its host (or for
    /// `name`). Nothing is sent yet.
    pub fn new(
        network: &Network,
        server: Server,
        name: Option<&str>,
        authorities: &Authorities,
        credential: &Credential,
    ) -> Result<Self> {
        let (certificate, bearer) = match credential {
            Credential::Anonymous => (None, None),
            Credential::Bearer(token) => (None, Some(token)),
            Credential::Certificate(certificate) => (Some(certificate), None),
        };
        let name = tls::server_name(&server.endpoint, name)?;
        let config = tls::config(&Trust::Authorities(authorities.clone()), certificate)?;
        let authorization = bearer.map(authorization).transpose()?;
        Ok(Self::with(network, server, name.clone(), Transport::Tls(name, config), authorization))
    }

    fn with(
        network: &Network,
        server: Server,
        name: ServerName<'static>,
        transport: Transport,
        authorization: Option<HeaderValue>,
    ) -> Self {
        let http = net_http::Client::new(network, Peer::Named(server.endpoint.clone()), transport);
        Self { http, server, name, authorization, peer_chain: Vec::new(), dates: None }
    }

    /// The server that is asked.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// What the connections of this client have in common with others.
    pub fn network(&self) -> &Network {
        self.http.network()
    }

    /// The server's time and this machine's, both at the last answer that had a date.
    pub fn dates(&self) -> Option<(SystemTime, SystemTime)> {
        self.dates
    }

    /// GET: the answer to a success.
    pub fn get(&mut self, path: &str, deadline: Deadline) -> std::result::Result<Answer, Error> {
        self.whole(&Outgoing { method: Method::GET, path, content_type: "", body: Vec::new() }, deadline)
    }

    /// POST of an object.
    pub fn post(
        &mut self,
        path: &str,
        object: &Value,
        deadline: Deadline,
    ) -> std::result::Result<Answer, Error> {
        self.whole(
            &Outgoing {
                method: Method::POST,
                path,
                content_type: "application/json",
                body: object.to_string().into(),
            },
            deadline,
        )
    }

    /// PATCH, as a strategic merge.
    pub fn patch(
        &mut self,
        path: &str,
        patch: &Value,
        deadline: Deadline,
    ) -> std::result::Result<Answer, Error> {
        let content_type = "application/strategic-merge-patch+json";
        self.whole(
            &Outgoing { method: Method::PATCH, path, content_type, body: patch.to_string().into() },
            deadline,
        )
    }

    /// GET of a watch: hands each line to `event` until it breaks with a value, the server ends the stream,
    /// or the deadline passes (both: none).
    pub fn watch<T>(
        &mut self,
        path: &str,
        deadline: Deadline,
        mut event: impl FnMut(&[u8]) -> ControlFlow<T>,
    ) -> std::result::Result<Option<T>, Error> {
        let outgoing = Outgoing { method: Method::GET, path, content_type: "", body: Vec::new() };
        let asked = self.asked(&outgoing);
        let (mut connection, received) =
            self.ask(&outgoing, deadline.within(self.http.network().request_timeout))?;
        if received.status != 200 {
            return Err(self.refused(
                &asked,
                connection,
                received,
                deadline.within(self.http.network().request_timeout),
            ));
        }
        let mut line = Vec::new();
        let mut found = None;
        let streamed = received.body(&mut connection, deadline, &mut |piece| {
            for part in piece.split_inclusive(|byte| *byte == b'\n') {
                line.extend_from_slice(part);
                if line.len() > LONGEST_LINE {
                    return Err(Fault::TooLong(LONGEST_LINE));
                }
                if let Some(whole) = line.strip_suffix(b"\n") {
                    if let ControlFlow::Break(value) = event(whole) {
                        found = Some(value);
                        return Ok(ControlFlow::Break(()));
                    }
                    line.clear();
                }
            }
            Ok(ControlFlow::Continue(()))
        });
        match streamed {
            Ok(reusable) => {
                self.http.keep(connection, reusable);
                Ok(found)
            }
            Err(_) if deadline.has_passed() => Ok(None),
            Err(fault) => Err(self.failure(&asked, fault, deadline).into()),
        }
    }

    /// One request with its whole answer.
    fn whole(&mut self, outgoing: &Outgoing<'_>, deadline: Deadline) -> std::result::Result<Answer, Error> {
        let deadline = deadline.within(self.http.network().request_timeout);
        let asked = self.asked(outgoing);
        let (mut connection, received) = self.ask(outgoing, deadline)?;
        if !(200..300).contains(&received.status) {
            return Err(self.refused(&asked, connection, received, deadline));
        }
        let status = received.status;
        let (body, reusable) = received
            .body_within(LONGEST_BODY, &mut connection, deadline)
            .map_err(|fault| self.failure(&asked, fault, deadline))?;
        self.http.keep(connection, reusable);
        Ok(Answer { status, date: self.dates.map(|(server, _)| server), body, asked })
    }

    /// Sends the request and receives the head of its answer.
    fn ask(
        &mut self,
        outgoing: &Outgoing<'_>,
        deadline: Deadline,
    ) -> std::result::Result<(Connection, Received), Error> {
        let request = self.request(outgoing)?;
        let (connection, received) = self
            .http
            .ask(&request, &outgoing.body, deadline)
            .map_err(|fault| self.failure(&self.asked(outgoing), fault, deadline))?;
        self.peer_chain = connection.peer_chain();
        let date = net_http::date(&received.headers);
        self.dates = date.map(|date| (date, SystemTime::now())).or(self.dates);
        Ok((connection, received))
    }

    fn request(&self, outgoing: &Outgoing<'_>) -> Result<Request<()>> {
        let mut request = Request::builder()
            .method(outgoing.method.clone())
            .uri(self.server.url(outgoing.path))
            .header(USER_AGENT, AGENT)
            .header(ACCEPT, "application/json, */*");
        if !outgoing.body.is_empty() {
            request = request
                .header(CONTENT_TYPE, outgoing.content_type)
                .header(CONTENT_LENGTH, outgoing.body.len());
        }
        if let Some(value) = &self.authorization {
            request = request.header(AUTHORIZATION, value);
        }
        request
            .body(())
            .map_err(|_| Failure::new(ErrorKind::Internal, format!("{} is no path of a URL", outgoing.path)))
    }

    /// The error for an answer that is no success; its body is read for the server's reason, if it comes.
    fn refused(
        &mut self,
        asked: &str,
        mut connection: Connection,
        received: Received,
        deadline: Deadline,
    ) -> Error {
        let (status, headers) = (received.status, received.headers.clone());
        let (text, reusable) =
            received.body_within(LONGEST_BODY, &mut connection, deadline).unwrap_or_default();
        self.http.keep(connection, reusable);
        let mut error = api_status::error(asked, status, &headers, &text);
        if let Some(target) = headers.get(LOCATION).and_then(|value| value.to_str().ok()) {
            // The query of a signed URL is a secret.
            let shown = one_line(target.split('?').next().unwrap_or_default());
            error.failure.message = format!("{} (to {shown})", error.failure.message);
            error.location = Some(target.to_owned());
        }
        error
    }

    fn asked(&self, outgoing: &Outgoing<'_>) -> String {
        let path = outgoing.path.split('?').next().unwrap_or_default();
        format!("{} {path} from {}", outgoing.method, self.server.endpoint)
    }

    fn failure(&self, asked: &str, fault: Fault, deadline: Deadline) -> Failure {
        match fault {
            Fault::Name(failure) => failure,
            Fault::Tls(error) => {
                let date = self.dates.map(|(server, _)| server);
                untrusted::failure(&self.server.endpoint.to_string(), &error, date)
            }
            fault => {
                let failure =
                    Failure::new(ErrorKind::Unreachable, format!("{asked}: {}", fault.why(deadline)));
                match fault {
                    fault if fault.may_pass() => failure.transient(),
                    Fault::Protocol(_) => failure.help(
                        "check the endpoint: another server than a Kubernetes API server answers there",
                    ),
                    _ => failure,
                }
            }
        }
    }
}

fn authorization(token: &Secret) -> Result<HeaderValue> {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", token.reveal())).map_err(|_| {
        Failure::new(ErrorKind::Credential, "the token holds characters that no HTTP header may have")
    })?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
