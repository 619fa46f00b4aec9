//! A client of the HTTP interface of a running `tamiz up`: it publishes sessions and reads decisions.

use anyhow::{Context, Result, bail};
use pipeline::config::Config;
use serde_json::Value;
use std::io::{self, BufRead, BufReader, Read};
use std::time::Duration;
use ureq::http::StatusCode;
use ureq::tls::{RootCerts, TlsConfig, TlsProvider};

/// Time that a connection may take.
const CONNECT_WAIT_MAX: Duration = Duration::from_secs(5);
/// Time until an answer begins; the interface itself gives up on publishing after 10 s.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(60);
/// Largest answer in bytes, but for streams, which have no end.
const ANSWER_BYTES_MAX: u64 = 16 << 20;
/// Longest line of a stream: a decision as JSON, and room.
const LINE_BYTES_MAX: u64 = 16 << 20;
/// Most tries of a request that may succeed later.
const TRIES_MAX: u32 = 8;
/// Longest pause that an answer may ask for.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// A client of the HTTP interface.
pub struct Client {
    agent: ureq::Agent,
    url: String,
}

/// What came of sessions that were posted.
#[derive(Debug, PartialEq, Eq)]
pub enum Posted {
    /// All are in the log.
    Accepted,
    /// None is, for what these say: the place of a session among those posted, and the problem.
    Refused(Vec<(usize, String)>),
}

impl Client {
    /// Makes a client of an address, as in `http://127.0.0.1:8080`.
    pub fn new(url: &str) -> Result<Self> {
        let uri: ureq::http::Uri = url.parse().with_context(|| format!("--url {url:?} is not a URL"))?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            bail!("--url {url:?} begins with neither http:// nor https://");
        }
        let tls =
            TlsConfig::builder().provider(TlsProvider::NativeTls).root_certs(RootCerts::PlatformVerifier);
        // A proxy of the environment is for what is elsewhere, and would look for this machine in vain.
        let proxy = if is_here(&uri) { None } else { ureq::Proxy::try_from_env() };
        let agent = ureq::Agent::config_builder()
            .tls_config(tls.build())
            .timeout_connect(Some(CONNECT_WAIT_MAX))
            .timeout_recv_response(Some(ANSWER_WAIT_MAX))
            .http_status_as_error(false)
            .proxy(proxy)
            .user_agent(concat!("tamiz/", env!("CARGO_PKG_VERSION")))
            .build()
            .new_agent();
        Ok(Self { agent, url: url.trim_end_matches('/').to_owned() })
    }

    /// Makes a client of the address that a process with these settings listens on.
    pub fn of_settings(config: &Config) -> Result<Self> {
        Self::new(&format!("http://{}", reachable(&config.http.listen)))
    }

    /// Returns the address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Tells whether the interface answers.
    pub fn check(&self) -> Result<()> {
        let (status, _) = self.get("/health/live")?;
        if !status.is_success() {
            bail!("{} answers with status {status}, which `tamiz up` does not", self.url);
        }
        Ok(())
    }

    /// Posts sessions, an object a line; all of them are taken, or none.
    pub fn post_sessions(&self, lines: &[u8]) -> Result<Posted> {
        for attempt in 1.. {
            let mut response = self
                .agent
                .post(format!("{}/v1/sessions", self.url))
                .header("content-type", "application/x-ndjson")
                .send(lines)
                .with_context(|| self.unreachable())?;
            let status = response.status();
            let pause =
                response.headers().get("retry-after").and_then(|seconds| seconds.to_str().ok()?.parse().ok());
            let text = read(&mut response).with_context(|| self.unreachable())?;
            let may_pass = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
            if may_pass && attempt < TRIES_MAX {
                std::thread::sleep(Duration::from_secs(pause.unwrap_or(1)).min(PAUSE_MAX));
                continue;
            }
            if status.is_success() {
                return Ok(Posted::Accepted);
            }
            let problems = problems(&text);
            if status == StatusCode::BAD_REQUEST && !problems.is_empty() {
                return Ok(Posted::Refused(problems));
            }
            bail!("{} does not take the sessions: {}", self.url, detail(status, &text));
        }
        unreachable!("the last try returns")
    }

    /// Returns the last decision of a session; none where there is none.
    pub fn decision(&self, tenant: &str, session_id: &str) -> Result<Option<Value>> {
        let (tenant, session_id) = (percent_encoded(tenant), percent_encoded(session_id));
        let (status, text) = self.get(&format!("/v1/decisions/{session_id}?tenant={tenant}"))?;
        match status {
            StatusCode::NOT_FOUND => Ok(None),
            status if status.is_success() => Ok(Some(
                serde_json::from_str(&text).with_context(|| format!("{} answers no decision", self.url))?,
            )),
            status => bail!("{} does not tell the decision: {}", self.url, detail(status, &text)),
        }
    }

    /// Opens the stream of decisions: from the oldest in the log or those to come, or after the event named.
    pub fn decisions(&self, from: &str, tenant: Option<&str>, last_event_id: Option<&str>) -> Result<Events> {
        let mut url = format!("{}/v1/decisions?from={from}", self.url);
        if let Some(tenant) = tenant {
            url.push_str(&format!("&tenant={}", percent_encoded(tenant)));
        }
        let mut request = self.agent.get(url).header("accept", "text/event-stream");
        if let Some(id) = last_event_id {
            request = request.header("last-event-id", id);
        }
        let mut response = request.call().with_context(|| self.unreachable())?;
        let status = response.status();
        if !status.is_success() {
            let text = read(&mut response).unwrap_or_default();
            bail!("{} does not stream decisions: {}", self.url, detail(status, &text));
        }
        Ok(Events::new(response.into_body().into_reader()))
    }

    fn get(&self, path: &str) -> Result<(StatusCode, String)> {
        let response = self.agent.get(format!("{}{path}", self.url)).call();
        let mut response = response.with_context(|| self.unreachable())?;
        let text = read(&mut response).with_context(|| self.unreachable())?;
        Ok((response.status(), text))
    }

    fn unreachable(&self) -> String {
        format!(
            "no answer from {}; is `tamiz up` running there? --url or http.listen names another address",
            self.url
        )
    }
}

