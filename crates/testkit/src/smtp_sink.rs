//! A real SMTP server that takes every mail and delivers none: EHLO with PIPELINING, 8BITMIME, SIZE and SMTPUTF8, no
//! TLS. It can be told to refuse, to hang up and to be slow, as relays do.

mod session;
mod wire;

use std::{
    collections::HashSet,
    io,
    net::SocketAddr,
    panic::Location,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use mail_parser::MessageParser;
use tokio::{
    net::TcpListener,
    sync::Notify,
    task::JoinHandle,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use session::accept;
use wire::LARGEST;

/// One mail for one recipient: a message to several makes several of them.
#[derive(Debug, Clone)]
pub struct Mail {
    /// Return path, as between the angle brackets.
    pub from: Vec<u8>,
    /// Recipient, as between the angle brackets.
    pub to: Vec<u8>,
    /// Header and body as they came, without dot-stuffing and final dot.
    pub data: Vec<u8>,
    /// Without angle brackets; empty when there is none.
    pub message_id: String,
    /// When its final dot came.
    pub at: Instant,
}

impl Mail {
    /// The decoded subject.
    #[must_use]
    pub fn subject(&self) -> String {
        self.with(|mail| mail.subject().map(str::to_owned))
    }

    /// The decoded plain text.
    #[must_use]
    pub fn text(&self) -> String {
        self.with(|mail| mail.body_text(0).map(std::borrow::Cow::into_owned))
    }

    /// The decoded HTML.
    #[must_use]
    pub fn html(&self) -> String {
        self.with(|mail| mail.body_html(0).map(std::borrow::Cow::into_owned))
    }

    /// A header as it stands, unfolded, without spaces around; empty when there is none.
    #[must_use]
    pub fn header(&self, name: &str) -> String {
        let text = String::from_utf8_lossy(&self.data).replace("\r\n ", " ").replace("\r\n\t", " ");
        let head = text.split("\r\n\r\n").next().unwrap_or_default().to_owned();
        let named = |line: &str| {
            let (held, value) = line.split_once(':')?;
            held.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        };
        head.split("\r\n").find_map(named).unwrap_or_default()
    }

    /// Whether it went to this address, as it is on the wire.
    #[must_use]
    pub fn is_to(&self, address: &str) -> bool {
        self.to == address.as_bytes()
    }

    fn with(&self, read: impl FnOnce(&mail_parser::Message<'_>) -> Option<String>) -> String {
        MessageParser::default().parse(&self.data).as_ref().and_then(read).unwrap_or_default()
    }
}

/// A running server.
#[derive(Debug)]
pub struct SmtpSink {
    /// Where it listens.
    pub addr: SocketAddr,
    shared: Arc<Shared>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct State {
    mails: Vec<Mail>,
    refusals: Vec<Refusal>,
    drops_after_dot: usize,
    delay: Duration,
    hidden: HashSet<&'static str>,
    connections: usize,
}

#[derive(Debug)]
struct Refusal {
    recipient: Vec<u8>,
    reply: String,
    times: usize,
}

impl SmtpSink {
    /// Listens on a free port of this machine.
    ///
    /// # Panics
    /// When there is none.
    pub async fn start() -> Self {
        #[expect(clippy::expect_used, reason = "a test without its server is no test")]
        Self::start_on(SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("a free port for the SMTP sink")
    }

    /// Listens on an address.
    ///
    /// # Errors
    /// The port is taken.
    pub async fn start_on(addr: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(addr).await?;
        let addr = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        let stop = CancellationToken::new();
        let task = tokio::spawn(accept(listener, Arc::clone(&shared), stop.clone()));
        Ok(Self { addr, shared, stop, task })
    }

    /// Its address as a relay's: `smtp://127.0.0.1:1025`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("smtp://{}", self.addr)
    }

    /// Every mail so far, in the order of their final dots.
    #[must_use]
    pub fn mails(&self) -> Vec<Mail> {
        self.shared.state().mails.clone()
    }

    /// Connections so far.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.state().connections
    }

    /// The first mail that fits, as soon as it is there.
    ///
    /// # Panics
    /// When the deadline passes, with what came instead.
    #[track_caller]
    pub fn wait_for(&self, fits: impl Fn(&Mail) -> bool, deadline: Duration) -> impl Future<Output = Mail> {
        let caller = Location::caller();
        async move {
            let found = async {
                loop {
                    let arrived = self.shared.arrived.notified();
                    if let Some(mail) = self.mails().into_iter().find(&fits) {
                        return mail;
                    }
                    arrived.await;
                }
            };
            if let Ok(mail) = timeout(deadline, found).await {
                return mail;
            }
            let came: Vec<String> = self.mails().iter().map(Mail::subject).collect();
            #[expect(clippy::panic, reason = "a test fails by panic")]
            {
                panic!("no such mail within {deadline:?}, asked at {caller}; subjects that came: {came:?}")
            }
        }
    }

    /// Answers the next `times` RCPTs for a recipient with this reply, such as `451 4.2.1 try later`.
    pub fn refuse(&self, recipient: &str, reply: &str, times: usize) {
        let refusal = Refusal { recipient: recipient.as_bytes().to_vec(), reply: reply.to_owned(), times };
        self.shared.state().refusals.push(refusal);
    }

    /// Keeps the next `times` messages, and hangs up instead of answering their final dot.
    pub fn drop_after_dot(&self, times: usize) {
        self.shared.state().drops_after_dot = times;
    }

    /// Waits this long before each answer to a final dot.
    pub fn delay(&self, delay: Duration) {
        self.shared.state().delay = delay;
    }

    /// Does not offer an extension any more: PIPELINING, 8BITMIME, SIZE or SMTPUTF8.
    pub fn hide(&self, extension: &'static str) {
        self.shared.state().hidden.insert(extension);
    }

    /// Closes the port and every connection.
    pub async fn stop(mut self) {
        self.stop.cancel();
        let _ = (&mut self.task).await;
    }
}

impl Drop for SmtpSink {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refusal(&self, recipient: &[u8]) -> Option<String> {
        let mut state = self.state();
        let refusal = state.refusals.iter_mut().find(|held| held.recipient == recipient && held.times > 0)?;
        refusal.times -= 1;
        Some(refusal.reply.clone())
    }

    fn greeting(&self) -> String {
        let state = self.state();
        let offered = ["PIPELINING", "8BITMIME", "SIZE", "SMTPUTF8"];
        let mut lines = vec!["sink.example".to_owned()];
        for extension in offered.into_iter().filter(|extension| !state.hidden.contains(extension)) {
            lines.push(if extension == "SIZE" { format!("SIZE {LARGEST}") } else { extension.to_owned() });
        }
        let last = lines.len() - 1;
        let line =
            |(at, line): (usize, &String)| format!("250{}{line}\r\n", if at == last { ' ' } else { '-' });
        lines.iter().enumerate().map(line).collect()
    }

    // False when the connection is to be dropped without an answer.
    fn keep(&self, from: &[u8], recipients: &[Vec<u8>], data: &[u8]) -> bool {
        let mut state = self.state();
        let message_id =
            MessageParser::default().parse(data).and_then(|mail| mail.message_id().map(str::to_owned));
        for to in recipients {
            state.mails.push(Mail {
                from: from.to_vec(),
                to: to.clone(),
                data: data.to_vec(),
                message_id: message_id.clone().unwrap_or_default(),
                at: Instant::now(),
            });
        }
        let answers = state.drops_after_dot == 0;
        state.drops_after_dot = state.drops_after_dot.saturating_sub(1);
        drop(state);
        self.arrived.notify_waiters();
        answers
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpStream,
    };

    use super::*;

    async fn talk(sink: &SmtpSink, text: &str) -> String {
        let mut stream = TcpStream::connect(sink.addr).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    const MAIL: &str = "MAIL FROM:<news@example.org> SIZE=9\r\nRCPT TO:<\"a>..b\"@docomo.ne.jp>\r\nDATA\r\n\
                        Subject: hi\r\nMessage-ID: <1@example.org>\r\n\r\n..dot\r\n.\r\nQUIT\r\n";

    #[tokio::test]
    async fn a_pipelined_mail_is_kept_with_its_exact_recipient() {
        let sink = SmtpSink::start().await;
        let answer = talk(&sink, &format!("EHLO me\r\n{MAIL}")).await;
        assert!(answer.contains("250-PIPELINING\r\n") && answer.ends_with("221 2.0.0 bye\r\n"), "{answer}");
        let mail = sink.wait_for(|mail| mail.subject() == "hi", Duration::from_secs(5)).await;
        assert_eq!(
            (mail.to.as_slice(), mail.from.as_slice()),
            (b"\"a>..b\"@docomo.ne.jp".as_slice(), b"news@example.org".as_slice())
        );
        assert_eq!(
            (mail.message_id.as_str(), mail.header("message-id").as_str()),
            ("1@example.org", "<1@example.org>")
        );
        assert!(mail.data.ends_with(b"\r\n.dot\r\n"));
        sink.stop().await;
    }

    #[tokio::test]
    async fn refusals_and_drops_happen_as_often_as_told() {
        let sink = SmtpSink::start().await;
        sink.hide("PIPELINING");
        sink.refuse("\"a>..b\"@docomo.ne.jp", "451 4.2.1 later", 1);
        let answer = talk(&sink, &format!("EHLO me\r\n{MAIL}")).await;
        assert!(answer.contains("451 4.2.1 later") && answer.contains("554 5.5.1"), "{answer}");
        assert!(!answer.contains("PIPELINING") && sink.mails().is_empty());
        sink.drop_after_dot(1);
        let answer = talk(&sink, MAIL).await;
        assert!(answer.ends_with("354 end with a dot\r\n"), "{answer}");
        assert!(talk(&sink, MAIL).await.contains("250 2.0.0 kept"));
        assert_eq!((sink.mails().len(), sink.connections()), (2, 3));
    }

    #[tokio::test]
    async fn garbage_ends_the_connection_and_not_the_sink() {
        let sink = SmtpSink::start().await;
        let long = "x".repeat(10_000);
        let _ = TcpStream::connect(sink.addr).await.unwrap().write_all(long.as_bytes()).await;
        assert!(talk(&sink, "\u{0}\u{1}\r\nRCPT TO:x\r\nDATA\r\nQUIT\r\n").await.contains("500 5.5.2"));
    }
}
