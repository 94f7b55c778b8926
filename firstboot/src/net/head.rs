//! The head of a request, as every server gets it: `Host`, `User-Agent` and, where there can be a body, `Content-Length`.

use http::header::{CONTENT_LENGTH, HOST, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};

/// Methods that have a body, if only an empty one.
const WITH_BODY: [Method; 3] = [Method::POST, Method::PUT, Method::PATCH];

/// The request `method` of `url` with `headers`; an error says what cannot be sent, without its value.
pub(super) fn head<'a>(
    method: &Method,
    url: &str,
    host: &str,
    headers: impl IntoIterator<Item = (&'a str, &'a str)>,
    length: usize,
) -> Result<Request<()>, String> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let name: HeaderName =
            name.parse().map_err(|_| "a header's name has characters that no header may have")?;
        let mut value = HeaderValue::from_str(value)
            .map_err(|_| "a header's value has characters that no header may have")?;
        value.set_sensitive(true);
        map.append(name, value);
    }
    map.insert(HOST, HeaderValue::from_str(host).map_err(|_| "its host cannot be sent")?);
    map.insert(USER_AGENT, HeaderValue::from_static(concat!("firstboot/", env!("CARGO_PKG_VERSION"))));
    if length > 0 || WITH_BODY.contains(method) {
        map.insert(CONTENT_LENGTH, length.into());
    }
    let mut request = Request::builder().method(method.clone()).uri(url);
    if let Some(headers) = request.headers_mut() {
        *headers = map;
    }
    request.body(()).map_err(|_| "it has characters that no URL may have".to_owned())
}