fn read(response: &mut ureq::http::Response<ureq::Body>) -> Result<String, ureq::Error> {
    response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string()
}

/// Returns the problems of sessions that an answer names.
fn problems(text: &str) -> Vec<(usize, String)> {
    let answer: Value = serde_json::from_str(text).unwrap_or_default();
    let problems = answer["problems"].as_array().map(Vec::as_slice).unwrap_or_default();
    let problem = |problem: &Value| {
        let part = |name: &str| problem[name].as_str().filter(|part| !part.is_empty());
        let index = usize::try_from(problem["index"].as_u64()?).ok()?;
        let path = part("path").map_or_else(String::new, |path| format!("{path}: "));
        let advice =
            part("suggestion").map_or_else(String::new, |meant| format!(", did you mean {meant:?}?"));
        let hint = part("hint").map_or_else(String::new, |hint| format!("; {hint}"));
        Some((index, format!("{path}{}{advice}{hint}", part("message").unwrap_or("refused"))))
    };
    problems.iter().filter_map(problem).collect()
}

/// Returns what an answer says of itself.
fn detail(status: StatusCode, text: &str) -> String {
    const CHARS_MAX: usize = 300;
    let answer: Value = serde_json::from_str(text).unwrap_or_default();
    let detail = answer["detail"].as_str().unwrap_or(text);
    let shown: String = detail.trim().chars().take(CHARS_MAX).collect();
    if shown.is_empty() { status.to_string() } else { format!("{status}: {shown}") }
}

/// Tells whether an address is of this machine.
fn is_here(uri: &ureq::http::Uri) -> bool {
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}

/// Returns an address to connect to for one that is listened on: a process that listens everywhere is here too.
fn reachable(listen: &str) -> String {
    match listen.rsplit_once(':') {
        Some(("0.0.0.0", port)) => format!("127.0.0.1:{port}"),
        Some(("[::]", port)) => format!("[::1]:{port}"),
        _ => listen.to_owned(),
    }
}

/// Returns a text as one segment of a path, or one value of a query.
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte))
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// Server-sent events (HTML Living Standard, section 9.2), one after the other.
pub struct Events {
    reader: BufReader<Box<dyn Read + Send>>,
}

/// An event of a stream.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// Its id, after which a stream can be taken up again.
    pub id: Option<String>,
    /// Its data.
    pub data: String,
}

impl Events {
    fn new(reader: impl Read + Send + 'static) -> Self {
        Self { reader: BufReader::new(Box::new(reader)) }
    }

