//! Answers requests to a platform's services: tokens, conditions, routes.

use serde_json::Value;

use crate::error::Result;
use crate::http::{Answer, Request};
use crate::platform::{Demand, Platform, Route, Service, Style, TokenDesk};
use crate::template::Values;
use crate::token::Tokens;
use crate::tree::{self, Part};

/// A service with values in its documents.
#[derive(Debug, Clone)]
pub struct Prepared {
    service: Service,
    routes: Vec<(Route, Content)>,
}

#[derive(Debug, Clone)]
enum Content {
    /// The document consists of an absent value.
    Nothing,
    Bytes(Vec<u8>),
    Tree(Value, Style),
}

/// The services of a platform with values in their documents.
pub fn prepare(platform: &Platform, values: &Values) -> Result<Vec<Prepared>> {
    platform
        .services
        .iter()
        .map(|service| prepare_service(platform, service, values))
        .collect()
}

fn prepare_service(platform: &Platform, service: &Service, values: &Values) -> Result<Prepared> {
    let mut routes = Vec::new();
    for route in &service.routes {
        let content = content(route, values).map_err(|mut error| {
            error.message = format!("{}: {}: {}", platform.name, route.path, error.message);
            error
        })?;
        let mut route = route.clone();
        route.path = values.string(&route.path)?;
        routes.push((route, content));
    }
    Ok(Prepared { service: service.clone(), routes })
}

fn content(route: &Route, values: &Values) -> Result<Content> {
    if let Some(json) = &route.json {
        let (text, value) = values.json(json)?;
        return Ok(route.tree.map_or(Content::Bytes(text.into_bytes()), |style| Content::Tree(value, style)));
    }
    let text = route.text.as_deref().map_or(Ok(Some(Vec::new())), |text| values.text(text))?;
    Ok(text.map_or(Content::Nothing, Content::Bytes))
}

impl Prepared {
    /// The service's definition.
    pub fn service(&self) -> &Service {
        &self.service
    }

    /// Whether a route or the token endpoint has this path.
    pub fn knows(&self, path: &str) -> bool {
        self.service.token.as_ref().is_some_and(|desk| matches(&desk.path, path).is_some())
            || self.routes.iter().any(|(route, content)| rest(route, content, path).is_some())
    }

    /// The answer to a request.
    pub fn answer(&self, request: &Request, tokens: &Tokens) -> Answer {
        let answer = self.bare_answer(request, tokens);
        let headers = self
            .service
            .headers
            .iter()
            .filter(|(name, _)| !answer.headers.iter().any(|header| header.0.eq_ignore_ascii_case(name)));
        let headers: Vec<_> = headers.map(|(name, value)| (name.clone(), value.clone())).collect();
        Answer { headers: answer.headers.into_iter().chain(headers).collect(), ..answer }
    }

    fn bare_answer(&self, request: &Request, tokens: &Tokens) -> Answer {
        if let Some(refused) = refusal(&self.service.demands, request) {
            return refused;
        }
        if let Some(desk) = &self.service.token
            && matches(&desk.path, request.path()).is_some()
        {
            return issue(desk, request, tokens);
        }
        let fitting: Vec<_> = self
            .routes
            .iter()
            .filter_map(|(route, content)| Some((route, content, rest(route, content, request.path())?)))
            .collect();
        let is_open = fitting.iter().any(|(route, ..)| route.open);
        if let Some(desk) = &self.service.token
            && !is_open
            && !request.header(&desk.header).is_some_and(|token| tokens.is_good(token))
        {
            return Answer::of(desk.status, "a token is needed, or this one is not good\n");
        }
        let Some((route, content, rest)) = fitting
            .iter()
            .find(|(route, ..)| route.method == request.method && is_selected(route, request))
        else {
            let status =
                if fitting.iter().any(|(route, ..)| is_selected(route, request)) { 405 } else { 404 };
            return Answer::of(status, "there is nothing here\n");
        };
        refusal(&route.demands, request).unwrap_or_else(|| show(route, content, rest, request))
    }
}

