//! A TCP proxy that breaks connections in the ways that networks do.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinSet,
    time::sleep,
};
use tokio_util::sync::CancellationToken;

const BUFFER: usize = 16 << 10;

/// A running proxy on a free port of this machine; it stops when it is dropped. Without a fault it changes nothing.
#[derive(Debug)]
pub struct FaultProxy {
    /// Where it listens.
    pub addr: SocketAddr,
    faults: watch::Sender<Faults>,
    stop: CancellationToken,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Faults {
    cut: bool,
    half_open: bool,
    delay: Duration,
    /// Bytes of answers that a connection carries before it is hung up on.
    most: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Request,
    Answer,
}

impl FaultProxy {
    /// Carries connections to a target: `host:port`, looked up anew for each.
    ///
    /// # Panics
    /// When there is no free port.
    pub async fn start(target: impl Into<String>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port for the proxy");
        let addr = listener.local_addr().expect("an address of the proxy");
        let (faults, seen) = watch::channel(Faults::default());
        let stop = CancellationToken::new();
        let (stopped, target) = (stop.clone().cancelled_owned(), target.into());
        tokio::spawn(async move {
            tokio::select! {
                () = accept(listener, target, seen) => {}
                () = stopped => {}
            }
        });
        Self { addr, faults, stop }
    }

    /// Ends every connection, and each new one at once.
    pub fn cut(&self) {
        self.faults.send_modify(|faults| faults.cut = true);
    }

    /// Lets connections live, and swallows what comes: nothing reaches anybody, and nobody is told. Such a connection
    /// ends when the proxy is healed, since bytes of it are lost.
    pub fn half_open(&self) {
        self.faults.send_modify(|faults| faults.half_open = true);
    }

    /// Carries each piece of data only after this time, both ways.
    pub fn delay(&self, delay: Duration) {
        self.faults.send_modify(|faults| faults.delay = delay);
    }

    /// Hangs up on a connection after so many bytes of the target's answers, counted from its beginning.
    pub fn truncate_after(&self, bytes: usize) {
        self.faults.send_modify(|faults| faults.most = Some(bytes));
    }

    /// No fault any more.
    pub fn heal(&self) {
        self.faults.send_replace(Faults::default());
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

// Its connections end with it.
async fn accept(listener: TcpListener, target: String, faults: watch::Receiver<Faults>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((client, _)) = accepted else { continue };
                if !faults.borrow().cut {
                    connections.spawn(serve(client, target.clone(), faults.clone()));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(client: TcpStream, target: String, faults: watch::Receiver<Faults>) {
    tokio::select! {
        // A side that hangs up is no failure of the proxy.
        _ = carry(client, &target, &faults) => {}
        () = broken(faults.clone()) => {}
    }
}

// When a connection that lives now must end.
async fn broken(mut faults: watch::Receiver<Faults>) {
    let seen = faults.wait_for(|faults| faults.cut || faults.half_open).await.map(|faults| *faults);
    if seen.is_ok_and(|faults| !faults.cut) {
        let _ = faults.wait_for(|faults| faults.cut || !faults.half_open).await;
    }
}

async fn carry(client: TcpStream, target: &str, faults: &watch::Receiver<Faults>) -> io::Result<()> {
    client.set_nodelay(true)?;
    let (from_client, to_client) = client.into_split();
    if faults.borrow().half_open {
        return swallow(from_client).await;
    }
    let server = TcpStream::connect(target).await?;
    server.set_nodelay(true)?;
    let (from_server, to_server) = server.into_split();
    tokio::try_join!(
        pump(from_client, to_server, Way::Request, faults),
        pump(from_server, to_client, Way::Answer, faults),
    )?;
    Ok(())
}

async fn swallow(mut from: OwnedReadHalf) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    while from.read(&mut buffer).await? > 0 {}
    Ok(())
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    way: Way,
    faults: &watch::Receiver<Faults>,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    let mut carried = 0_usize;
    loop {
        let count = from.read(&mut buffer).await?;
        let Faults { half_open, delay, most, .. } = *faults.borrow();
        if half_open {
            if count == 0 {
                // The other side is not told.
                std::future::pending::<()>().await;
            }
            continue;
        }
        if !delay.is_zero() {
            sleep(delay).await;
        }
        if count == 0 {
            return to.shutdown().await;
        }
        let left = most.filter(|_| way == Way::Answer).map(|most| most.saturating_sub(carried));
        if let Some(left) = left.filter(|left| *left <= count) {
            to.write_all(&buffer[..left]).await?;
            return Err(io::Error::from(io::ErrorKind::ConnectionAborted));
        }
        to.write_all(&buffer[..count]).await?;
        carried += count;
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, timeout};

    use super::*;

    const SOON: Duration = Duration::from_secs(5);
    const A_WHILE: Duration = Duration::from_millis(200);

    /// Answers with what it hears.
    async fn echo() -> String {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let addr = listener.local_addr().unwrap();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(async move {
                    let (mut read, mut write) = stream.into_split();
                    tokio::io::copy(&mut read, &mut write).await
                });
            }
        });
        addr.to_string()
    }

