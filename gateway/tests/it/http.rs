//! A client that sends what it is told, byte by byte where a test wants something odd, and never waits for ever.

use serde_json::Value;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Past this, a test hangs.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        lines.into_iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// Checks that this is a problem with a status and a code, and returns it.
    pub fn problem(&self, status: u16, code: &str) -> Value {
        let problem = self.json();
        assert_eq!((self.status, problem["code"].as_str()), (status, Some(code)), "{problem}");
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        assert_eq!(problem["status"], status);
        problem
    }
}

pub async fn get(address: SocketAddr, path: &str) -> Answer {
    request(address, &format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")).await
}

pub async fn post(address: SocketAddr, path: &str, media_type: &str, body: impl AsRef<[u8]>) -> Answer {
    let body = body.as_ref();
    let mut request = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: {media_type}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(body);
    self::request(address, request).await
}

pub async fn post_json(address: SocketAddr, path: &str, body: impl AsRef<[u8]>) -> Answer {
    post(address, path, "application/json", body).await
}

/// Sends bytes and reads the answer to the end of the connection.
pub async fn request(address: SocketAddr, bytes: impl AsRef<[u8]>) -> Answer {
    let mut connection = Connection::open(address).await;
    // An answer may come, and the connection close, before all is sent.
    let _ = connection.stream.write_all(bytes.as_ref()).await;
    connection.answer().await
}

/// A connection on which a test decides what is sent when.
pub struct Connection {
    pub stream: TcpStream,
    read: Vec<u8>,
}

impl Connection {
    pub async fn open(address: SocketAddr) -> Self {
        let stream = within(TcpStream::connect(address)).await.expect("the gateway listens");
        Self { stream, read: Vec::new() }
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        within(self.stream.write_all(bytes.as_ref())).await.expect("the gateway reads");
    }

    /// Reads to the end of the connection.
    pub async fn answer(&mut self) -> Answer {
        while self.read_more().await {}
        let (head, body) = split_head(&self.read).unwrap_or_else(|| panic!("no answer: {:?}", self.read));
        let status =
            head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("an answer has a status");
        let mut body = body.to_vec();
        if head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
            body = dechunk(&mut body).0;
        }
        Answer { status, head, body }
    }

    /// Reads to the end of the connection, which nothing came before.
    pub async fn closes_without_answer(&mut self) -> bool {
        self.status().await.is_none()
    }

    /// Reads to the end of the connection, and returns the status of the answer where there was one.
    pub async fn status(&mut self) -> Option<u16> {
        while self.read_more().await {}
        if self.read.is_empty() { None } else { Some(self.answer().await.status) }
    }

    /// Reads what has come and tells whether more may.
    async fn read_more(&mut self) -> bool {
        matches!(within(self.stream.read_buf(&mut self.read)).await, Ok(count) if count > 0)
    }
}

/// A stream of server-sent events.
pub struct EventStream {
    connection: Connection,
    pub head: String,
    text: Vec<u8>,
    events: VecDeque<Event>,
    ended: bool,
}

/// An event, or a comment alone.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Event {
    pub id: Option<String>,
    pub event: Option<String>,
    pub data: Option<String>,
    pub comment: Option<String>,
}

impl Event {
    pub fn decision(&self) -> Value {
        serde_json::from_str(self.data.as_ref().expect("the event has data")).expect("the data is JSON")
    }
}

impl EventStream {
    /// Opens a stream and reads its greeting, after which nothing is missed.
    pub async fn open(address: SocketAddr, path: &str, headers: &str) -> Self {
        let mut stream = Self::request(address, path, headers).await;
        assert!(stream.head.starts_with("HTTP/1.1 200"), "{}", stream.head);
        assert_eq!(stream.next().await.and_then(|event| event.comment).as_deref(), Some("connected"));
        stream
    }

    /// Opens a stream, or is refused one, as its head says.
    pub async fn request(address: SocketAddr, path: &str, headers: &str) -> Self {
        let mut connection = Connection::open(address).await;
        connection.send(format!("GET {path} HTTP/1.1\r\nhost: x\r\n{headers}\r\n")).await;
        let head = loop {
            if let Some((head, body)) = split_head(&connection.read) {
                let body = body.to_vec();
                connection.read = body;
                break head;
            }
            assert!(connection.read_more().await, "the gateway closed the connection");
        };
        Self { connection, head, text: Vec::new(), events: VecDeque::new(), ended: false }
    }

    /// Returns the next event; none at the end of the stream.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            let (text, is_end) = dechunk(&mut self.connection.read);
            self.text.extend(text);
            self.ended |= is_end;
            while let Some(end) = self.text.windows(2).position(|pair| pair == b"\n\n") {
                let block: Vec<u8> = self.text.drain(..end + 2).collect();
                self.events.push_back(event(&String::from_utf8(block).expect("events are text")));
            }
            if self.events.is_empty() && (self.ended || !self.connection.read_more().await) {
                return None;
            }
        }
    }

    /// Returns the next decision, past comments.
    pub async fn decision(&mut self) -> Value {
        loop {
            let event = self.next().await.expect("the stream goes on");
            if event.data.is_some() {
                assert_eq!(event.event.as_deref(), Some("decision"));
                assert_eq!(event.decision()["decision_id"].as_str(), event.id.as_deref());
                return event.decision();
            }
        }
    }

    /// Returns the last comment before the end of the stream.
    pub async fn farewell(&mut self) -> Option<String> {
        let mut comment = None;
        while let Some(event) = self.next().await {
            comment = event.comment;
        }
        comment
    }
}

fn event(block: &str) -> Event {
    let mut event = Event::default();
    for line in block.lines() {
        let Some((field, value)) = line.split_once(':') else { continue };
        let value = value.strip_prefix(' ').unwrap_or(value).to_owned();
        match field {
            "" => event.comment = Some(value),
            "id" => event.id = Some(value),
            "event" => event.event = Some(value),
            "data" => event.data = Some(event.data.take().unwrap_or_default() + &value),
            _ => {}
        }
    }
    event
}

fn split_head(bytes: &[u8]) -> Option<(String, &[u8])> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    Some((String::from_utf8_lossy(&bytes[..end]).into_owned(), &bytes[end + 4..]))
}

/// Takes the whole chunks off the front of what was read, and returns what they hold and whether the last is among them.
fn dechunk(bytes: &mut Vec<u8>) -> (Vec<u8>, bool) {
    let (mut content, mut taken, mut is_end) = (Vec::new(), 0, false);
    while let Some(end) = bytes[taken..].windows(2).position(|pair| pair == b"\r\n") {
        let length = std::str::from_utf8(&bytes[taken..taken + end]).expect("a chunk begins with its length");
        let length = usize::from_str_radix(length, 16).expect("the length is in hexadecimal digits");
        let start = taken + end + 2;
        if bytes.len() < start + length + 2 {
            break;
        }
        content.extend_from_slice(&bytes[start..start + length]);
        taken = start + length + 2;
        is_end = length == 0;
    }
    bytes.drain(..taken);
    (content, is_end)
}

/// Waits for something, but not for ever.
pub async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("nothing takes so long")
}