/// The rest of `path` below the route's own; `None` if the route does not match.
fn rest<'a>(route: &Route, content: &Content, path: &'a str) -> Option<&'a str> {
    let rest = matches(&route.path, path)?;
    let is_fitting = rest.is_empty()
        || route.path.ends_with('*')
        || (matches!(content, Content::Tree(..)) && is_below(&route.path, rest));
    is_fitting.then_some(rest)
}

fn is_below(route: &str, rest: &str) -> bool {
    route.ends_with('/') || rest.starts_with('/')
}

/// The rest of `path` after `pattern`, in which `{a,b}` matches either.
fn matches<'a>(pattern: &str, path: &'a str) -> Option<&'a str> {
    let pattern = pattern.strip_suffix('*').unwrap_or(pattern);
    let Some((before, after)) = pattern.split_once('{') else { return path.strip_prefix(pattern) };
    let (choices, after) = after.split_once('}')?;
    let path = path.strip_prefix(before)?;
    choices.split(',').find_map(|choice| matches(after, path.strip_prefix(choice)?))
}

fn is_selected(route: &Route, request: &Request) -> bool {
    let query = request.query();
    route.query.iter().all(|(key, value)| query.get(key) == Some(value))
        && route
            .header
            .iter()
            .all(|(name, part)| request.header(name).is_some_and(|value| value.contains(part.as_str())))
}

fn refusal(demands: &[Demand], request: &Request) -> Option<Answer> {
    demands
        .iter()
        .find(|demand| !is_met(demand, request))
        .map(|demand| Answer::of(demand.status, demand.body.clone()))
}

fn is_met(demand: &Demand, request: &Request) -> bool {
    let is = |value: Option<&str>| {
        value.is_some_and(|value| demand.is.is_empty() || demand.is.iter().any(|good| good == value))
    };
    demand.header.as_ref().is_none_or(|name| is(request.header(name)))
        && demand.no_header.as_ref().is_none_or(|name| request.header(name).is_none())
        && demand.query.as_ref().is_none_or(|key| is(request.query().get(key).map(String::as_str)))
        && demand.source_port_below.is_none_or(|port| request.source_port < port)
}

fn issue(desk: &TokenDesk, request: &Request, tokens: &Tokens) -> Answer {
    if request.method != "PUT" {
        return Answer::of(405, "tokens are issued for a PUT\n");
    }
    match request.header(&desk.seconds_header).and_then(|text| text.parse().ok()) {
        Some(seconds) if (1..=desk.most_seconds).contains(&seconds) => {
            Answer::of(200, tokens.issue(seconds)).header(&desk.seconds_header, &seconds.to_string())
        }
        _ => Answer::of(400, format!("{} has to be 1 to {}\n", desk.seconds_header, desk.most_seconds)),
    }
}

fn show(route: &Route, content: &Content, rest: &str, request: &Request) -> Answer {
    let (bytes, content_type) = match content {
        Content::Nothing => return Answer::of(404, "there is nothing here\n"),
        Content::Bytes(bytes) => (
            bytes.clone(),
            if route.json.is_some() { "application/json" } else { "text/plain; charset=utf-8" },
        ),
        Content::Tree(value, style) => match tree::part(value, *style, rest, &request.query()) {
            None => return Answer::of(404, "there is nothing here\n"),
            Some(Part::Moved) => {
                return Answer::of(301, "").header("Location", &format!("{}/", request.path()));
            }
            Some(Part::Text(text)) => {
                (text.into_bytes(), if *style == Style::Gce { "application/text" } else { "text/plain" })
            }
            Some(Part::Json(text)) => (text.into_bytes(), "application/json"),
        },
    };
    let answer = Answer::of(route.status, bytes)
        .header("Content-Type", route.content_type.as_deref().unwrap_or(content_type));
    route.headers.iter().fold(answer, |answer, (name, value)| answer.header(name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match() {
        for (pattern, path, expected) in [
            ("/a", "/a", Some("")),
            ("/a", "/ab", Some("b")),
            ("/{latest,1.0}/x", "/1.0/x/y", Some("/y")),
            ("/{latest,1.0}/x", "/2.0/x", None),
            ("/a/*", "/a/b/c", Some("b/c")),
            ("/{a,ab}c", "/abc", Some("")),
        ] {
            assert_eq!(matches(pattern, path), expected, "{pattern} {path}");
        }
    }
}