    async fn connect(proxy: &FaultProxy) -> TcpStream {
        TcpStream::connect(proxy.addr).await.unwrap()
    }

    async fn echoes(stream: &mut TcpStream) -> io::Result<()> {
        stream.write_all(b"hundred").await?;
        let mut heard = [0; 7];
        stream.read_exact(&mut heard).await?;
        assert_eq!(&heard, b"hundred");
        Ok(())
    }

    // How a connection ends: with an end or a reset, but it ends.
    async fn rest(stream: &mut TcpStream) -> Vec<u8> {
        let mut heard = Vec::new();
        let _ = timeout(SOON, stream.read_to_end(&mut heard)).await.expect("an end");
        heard
    }

    #[tokio::test]
    async fn without_a_fault_everything_passes_and_an_end_is_passed_on() {
        let proxy = FaultProxy::start(echo().await).await;
        let mut stream = connect(&proxy).await;
        let long = vec![7; 300_000];
        let (mut read, mut write) = stream.split();
        let sent = async {
            write.write_all(&long).await.unwrap();
            write.shutdown().await.unwrap();
        };
        let mut heard = Vec::new();
        let (_, count) = tokio::join!(sent, read.read_to_end(&mut heard));
        assert_eq!((count.unwrap(), heard == long), (300_000, true));
    }

    #[tokio::test]
    async fn a_cut_ends_what_lives_and_what_comes_until_it_is_healed() {
        let proxy = FaultProxy::start(echo().await).await;
        let mut stream = connect(&proxy).await;
        echoes(&mut stream).await.unwrap();
        proxy.cut();
        assert_eq!(rest(&mut stream).await, b"");
        assert_eq!(rest(&mut connect(&proxy).await).await, b"");
        proxy.heal();
        echoes(&mut connect(&proxy).await).await.unwrap();
    }

    #[tokio::test]
    async fn a_delay_slows_both_ways() {
        let proxy = FaultProxy::start(echo().await).await;
        let mut stream = connect(&proxy).await;
        echoes(&mut stream).await.unwrap();
        proxy.delay(A_WHILE);
        let begun = Instant::now();
        echoes(&mut stream).await.unwrap();
        assert!(begun.elapsed() >= 2 * A_WHILE, "{:?}", begun.elapsed());
    }

    #[tokio::test]
    async fn a_half_open_connection_hears_nothing_and_ends_when_it_is_healed() {
        let proxy = FaultProxy::start(echo().await).await;
        let mut stream = connect(&proxy).await;
        echoes(&mut stream).await.unwrap();
        proxy.half_open();
        let mut late = connect(&proxy).await;
        for stream in [&mut stream, &mut late] {
            timeout(A_WHILE, echoes(stream)).await.unwrap_err();
        }
        proxy.heal();
        assert_eq!(rest(&mut stream).await, b"");
        assert_eq!(rest(&mut late).await, b"");
        echoes(&mut connect(&proxy).await).await.unwrap();
    }

    #[tokio::test]
    async fn an_answer_is_truncated_to_the_byte() {
        let proxy = FaultProxy::start(echo().await).await;
        let mut old = connect(&proxy).await;
        echoes(&mut old).await.unwrap();
        proxy.truncate_after(10);
        for (mut stream, expected) in [(old, &b"0123"[..3]), (connect(&proxy).await, b"0123456789")] {
            stream.write_all(b"0123456789abcdef").await.unwrap();
            assert_eq!(rest(&mut stream).await, expected);
        }
        proxy.heal();
        echoes(&mut connect(&proxy).await).await.unwrap();
    }

    #[tokio::test]
    async fn with_the_proxy_its_connections_end() {
        let proxy = FaultProxy::start(echo().await).await;
        let mut stream = connect(&proxy).await;
        echoes(&mut stream).await.unwrap();
        drop(proxy);
        assert_eq!(rest(&mut stream).await, b"");
    }

    #[tokio::test]
    async fn a_target_that_is_away_hangs_up() {
        let gone = TcpListener::bind(("127.0.0.1", 0)).await.unwrap().local_addr().unwrap();
        let proxy = FaultProxy::start(gone.to_string()).await;
        assert_eq!(rest(&mut connect(&proxy).await).await, b"");
    }
}
