//! Lines and bodies of SMTP, as they come.

use std::io;

use tokio::io::{AsyncBufRead, AsyncBufReadExt};

/// Largest message that is taken, in bytes.
pub(super) const LARGEST: usize = 10 * 1_024 * 1_024;

/// Bytes between the angle brackets; a `>` inside a quoted local part does not end it.
pub(super) fn path(line: &[u8]) -> Option<Vec<u8>> {
    let start = line.iter().position(|byte| *byte == b'<')? + 1;
    let mut is_quoted = false;
    let mut is_escaped = false;
    for (at, byte) in line.iter().enumerate().skip(start) {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_quoted => is_escaped = true,
            b'"' => is_quoted = !is_quoted,
            b'>' if !is_quoted => return Some(line[start..at].to_vec()),
            _ => {}
        }
    }
    None
}

/// One line without its CRLF; nothing at the end of the stream.
pub(super) async fn line(
    read: &mut (impl AsyncBufRead + Unpin),
    longest: usize,
) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    loop {
        let buffer = read.fill_buf().await?;
        if buffer.is_empty() {
            return Ok(None);
        }
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let taken = end.map_or(buffer.len(), |at| at + 1);
        line.extend_from_slice(&buffer[..taken]);
        read.consume(taken);
        if line.len() > longest {
            return Err(io::Error::other("line too long"));
        }
        // Only CRLF ends a line: a bare LF is part of it, so that smuggled ends are seen in the data.
        if line.ends_with(b"\r\n") {
            line.truncate(line.len() - 2);
            return Ok(Some(line));
        }
    }
}

/// The data up to its dot, unstuffed; nothing at the end of the stream.
pub(super) async fn message(read: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Option<Vec<u8>>> {
    let mut data = Vec::new();
    loop {
        let Some(line) = line(read, LARGEST).await? else { return Ok(None) };
        if line == b"." {
            return Ok(Some(data));
        }
        data.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
        data.extend_from_slice(b"\r\n");
        if data.len() > LARGEST {
            return Err(io::Error::other("message too long"));
        }
    }
}
