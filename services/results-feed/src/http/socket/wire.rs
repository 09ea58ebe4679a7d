use std::{
    future::poll_fn,
    io::{Cursor, ErrorKind, IoSlice},
    time::Duration,
};

use bytes::Bytes;
use tokio::{net::TcpStream, time::timeout};
use tungstenite::protocol::frame::{
    FrameHeader,
    coding::{CloseCode, Control, OpCode},
};

/// A connection on which nothing could be written for so long is closed.
const STANDSTILL: Duration = Duration::from_secs(60);
/// Longest payload of a control frame in bytes (RFC 6455 5.5).
const LONGEST_CONTROL: usize = 125;
/// Bytes that are read at a time: readers have nothing to say.
const PIECE: usize = 256;

const FINAL: u8 = 0x80;
const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const PONG: u8 = 10;

/// Frames of RFC 6455 on a socket, from the server's side. What goes out is not masked (5.1), so that all connections share
/// one message's bytes, and only its head is a connection's own; a library that owned the socket would copy every message
/// once for each reader.
pub struct Wire {
    stream: TcpStream,
    /// What has come of the next frame.
    said: Vec<u8>,
    /// How long nothing at all may be written.
    patience: Duration,
}

/// What a reader says.
#[derive(Debug, PartialEq, Eq)]
pub enum Said {
    /// It wants this back.
    Ping(Vec<u8>),
    /// Unasked.
    Pong,
    /// It ends the connection, with its reason (7.1.5).
    Close(Option<[u8; 2]>),
    /// A message, or a part of one: a reader has none to send.
    Message,
    /// No frame of this protocol.
    Nonsense,
}

/// Why nothing more can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unwritten {
    /// The connection is gone.
    Lost,
    /// Its reader takes nothing.
    StoodStill,
}

impl Wire {
    /// On a socket whose handshake is over; `said` came with it.
    pub fn new(stream: TcpStream, said: &[u8]) -> Self {
        Self { stream, said: said.to_vec(), patience: STANDSTILL }
    }

    /// What the reader says next; nothing when the connection is gone. To give up waiting loses nothing.
    pub async fn hear(&mut self) -> Option<Said> {
        loop {
            if let Some(said) = take(&mut self.said) {
                return Some(said);
            }
            poll_fn(|context| self.stream.poll_read_ready(context)).await.ok()?;
            let mut piece = [0; PIECE];
            match self.stream.try_read(&mut piece) {
                Ok(0) => return None,
                Ok(length) => self.said.extend_from_slice(piece.get(..length)?),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => return None,
            }
        }
    }

    /// Writes each as a message of text, in one go where the socket takes them.
    pub async fn write(&mut self, messages: &[Bytes]) -> Result<(), Unwritten> {
        let heads: Vec<Head> = messages.iter().map(|message| Head::new(TEXT, message.len())).collect();
        let slices = heads.iter().zip(messages);
        let slices = slices.flat_map(|(head, message)| [IoSlice::new(head.bytes()), IoSlice::new(message)]);
        self.write_all(&mut slices.collect::<Vec<_>>()).await
    }

    /// Gives a ping's payload back.
    pub async fn pong(&mut self, payload: &[u8]) -> Result<(), Unwritten> {
        self.control(PONG, payload).await
    }

    /// Says that the connection ends, and why.
    pub async fn close(&mut self, code: Option<[u8; 2]>) -> Result<(), Unwritten> {
        self.control(CLOSE, code.as_ref().map_or(&[], <[u8; 2]>::as_slice)).await
    }

    async fn control(&mut self, opcode: u8, payload: &[u8]) -> Result<(), Unwritten> {
        let head = Head::new(opcode, payload.len());
        self.write_all(&mut [IoSlice::new(head.bytes()), IoSlice::new(payload)]).await
    }

    async fn write_all(&mut self, mut rest: &mut [IoSlice<'_>]) -> Result<(), Unwritten> {
        IoSlice::advance_slices(&mut rest, 0);
        while !rest.is_empty() {
            match self.stream.try_write_vectored(rest) {
                Ok(0) => return Err(Unwritten::Lost),
                Ok(length) => IoSlice::advance_slices(&mut rest, length),
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.writable().await?,
                Err(_) => return Err(Unwritten::Lost),
            }
        }
        Ok(())
    }

    async fn writable(&self) -> Result<(), Unwritten> {
        match timeout(self.patience, poll_fn(|context| self.stream.poll_write_ready(context))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Unwritten::Lost),
            Err(_) => Err(Unwritten::StoodStill),
        }
    }
}

/// The head of a frame that is whole and not masked (RFC 6455 5.2).
struct Head {
    bytes: [u8; 10],
    length: usize,
}

impl Head {
    fn new(opcode: u8, payload: usize) -> Self {
        let mut bytes = [0; 10];
        let payload = payload as u64;
        let long = payload.to_be_bytes();
        let [first, second, rest @ ..] = &mut bytes;
        *first = FINAL | opcode;
        let length = match (u8::try_from(payload), u16::try_from(payload)) {
            (Ok(short @ ..=125), _) => {
                *second = short;
                2
            }
            (_, Ok(middle)) => {
                *second = 126;
                let [high, low] = middle.to_be_bytes();
                (rest[0], rest[1]) = (high, low);
                4
            }
            _ => {
                *second = 127;
                *rest = long;
                10
            }
        };
        Self { bytes, length }
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

// Takes the next frame out of what has come; nothing where it is not whole yet. A control frame is short, and nothing else
// is waited for: what is kept has a bound.
fn take(said: &mut Vec<u8>) -> Option<Said> {
    let mut head = Cursor::new(said.as_slice());
    let (header, length) = match FrameHeader::parse(&mut head) {
        Ok(Some(parsed)) => parsed,
        Ok(None) => return None,
        Err(_) => return Some(Said::Nonsense),
    };
    let is_extended = header.rsv1 || header.rsv2 || header.rsv3;
    // A client masks, always (5.1).
    let (Some(mask), false) = (header.mask, is_extended) else { return Some(Said::Nonsense) };
    let OpCode::Control(control) = header.opcode else { return Some(Said::Message) };
    if !header.is_final {
        return Some(Said::Nonsense);
    }
    let Some(length) = usize::try_from(length).ok().filter(|length| *length <= LONGEST_CONTROL) else {
        return Some(Said::Nonsense);
    };
    let begin = usize::try_from(head.position()).ok()?;
    let masked = said.get(begin..begin + length)?;
    let payload: Vec<u8> = masked.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
    said.drain(..begin + length);
    Some(match (control, payload.as_slice()) {
        (Control::Ping, _) => Said::Ping(payload),
        (Control::Pong, _) => Said::Pong,
        (Control::Close, []) => Said::Close(None),
        (Control::Close, [high, low, why @ ..]) if is_reason([*high, *low], why) => {
            Said::Close(Some([*high, *low]))
        }
        (Control::Close, _) | (Control::Reserved(_), _) => Said::Nonsense,
    })
}

// A code that may be sent, and text (7.4, 5.5.1).
fn is_reason(code: [u8; 2], why: &[u8]) -> bool {
    CloseCode::from(u16::from_be_bytes(code)).is_allowed() && std::str::from_utf8(why).is_ok()
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
