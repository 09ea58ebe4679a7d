//! Pushpin: a proxy that holds the answers of a backend open, and sends to them what is published (GRIP). Its readers
//! take server-sent events, as ours do.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use testkit::measure::{Contestant, free_address, kept, until};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::timeout,
};

use crate::{contestants, processors, readers::Hail};

const CHANNEL: &str = "feed";
const REQUEST: &[u8] = b"GET /feed HTTP/1.1\r\nHost: bench\r\nAccept: text/event-stream\r\n\r\n";
/// A comment of server-sent events, which the backend begins with.
const HEARD: &[u8] = b": listening";
/// It loses answers of its backend where more than some hundreds of readers a second come.
const GAP: Duration = Duration::from_millis(2);
/// So long its processes may take to find each other, and so long it may take to answer a reader meanwhile.
const START: Duration = Duration::from_secs(20);
const ATTEMPT: Duration = Duration::from_millis(500);

/// The proxy with its four processes, and the backend.
pub struct Pushpin {
    pub process: Contestant,
    address: SocketAddr,
    control: SocketAddr,
    backend: JoinHandle<()>,
    _folder: tempfile::TempDir,
}

impl Pushpin {
    /// Nothing where it is not installed.
    pub async fn start() -> Result<Option<Self>> {
        let Some(program) = std::env::var_os("BENCH_PUSHPIN").map(PathBuf::from) else { return Ok(None) };
        let (address, control, folder) = (free_address()?, free_address()?, tempfile::tempdir()?);
        let programs = program.parent().context("BENCH_PUSHPIN has no folder")?;
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        fs::write(folder.path().join("routes"), format!("* {}\n", listener.local_addr()?))?;
        configure(folder.path(), programs, address, control)?;
        let backend = tokio::spawn(answer_all(listener));
        let mut command = processors::on_the_first(&program);
        command.arg("--config").arg(folder.path().join("pushpin.conf")).env_clear().envs(kept());
        // It looks for its other programs there.
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}", programs.display()));
        if let Ok(libraries) = std::env::var("BENCH_PUSHPIN_LIBRARIES") {
            command.env("LD_LIBRARY_PATH", libraries);
        }
        let process = Contestant::start(command, "pushpin")?;
        let mut pushpin = Self { process, address, control, backend, _folder: folder };
        drop(contestants::connect(&mut pushpin.process, control).await?);
        // Until its processes have found each other, what comes is lost or refused.
        let is_heard = async || Ok(matches!(timeout(ATTEMPT, listen(address)).await, Ok(Ok(()))));
        let answers = until("a reader is answered", START, is_heard).await;
        pushpin.process.check()?;
        answers?;
        Ok(Some(pushpin))
    }

    pub fn reader(&self) -> Hail {
        Hail { gap: GAP, ..Hail::new(self.address, REQUEST.to_vec(), HEARD) }
    }

    /// Published once it is answered, which each time ends the connection.
    pub async fn send(&self, bytes: &[u8]) -> Result<()> {
        let event = format!("data: {}\n\n", std::str::from_utf8(bytes)?);
        let formats = serde_json::json!({ "http-stream": { "content": event } });
        let body = serde_json::json!({ "items": [{ "channel": CHANNEL, "formats": formats }] }).to_string();
        let head =
            format!("POST /publish/ HTTP/1.1\r\nHost: bench\r\nContent-Length: {}\r\n\r\n", body.len());
        let mut stream = TcpStream::connect(self.control).await?;
        stream.write_all(&[head.as_bytes(), body.as_bytes()].concat()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        ensure!(answer.starts_with("HTTP/1.1 200"), "not published: {answer}");
        Ok(())
    }
}

impl Drop for Pushpin {
    fn drop(&mut self) {
        self.backend.abort();
    }
}

async fn listen(address: SocketAddr) -> Result<()> {
    let mut reader = TcpStream::connect(address).await?;
    reader.write_all(REQUEST).await?;
    let mut came = Vec::new();
    while memchr::memmem::find(&came, HEARD).is_none() {
        ensure!(reader.read_buf(&mut came).await? > 0, "closed: {}", String::from_utf8_lossy(&came));
    }
    Ok(())
}

// All its files are in the folder. Its own limit of 2,500 deliveries a second does not hold here, nor does it log each
// request: the defaults of what the file does not name.
fn configure(folder: &Path, programs: &Path, address: SocketAddr, control: SocketAddr) -> Result<()> {
    let library = programs.join("../lib/pushpin");
    let sockets = fs::read_to_string(library.join("internal.conf")).context("internal.conf of Pushpin")?;
    // Debian's has zurl as a service of the system.
    let sockets = sockets.replace("ipc:///var/run/zurl/", "ipc://{rundir}/{ipc_prefix}");
    fs::write(folder.join("internal.conf"), sockets)?;
    let (folder_name, control_port) = (folder.display(), control.port());
    let configuration = format!(
        "[global]\ninclude={folder_name}/internal.conf\nlibdir={library}\nrundir={folder_name}\nipc_prefix=bench-\n\
         [runner]\nservices=condure,zurl,pushpin-proxy,pushpin-handler\nhttp_port={address}\nlogdir={folder_name}\n\
         log_level=0\nclient_maxconn=60000\ncondure_bin={programs}/condure\nzurl_bin={programs}/zurl\n\
         [proxy]\nroutesfile=routes\nupdates_check=off\n\
         [handler]\npush_in_spec=ipc://{{rundir}}/{{ipc_prefix}}push\n\
         push_in_sub_specs=ipc://{{rundir}}/{{ipc_prefix}}push-sub\n\
         command_spec=ipc://{{rundir}}/{{ipc_prefix}}command\n\
         push_in_http_addr=127.0.0.1\npush_in_http_port={control_port}\n",
        library = library.display(),
        programs = programs.display(),
    );
    fs::write(folder.join("pushpin.conf"), configuration)?;
    Ok(())
}

// The backend: every request is to be held open on the channel.
async fn answer_all(listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(answer(stream));
    }
}

async fn answer(mut stream: TcpStream) -> Result<()> {
    let body = [HEARD, b"\n\n"].concat();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nGrip-Hold: stream\r\nGrip-Channel: {CHANNEL}\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    let answer = [head.as_bytes(), body.as_slice()].concat();
    let mut request = Vec::with_capacity(1_024);
    while stream.read_buf(&mut request).await? > 0 {
        while let Some(end) = memchr::memmem::find(&request, b"\r\n\r\n") {
            request.drain(..end + 4);
            stream.write_all(&answer).await?;
        }
    }
    Ok(())
}
