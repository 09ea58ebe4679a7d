//! The bare floor: a loop that writes prepared bytes to every socket, as little as any feed must do.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
};

use anyhow::{Context, Result};
use testkit::measure::{Contestant, free_address};
use tokio::io::AsyncWriteExt as _;

use crate::{contestants, processors, readers::Hail};

/// With it the benchmark's own program is the floor: `--floor ADDRESS`.
pub const ARGUMENT: &str = "--floor";
const GREETING: &[u8] = b"listening\n";

/// A process that does nothing else.
pub struct Floor {
    pub process: Contestant,
    address: SocketAddr,
    control: tokio::net::TcpStream,
}

impl Floor {
    pub async fn start() -> Result<Self> {
        let address = free_address()?;
        let mut command = processors::on_the_first(&std::env::current_exe()?);
        command.args([ARGUMENT, &address.to_string()]);
        let mut process = Contestant::start(command, "floor")?;
        let control = contestants::connect(&mut process, address).await?;
        control.set_nodelay(true)?;
        Ok(Self { process, address, control })
    }

    pub const fn reader(&self) -> Hail {
        Hail::new(self.address, Vec::new(), GREETING)
    }

    /// These bytes go to every reader.
    pub async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        let length = u32::try_from(bytes.len())?.to_be_bytes();
        self.control.write_all(&[&length, bytes].concat()).await?;
        Ok(())
    }
}

/// Takes the first connection for orders, each a length and bytes, and all others for readers.
pub fn serve(address: &str) -> Result<()> {
    let listener = TcpListener::bind(address)?;
    let (mut orders, _) = listener.accept()?;
    listener.set_nonblocking(true)?;
    let mut readers: Vec<TcpStream> = Vec::new();
    orders.set_read_timeout(Some(std::time::Duration::from_millis(20)))?;
    loop {
        accept(&listener, &mut readers)?;
        let mut length = [0; 4];
        match orders.read_exact(&mut length) {
            Ok(()) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => continue,
            Err(_) => return Ok(()),
        }
        let mut bytes = vec![0; u32::from_be_bytes(length) as usize];
        orders.set_read_timeout(None)?;
        orders.read_exact(&mut bytes).context("an order")?;
        orders.set_read_timeout(Some(std::time::Duration::from_millis(20)))?;
        // A reader that does not take it has it not: the floor keeps nothing.
        readers.retain_mut(|reader| match reader.write(&bytes) {
            Ok(_) => true,
            Err(error) => error.kind() == ErrorKind::WouldBlock,
        });
    }
}

fn accept(listener: &TcpListener, readers: &mut Vec<TcpStream>) -> Result<()> {
    loop {
        match listener.accept() {
            Ok((mut reader, _)) => {
                reader.set_nonblocking(true)?;
                reader.write_all(GREETING)?;
                readers.push(reader);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}
