//! A listener between identity and PostgreSQL that reads along which statements are run.

use std::{
    collections::HashMap,
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use chassis::Secret;
use url::Url;

/// PostgreSQL's frontend/backend protocol 3.0, as far as statements go.
const SSL_REQUEST: u32 = 80_877_103;

/// The texts of the statements that were run, in their order.
#[derive(Debug, Clone, Default)]
pub struct Wire(Arc<Mutex<Vec<String>>>);

impl Wire {
    /// Puts itself between identity and its database.
    pub fn tap(&self, database_url: &mut Secret) {
        let mut url = Url::parse(&database_url.expose()).unwrap();
        let upstream = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap_or(5432));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        url.set_host(Some("127.0.0.1")).unwrap();
        url.set_port(Some(listener.local_addr().unwrap().port())).unwrap();
        *database_url = url.as_str().parse().unwrap();
        let wire = self.clone();
        thread::spawn(move || {
            for client in listener.incoming() {
                let (Ok(client), Ok(server)) = (client, TcpStream::connect(&upstream)) else { return };
                let (answers, back) = (server.try_clone().unwrap(), client.try_clone().unwrap());
                thread::spawn(move || copy(answers, back));
                let wire = wire.clone();
                // It ends with the connection.
                thread::spawn(move || wire.read_along(client, server));
            }
        });
    }

    /// Takes what was run since the last time.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }

    fn read_along(&self, mut client: TcpStream, mut server: TcpStream) -> io::Result<()> {
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        loop {
            let body = read_body(&mut client)?;
            if body.len() == 4 && body == SSL_REQUEST.to_be_bytes() {
                client.write_all(b"N")?;
                continue;
            }
            send(&mut server, None, &body)?;
            break;
        }
        let (mut statements, mut bound) = (HashMap::new(), String::new());
        loop {
            let mut kind = [0];
            client.read_exact(&mut kind)?;
            let body = read_body(&mut client)?;
            let mut texts =
                body.split(|byte| *byte == 0).map(|text| String::from_utf8_lossy(text).into_owned());
            let mut next = || texts.next().unwrap_or_default();
            match kind[0] {
                b'P' => {
                    let (name, text) = (next(), next());
                    statements.insert(name, text);
                }
                b'B' => {
                    let (_, name) = (next(), next());
                    bound = statements.get(&name).cloned().unwrap_or_default();
                }
                b'E' => self.0.lock().unwrap().push(bound.clone()),
                b'Q' => self.0.lock().unwrap().push(next()),
                _ => {}
            }
            send(&mut server, Some(kind[0]), &body)?;
        }
    }
}

fn copy(mut from: TcpStream, mut to: TcpStream) {
    let _ = to.set_nodelay(true);
    let _ = io::copy(&mut from, &mut to);
}

// A message without its kind; its length counts itself.
fn read_body(from: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let mut body = vec![0; u32::from_be_bytes(length).saturating_sub(4) as usize];
    from.read_exact(&mut body)?;
    Ok(body)
}

fn send(to: &mut TcpStream, kind: Option<u8>, body: &[u8]) -> io::Result<()> {
    let length = u32::try_from(body.len() + 4).map_err(io::Error::other)?;
    let mut message: Vec<u8> = kind.into_iter().collect();
    message.extend(length.to_be_bytes());
    message.extend(body);
    to.write_all(&message)
}