    /// Returns the next event; none where the stream has ended.
    pub fn next_event(&mut self) -> io::Result<Option<Event>> {
        let (mut event, mut has_data) = (Event::default(), false);
        while let Some(line) = self.line()? {
            if line.is_empty() {
                if has_data {
                    return Ok(Some(event));
                }
                event = Event::default();
                continue;
            }
            let (name, value) = line.split_once(':').unwrap_or((&line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match name {
                "id" => event.id = Some(value.to_owned()),
                "data" => {
                    if has_data {
                        event.data.push('\n');
                    }
                    has_data = true;
                    event.data.push_str(value);
                }
                // Comments have no name; `event` and `retry` say nothing that is needed here.
                _ => {}
            }
        }
        // An event that was cut off is not one.
        Ok(None)
    }

    fn line(&mut self) -> io::Result<Option<String>> {
        let mut bytes = Vec::new();
        let read = self.reader.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut bytes)?;
        if read == 0 {
            return Ok(None);
        }
        if bytes.pop() != Some(b'\n') {
            let whole = u64::try_from(read).unwrap_or(u64::MAX) < LINE_BYTES_MAX;
            return if whole { Ok(None) } else { Err(io::Error::other("a line of the stream is too long")) };
        }
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
        String::from_utf8(bytes).map(Some).map_err(io::Error::other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(text: &'static str) -> Vec<(Option<String>, String)> {
        let mut events = Events::new(text.as_bytes());
        let mut found = Vec::new();
        while let Some(event) = events.next_event().expect("the stream is read") {
            found.push((event.id, event.data));
        }
        found
    }

    #[test]
    fn events_are_read_and_comments_are_not() {
        let text = ": connected\nretry: 1000\n\nevent: decision\nid: d-1\ndata: {\"a\":1}\n\n: keep-alive\n\n\
                    id:d-2\r\ndata:two\r\ndata: lines\r\n\r\nid: d-3\ndata: cut off\n";
        let expected =
            [(Some("d-1".to_owned()), "{\"a\":1}".to_owned()), (Some("d-2".into()), "two\nlines".into())];
        assert_eq!(events(text), expected);
        assert_eq!(events(""), []);
        assert_eq!(events("data\n\n"), [(None, String::new())]);
    }

    #[test]
    fn a_stream_that_is_no_text_is_an_error() {
        let mut events = Events::new(b"data: \xff\n\n".as_slice());
        events.next_event().expect_err("it is not UTF-8");
    }

    #[test]
    fn the_problems_of_an_answer_are_told_with_their_place() {
        let text = r#"{"code":"invalid_sessions","problems":[
            {"index":3,"path":"tenant","message":"not a tenant that is known here"},
            {"index":4,"path":"","message":"broken","suggestion":"x","hint":"y"}, {"no":"index"}]}"#;
        let expected = [
            (3, "tenant: not a tenant that is known here".to_owned()),
            (4, "broken, did you mean \"x\"?; y".to_owned()),
        ];
        assert_eq!(problems(text), expected);
        assert_eq!(problems("<html>"), []);
        assert_eq!(detail(StatusCode::BAD_GATEWAY, ""), "502 Bad Gateway");
        assert_eq!(detail(StatusCode::NOT_FOUND, r#"{"detail":"nothing"}"#), "404 Not Found: nothing");
    }

    #[test]
    fn an_address_that_is_listened_on_becomes_one_to_connect_to() {
        assert_eq!(reachable("0.0.0.0:8080"), "127.0.0.1:8080");
        assert_eq!(reachable("[::]:80"), "[::1]:80");
        assert_eq!(reachable("10.0.0.7:80"), "10.0.0.7:80");
        for (url, here) in [
            ("http://127.0.0.1:1", true),
            ("http://[::1]/", true),
            ("http://localhost", true),
            ("http://h", false),
        ] {
            assert_eq!(is_here(&url.parse().expect("it is a URL")), here, "{url}");
        }
        assert_eq!(percent_encoded("a/b ñ"), "a%2Fb%20%C3%B1");
    }

    #[test]
    fn what_is_no_url_is_refused() {
        for url in ["", "127.0.0.1:8080", "ftp://host", "not a url"] {
            assert!(Client::new(url).is_err(), "{url}");
        }
        assert_eq!(Client::new("http://h:1/").expect("it is a URL").url(), "http://h:1");
    }
}
