//! A WebSocket client of a few lines (RFC 6455): what it reads is what a browser would read.

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::world::{DEADLINE, World};

/// An open socket.
pub struct Socket {
    io: reqwest::Upgraded,
}

/// What came.
#[derive(Debug, PartialEq, Eq)]
pub enum Said {
    Text(String),
    Pong(Vec<u8>),
    Closed(u16),
}

impl Socket {
    /// Opens the feed; gives the status where that is refused.
    pub async fn open(world: &World, query: &str, headers: &[(&str, &str)]) -> Result<Self, u16> {
        let mut request = world
            .app
            .http()
            .get(world.app.http_url(&format!("/results/v1/feed/ws{query}")))
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
            .header("sec-websocket-protocol", "kotinos.feed.v1");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.send().await.unwrap();
        if answer.status() != 101 {
            return Err(answer.status().as_u16());
        }
        assert_eq!(answer.headers()["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(answer.headers()["sec-websocket-protocol"], "kotinos.feed.v1");
        Ok(Self { io: answer.upgrade().await.unwrap() })
    }

    pub async fn next(&mut self) -> Said {
        tokio::time::timeout(DEADLINE, self.read()).await.expect("a message in time")
    }

    async fn read(&mut self) -> Said {
        let head = self.io.read_u16().await.unwrap().to_be_bytes();
        assert_eq!(head[0] & 0x80, 0x80, "a message is one frame");
        assert_eq!(head[1] & 0x80, 0, "a server does not mask");
        let length = match head[1] {
            126 => u64::from(self.io.read_u16().await.unwrap()),
            127 => self.io.read_u64().await.unwrap(),
            short => u64::from(short),
        };
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        self.io.read_exact(&mut payload).await.unwrap();
        match head[0] & 0x0f {
            1 => Said::Text(String::from_utf8(payload).unwrap()),
            8 => Said::Closed(u16::from_be_bytes([payload[0], payload[1]])),
            10 => Said::Pong(payload),
            other => panic!("opcode {other}"),
        }
    }

    /// The next frame of the feed but heartbeats, as it came.
    pub async fn text(&mut self) -> String {
        loop {
            match self.next().await {
                Said::Text(text) if text.starts_with(r#"{"t":"hb""#) => {}
                Said::Text(text) => return text,
                other => panic!("{other:?}"),
            }
        }
    }

    /// The next frame of the feed but heartbeats.
    pub async fn frame(&mut self) -> Value {
        serde_json::from_str(&self.text().await).unwrap()
    }

    /// Reads up to the frame with this sequence number.
    pub async fn read_to(&mut self, seq: i64) -> Vec<Value> {
        let mut frames = Vec::new();
        loop {
            let frame = self.frame().await;
            let is_last = frame["s"] == seq && frame["t"] != "snap";
            frames.push(frame);
            if is_last {
                return frames;
            }
        }
    }

    pub async fn say(&mut self, opcode: u8, payload: &[u8]) {
        let length = u8::try_from(payload.len()).unwrap();
        assert!(length < 126);
        let mut frame = vec![0x80 | opcode, 0x80 | length, 0, 0, 0, 0];
        frame.extend_from_slice(payload);
        self.say_bytes(&frame).await;
    }

    /// Says what need not be a frame.
    pub async fn say_bytes(&mut self, bytes: &[u8]) {
        self.io.write_all(bytes).await.unwrap();
    }
}

/// A message without its cursor: what the other carriers send.
pub fn payload(message: &str) -> String {
    match message.rfind(r#","c":""#) {
        Some(at) => format!("{}}}", &message[..at]),
        None => message.to_owned(),
    }
}
