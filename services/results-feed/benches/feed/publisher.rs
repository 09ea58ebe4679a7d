//! Sends documents as timing and scoring does: a POST each, on connections that stay open.

use std::net::SocketAddr;

use anyhow::{Result, bail, ensure};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// One sender.
pub struct Publisher {
    address: SocketAddr,
    key: String,
    stream: Option<TcpStream>,
}

impl Publisher {
    pub const fn new(address: SocketAddr, key: String) -> Self {
        Self { address, key, stream: None }
    }

    /// Answers once the document is durable.
    pub async fn post(&mut self, document: &str) -> Result<()> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect(self.address).await?;
                stream.set_nodelay(true)?;
                stream
            }
        };
        let head = format!(
            "POST /results/v1/odf HTTP/1.1\r\nHost: bench\r\nX-API-KEY: {}\r\nContent-Length: {}\r\n\r\n",
            self.key,
            document.len()
        );
        stream.write_all(&[head.as_bytes(), document.as_bytes()].concat()).await?;
        let answer = read_answer(&mut stream).await?;
        ensure!(answer.contains(r#""outcome":"accepted""#), "a document was not accepted: {answer}");
        self.stream = Some(stream);
        Ok(())
    }
}

// Head and body: our answers name their length.
async fn read_answer(stream: &mut TcpStream) -> Result<String> {
    let mut answer = Vec::with_capacity(1_024);
    loop {
        if stream.read_buf(&mut answer).await? == 0 {
            bail!("closed: {}", String::from_utf8_lossy(&answer));
        }
        let text = String::from_utf8_lossy(&answer);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
        });
        if body.len() >= length.unwrap_or(0) {
            return Ok(text.into_owned());
        }
    }
}
