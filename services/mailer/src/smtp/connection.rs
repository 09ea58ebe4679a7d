use std::{fmt, io, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use super::{
    relay::{Relay, Security},
    reply::{BadReply, Reply},
};

// RFC 5321 4.5.3.2, but for the connection itself.
const CONNECT: Duration = Duration::from_secs(30);
const COMMAND: Duration = Duration::from_secs(300);
const DATA: Duration = Duration::from_secs(120);
const BLOCK: Duration = Duration::from_secs(180);
const FINAL_DOT: Duration = Duration::from_secs(600);
/// Mails of one connection: some relays count.
const MOST_MAILS: u32 = 100;

/// A TCP or TLS stream.
trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// One connection to a relay, greeted and ready for MAIL.
pub struct Connection {
    wire: Box<dyn Wire>,
    buffer: Vec<u8>,
    extensions: Extensions,
    mails: u32,
    is_closing: bool,
}

#[derive(Debug, Default, Clone, Copy)]
struct Extensions {
    pipelining: bool,
    smtputf8: bool,
    starttls: bool,
    auth_plain: bool,
    size: Option<usize>,
}

/// From whom and to whom, in wire form.
#[derive(Debug)]
pub struct Envelope<'a> {
    /// Return path.
    pub from: &'a [u8],
    /// Recipient.
    pub to: &'a [u8],
}

/// Which command a relay refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The sender.
    Mail,
    /// The recipient.
    Rcpt,
    /// The wish to send.
    Data,
    /// The content itself.
    Content,
}

/// What a relay answered to a mail.
#[derive(Debug)]
pub enum Sent {
    /// It is the relay's now.
    Accepted(Reply),
    /// It is not.
    Refused(Stage, Reply),
    /// Longer than the relay says it takes.
    TooLarge,
    /// The address needs SMTPUTF8, which the relay does not know.
    NoSmtputf8,
}

/// The connection is of no more use.
#[derive(Debug, thiserror::Error)]
#[error("the connection to the relay broke")]
pub struct Broken {
    /// Whether content may have reached the relay: then nobody knows what became of it.
    pub content_left: bool,
    /// Why.
    #[source]
    pub cause: Cause,
}

