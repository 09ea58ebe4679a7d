//! Mosquitto, spoken to in MQTT 3.1.1 with quality of service 0.

use std::{io::Write as _, net::SocketAddr};

use anyhow::Result;
use testkit::measure::{Contestant, free_address};
use tokio::{io::AsyncWriteExt as _, net::TcpStream};

use crate::{contestants, processors, readers::Hail};

const TOPIC: &str = "feed";

/// A broker, and the connection that publishes.
pub struct Mosquitto {
    pub process: Contestant,
    address: SocketAddr,
    publisher: TcpStream,
    _configuration: tempfile::NamedTempFile,
}

impl Mosquitto {
    /// Nothing where it is not installed.
    pub async fn start() -> Result<Option<Self>> {
        let Ok(program) = std::env::var("BENCH_MOSQUITTO") else { return Ok(None) };
        let (address, mut file) = (free_address()?, tempfile::NamedTempFile::new()?);
        writeln!(
            file,
            "listener {} 127.0.0.1\nallow_anonymous true\nmax_connections -1\nuser root",
            address.port()
        )?;
        let mut command = processors::on_the_first(program.as_ref());
        command.arg("-c").arg(file.path());
        if let Ok(libraries) = std::env::var("BENCH_LIBRARIES") {
            command.env("LD_LIBRARY_PATH", libraries);
        }
        let mut process = Contestant::start(command, "mosquitto")?;
        let mut publisher = contestants::connect(&mut process, address).await?;
        publisher.set_nodelay(true)?;
        publisher.write_all(&connect("publisher")).await?;
        Ok(Some(Self { process, address, publisher, _configuration: file }))
    }

    /// A subscription, heard when it is acknowledged (SUBACK of packet 1, granted 0).
    pub fn reader(&self, number: usize) -> Hail {
        let mut request = connect(&format!("reader{number}"));
        let payload = [&[0, 1], text(TOPIC).as_slice(), &[0]].concat();
        request.push(0x82);
        request.extend(length(payload.len()));
        request.extend(payload);
        Hail::new(self.address, request, &[0x90, 3, 0, 1, 0])
    }

    pub async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        let payload = [text(TOPIC).as_slice(), bytes].concat();
        let packet = [&[0x30], length(payload.len()).as_slice(), &payload].concat();
        self.publisher.write_all(&packet).await?;
        Ok(())
    }
}

// CONNECT with a clean session and without keep-alive (section 3.1).
fn connect(client_id: &str) -> Vec<u8> {
    let payload = [text("MQTT").as_slice(), &[4, 2, 0, 0], &text(client_id)].concat();
    [&[0x10], length(payload.len()).as_slice(), &payload].concat()
}

fn text(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX).to_be_bytes();
    [length.as_slice(), text.as_bytes()].concat()
}

// Seven bits a byte, the lowest first (section 2.2.3).
fn length(mut length: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let seven = u8::try_from(length % 128).unwrap_or_default();
        length /= 128;
        bytes.push(if length > 0 { seven | 0x80 } else { seven });
        if length == 0 {
            return bytes;
        }
    }
}
