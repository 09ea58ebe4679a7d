//! One client's commands and the answers to them.

use std::{io, sync::Arc};

use tokio::{
    io::{AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use super::{
    Shared,
    wire::{line, message, path},
};

/// Longest command line; RFC 5321 says 512 and more with extensions.
const LONGEST_LINE: usize = 4_096;

/// Serves whoever comes, until it is told to stop.
pub(super) async fn accept(listener: TcpListener, shared: Arc<Shared>, stop: CancellationToken) {
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(_) => continue,
            },
            () = stop.cancelled() => return,
        };
        shared.state().connections += 1;
        let (shared, stop) = (Arc::clone(&shared), stop.clone());
        tokio::spawn(async move {
            tokio::select! {
                // A client that hangs up, or speaks no SMTP, is no failure of the sink.
                _ = serve(stream, &shared) => {}
                () = stop.cancelled() => {}
            }
        });
    }
}

async fn serve(stream: TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    let mut from: Option<Vec<u8>> = None;
    let mut recipients: Vec<Vec<u8>> = Vec::new();
    write.write_all(b"220 sink.example ESMTP\r\n").await?;
    loop {
        let Some(line) = line(&mut read, LONGEST_LINE).await? else { return Ok(()) };
        let verb: String = line.iter().take(4).map(|byte| char::from(byte.to_ascii_uppercase())).collect();
        let reply = match verb.as_str() {
            "EHLO" => shared.greeting(),
            "HELO" => "250 sink.example\r\n".to_owned(),
            "MAIL" if from.is_some() => "503 5.5.1 one sender a mail\r\n".to_owned(),
            "MAIL" => match path(&line) {
                Some(path) => {
                    from = Some(path);
                    "250 2.1.0 ok\r\n".to_owned()
                }
                None => "501 5.5.4 no path\r\n".to_owned(),
            },
            "RCPT" if from.is_none() => "503 5.5.1 no sender\r\n".to_owned(),
            "RCPT" => match path(&line).filter(|path| !path.is_empty()) {
                Some(path) => match shared.refusal(&path) {
                    Some(reply) => format!("{reply}\r\n"),
                    None => {
                        recipients.push(path);
                        "250 2.1.5 ok\r\n".to_owned()
                    }
                },
                None => "501 5.5.4 no path\r\n".to_owned(),
            },
            "DATA" if recipients.is_empty() => "554 5.5.1 no recipients\r\n".to_owned(),
            "DATA" => {
                write.write_all(b"354 end with a dot\r\n").await?;
                let Some(data) = message(&mut read).await? else { return Ok(()) };
                let delay = shared.state().delay;
                let answers = shared.keep(&from.take().unwrap_or_default(), &recipients, &data);
                recipients.clear();
                if !answers {
                    return Ok(());
                }
                sleep(delay).await;
                "250 2.0.0 kept\r\n".to_owned()
            }
            "RSET" => {
                from = None;
                recipients.clear();
                "250 2.0.0 ok\r\n".to_owned()
            }
            "NOOP" => "250 2.0.0 ok\r\n".to_owned(),
            "QUIT" => {
                write.write_all(b"221 2.0.0 bye\r\n").await?;
                return Ok(());
            }
            _ => "500 5.5.2 unknown command\r\n".to_owned(),
        };
        write.write_all(reply.as_bytes()).await?;
    }
}
