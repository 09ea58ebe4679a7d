use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::Result;
use e2e::Listeners;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    time::sleep,
};
use tokio_util::task::AbortOnDropHandle;

/// How often a process is asked whether it takes calls.
const LOOK: Duration = Duration::from_millis(50);

/// What a cluster has before its processes: connections go in turn to those that say they are ready.
pub struct Balancer {
    pub address: SocketAddr,
    _tasks: Vec<AbortOnDropHandle<()>>,
}

impl Balancer {
    pub async fn over(processes: &[Listeners]) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let ready: Arc<Mutex<Vec<SocketAddr>>> = Arc::default();
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(1)).build()?;
        let processes = processes.to_vec();
        // Nobody may come before it is known who is there.
        *ready.lock().unwrap() = find_ready(&http, &processes).await;
        let looking = tokio::spawn(look(http, processes, Arc::clone(&ready)));
        let taking = tokio::spawn(take(listener, ready));
        Ok(Self { address, _tasks: [looking, taking].map(AbortOnDropHandle::new).into() })
    }
}

async fn look(http: reqwest::Client, processes: Vec<Listeners>, ready: Arc<Mutex<Vec<SocketAddr>>>) {
    loop {
        sleep(LOOK).await;
        let found = find_ready(&http, &processes).await;
        *ready.lock().unwrap() = found;
    }
}

async fn find_ready(http: &reqwest::Client, processes: &[Listeners]) -> Vec<SocketAddr> {
    let mut found = Vec::new();
    for process in processes {
        let answer = http.get(process.readiness_url()).send().await;
        if answer.is_ok_and(|answer| answer.status().is_success()) {
            found.push(process.http());
        }
    }
    found
}

async fn take(listener: TcpListener, ready: Arc<Mutex<Vec<SocketAddr>>>) {
    let turn = AtomicUsize::new(0);
    while let Ok((mut caller, _)) = listener.accept().await {
        let turn = turn.fetch_add(1, Ordering::Relaxed);
        let place = {
            let ready = ready.lock().unwrap();
            (!ready.is_empty()).then(|| ready[turn % ready.len()])
        };
        let Some(place) = place else { continue };
        tokio::spawn(async move {
            let mut process = TcpStream::connect(place).await?;
            copy_bidirectional(&mut caller, &mut process).await
        });
    }
}
