//! A plain TCP balancer: what stands before replicas, and knows nothing of what it carries.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

type Targets = Arc<Mutex<Vec<SocketAddr>>>;

/// Connections go in turn to the targets; one that refuses is passed over.
pub struct Balancer {
    pub address: SocketAddr,
    targets: Targets,
    generation: watch::Sender<u64>,
    task: JoinHandle<()>,
}

impl Balancer {
    pub async fn over(targets: &[SocketAddr]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let targets = Arc::new(Mutex::new(targets.to_vec()));
        let generation = watch::Sender::new(0);
        let task = tokio::spawn(accept(listener, Arc::clone(&targets), generation.subscribe()));
        Self { address, targets, generation, task }
    }

    /// New connections go there from now on.
    pub fn lead_to(&self, targets: &[SocketAddr]) {
        *self.targets.lock().unwrap() = targets.to_vec();
    }

    /// Ends every connection.
    pub fn hang_up(&self) {
        self.generation.send_modify(|generation| *generation += 1);
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, targets: Targets, generation: watch::Receiver<u64>) {
    let turn = AtomicUsize::new(0);
    while let Ok((mut caller, _)) = listener.accept().await {
        let turn = turn.fetch_add(1, Ordering::Relaxed);
        let places = targets.lock().unwrap().clone();
        let mut generation = generation.clone();
        generation.mark_unchanged();
        tokio::spawn(async move {
            for at in 0..places.len() {
                let place = places[(turn + at) % places.len()];
                if let Ok(mut target) = TcpStream::connect(place).await {
                    // Either side may go away; the other one learns it.
                    tokio::select! {
                        _ = copy_bidirectional(&mut caller, &mut target) => {}
                        _ = generation.changed() => {}
                    }
                    break;
                }
            }
        });
    }
}