/// Why a connection broke.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// The network.
    #[error("the network failed")]
    Io(#[from] io::Error),
    /// Nothing came in time.
    #[error("no answer in time")]
    Timeout,
    /// The other side hung up.
    #[error("the relay closed the connection")]
    Closed,
    /// No SMTP.
    #[error("the relay does not speak SMTP")]
    Reply(#[from] BadReply),
    /// It does not want us.
    #[error("the relay refused with {0}")]
    Refused(u16),
    /// It lacks what its address demands.
    #[error("the relay does not offer {0}")]
    Missing(&'static str),
}

impl Connection {
    /// Connects, greets, and protects the connection as the relay's address demands.
    ///
    /// # Errors
    /// The relay cannot be reached, refuses, or lacks TLS or AUTH that is demanded.
    pub async fn open(relay: &Relay) -> Result<Self, Broken> {
        Self::greet(relay).await.map_err(|cause| Broken { content_left: false, cause })
    }

    async fn greet(relay: &Relay) -> Result<Self, Cause> {
        let address = (relay.host.as_str(), relay.port);
        let stream = timeout(CONNECT, TcpStream::connect(address)).await.map_err(|_| Cause::Timeout)??;
        stream.set_nodelay(true)?;
        let mut connection = Self {
            wire: Box::new(stream),
            buffer: Vec::new(),
            extensions: Extensions::default(),
            mails: 0,
            is_closing: false,
        };
        if relay.security == Security::Tls {
            connection = connection.protect(relay).await?;
        }
        connection.expect_positive(COMMAND).await?;
        connection.ehlo().await?;
        if relay.security == Security::StartTls {
            if !connection.extensions.starttls {
                return Err(Cause::Missing("STARTTLS"));
            }
            connection.command(b"STARTTLS\r\n").await?;
            // Whatever came behind the answer came in the clear, from anybody.
            connection.buffer.clear();
            connection = connection.protect(relay).await?;
            connection.ehlo().await?;
        }
        if let Some(credentials) = &relay.credentials {
            let (user, password) = credentials.reveal();
            if !connection.extensions.auth_plain {
                return Err(Cause::Missing("AUTH PLAIN"));
            }
            let secret = STANDARD.encode(format!("\0{user}\0{password}"));
            connection.command(format!("AUTH PLAIN {secret}\r\n").as_bytes()).await?;
        }
        Ok(connection)
    }

    async fn protect(self, relay: &Relay) -> Result<Self, Cause> {
        let (config, name) = relay.tls.clone().ok_or(Cause::Missing("TLS"))?;
        let tls = TlsConnector::from(config).connect(name, self.wire);
        let wire = timeout(CONNECT, tls).await.map_err(|_| Cause::Timeout)??;
        Ok(Self { wire: Box::new(wire), buffer: Vec::new(), ..self })
    }

    async fn ehlo(&mut self) -> Result<(), Cause> {
        // An address literal: who we are is told by DNS and the return path, and a host's name would be guessed.
        self.write(b"EHLO [127.0.0.1]\r\n", COMMAND).await?;
        let reply = self.reply(COMMAND).await?;
        self.extensions = Extensions::default();
        if !reply.is_positive() {
            let reply = self.command(b"HELO [127.0.0.1]\r\n").await?;
            return if reply.is_positive() { Ok(()) } else { Err(Cause::Refused(reply.code)) };
        }
        for line in reply.lines.iter().skip(1) {
            let mut words = line.split_ascii_whitespace();
            let keyword = words.next().unwrap_or_default().to_ascii_uppercase();
            match keyword.as_str() {
                "PIPELINING" => self.extensions.pipelining = true,
                "SMTPUTF8" => self.extensions.smtputf8 = true,
                "STARTTLS" => self.extensions.starttls = true,
                "AUTH" => self.extensions.auth_plain = words.any(|word| word.eq_ignore_ascii_case("PLAIN")),
                "SIZE" => {
                    self.extensions.size =
                        words.next().and_then(|size| size.parse().ok()).filter(|size| *size > 0);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Sends one mail; `content` is stuffed and ends with its dot. A refusal leaves the connection ready for the next.
    ///
    /// # Errors
    /// The connection broke, and whether content may have left by then.
    pub async fn send(&mut self, envelope: &Envelope<'_>, content: &[u8]) -> Result<Sent, Broken> {
        if self.extensions.size.is_some_and(|most| content.len() > most) {
            return Ok(Sent::TooLarge);
        }
        let is_utf8 = !envelope.to.is_ascii() || !envelope.from.is_ascii();
        if is_utf8 && !self.extensions.smtputf8 {
            return Ok(Sent::NoSmtputf8);
        }
        self.mails += 1;
        let before = |cause| Broken { content_left: false, cause };
        if let Some((stage, reply)) = self.envelope(envelope, content.len(), is_utf8).await.map_err(before)? {
            self.is_closing |= reply.code == 421;
            return Ok(Sent::Refused(stage, reply));
        }
        let after = |cause| Broken { content_left: true, cause };
        self.write(content, BLOCK).await.map_err(after)?;
        let reply = self.reply(FINAL_DOT).await.map_err(after)?;
        self.is_closing |= reply.code == 421;
        Ok(if reply.is_positive() { Sent::Accepted(reply) } else { Sent::Refused(Stage::Content, reply) })
    }

    // MAIL, RCPT and DATA; nothing when the relay waits for content.
    async fn envelope(
        &mut self,
        envelope: &Envelope<'_>,
        size: usize,
        is_utf8: bool,
    ) -> Result<Option<(Stage, Reply)>, Cause> {
        let mut mail = [b"MAIL FROM:<", envelope.from, b">"].concat();
        if self.extensions.size.is_some() {
            mail.extend_from_slice(format!(" SIZE={size}").as_bytes());
        }
        if is_utf8 {
            mail.extend_from_slice(b" SMTPUTF8");
        }
        mail.extend_from_slice(b"\r\n");
        let rcpt = [b"RCPT TO:<", envelope.to, b">\r\n"].concat();
        if !self.extensions.pipelining {
            return self.one_by_one(&mail, &rcpt).await;
        }
        // DATA may end a group (RFC 2920 3.1).
        self.write(&[mail.as_slice(), &rcpt, b"DATA\r\n"].concat(), COMMAND).await?;
        let mail = self.reply(COMMAND).await?;
        let rcpt = self.reply(COMMAND).await?;
        let data = self.reply(DATA).await?;
        let go_on = data.code == 354;
        let is_open = mail.is_positive();
        let refused = if !mail.is_positive() {
            (Stage::Mail, mail)
        } else if !rcpt.is_positive() {
            (Stage::Rcpt, rcpt)
        } else if !go_on {
            (Stage::Data, data)
        } else {
            return Ok(None);
        };
        if go_on {
            // The relay waits although it refused: an empty message ends that.
            self.write(b".\r\n", DATA).await?;
            self.reply(FINAL_DOT).await?;
        } else if is_open && refused.1.code != 421 {
            self.command(b"RSET\r\n").await?;
        }
        Ok(Some(refused))
    }

    async fn one_by_one(&mut self, mail: &[u8], rcpt: &[u8]) -> Result<Option<(Stage, Reply)>, Cause> {
        for (stage, line) in [(Stage::Mail, mail), (Stage::Rcpt, rcpt), (Stage::Data, b"DATA\r\n".as_slice())]
        {
            self.write(line, COMMAND).await?;
            let reply = self.reply(COMMAND).await?;
            let is_right = if stage == Stage::Data { reply.code == 354 } else { reply.is_positive() };
            if is_right {
                continue;
            }
            if stage != Stage::Mail && reply.code != 421 {
                self.command(b"RSET\r\n").await?;
            }
            return Ok(Some((stage, reply)));
        }
        Ok(None)
    }

    /// Whether another mail may go this way.
    #[must_use]
    pub const fn is_reusable(&self) -> bool {
        !self.is_closing && self.mails < MOST_MAILS
    }

    async fn command(&mut self, line: &[u8]) -> Result<Reply, Cause> {
        self.write(line, COMMAND).await?;
        self.expect_positive(COMMAND).await
    }

    async fn expect_positive(&mut self, within: Duration) -> Result<Reply, Cause> {
        let reply = self.reply(within).await?;
        if reply.is_positive() { Ok(reply) } else { Err(Cause::Refused(reply.code)) }
    }

    async fn write(&mut self, bytes: &[u8], within: Duration) -> Result<(), Cause> {
        let write = async {
            self.wire.write_all(bytes).await?;
            self.wire.flush().await
        };
        timeout(within, write).await.map_err(|_| Cause::Timeout)?.map_err(Cause::Io)
    }

    async fn reply(&mut self, within: Duration) -> Result<Reply, Cause> {
        loop {
            if let Some(reply) = Reply::take(&mut self.buffer)? {
                return Ok(reply);
            }
            let read = self.wire.read_buf(&mut self.buffer);
            if timeout(within, read).await.map_err(|_| Cause::Timeout)?? == 0 {
                return Err(Cause::Closed);
            }
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("extensions", &self.extensions)
            .field("mails", &self.mails)
            .finish()
    }
}
