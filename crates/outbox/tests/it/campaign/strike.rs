//! Does what a round of the plan says, heals it, and says when.

use std::{future::Future, pin::Pin, sync::Arc, time::Instant};

use futures::future::join_all;
use sqlx::PgPool;
use testkit::FaultProxy;
use tokio::time::sleep;

use super::{
    node::Node,
    plan::{Cut, Fault},
    servers::{Server, Servers},
};

/// What can be hit.
pub struct Field {
    /// Past all proxies.
    pub pool: PgPool,
    pub relays: [Arc<Node>; 2],
    pub readers: [Arc<Node>; 2],
    /// Between all nodes and the broker.
    pub kafka: FaultProxy,
    /// Between some writers and the database.
    pub writers: FaultProxy,
    /// The last to go when the campaign ends, however it does.
    pub servers: Arc<Servers>,
}

type Healed<'a> = Pin<Box<dyn Future<Output = Instant> + 'a>>;

impl Field {
    /// Everything at once. When the last of it is healed: a killed node was started, a stopped one goes on, a way is open
    /// again, a killed server answers. A server's own start is not the outbox's time, so it does not count.
    pub async fn strike(&self, faults: &[Fault]) -> Instant {
        let mut relays = self.leader_first().await.into_iter();
        let mut killed = Vec::new();
        let mut struck: Vec<Healed<'_>> = Vec::new();
        for fault in faults.iter().cloned() {
            // The plan has at most two for two.
            let mut relay = || relays.next().expect("a relay that is not hit yet");
            match fault {
                Fault::KillRelay => struck.push(Box::pin(kill(relay()))),
                Fault::KillReader(number) => struck.push(Box::pin(kill(Arc::clone(&self.readers[number])))),
                Fault::KillBroker => killed.push(Server::Kafka),
                Fault::KillPostgres => killed.push(Server::Postgres),
                Fault::StopRelay(time) => struck.push(Box::pin(stop(relay(), time))),
                Fault::StopReader(number, time) => {
                    struck.push(Box::pin(stop(Arc::clone(&self.readers[number]), time)));
                }
                Fault::LoseLeader(time) => {
                    let leader = relay();
                    struck.push(Box::pin(async move {
                        leader.signal("STOP");
                        leader.database.cut();
                        sleep(time).await;
                        leader.database.heal();
                        leader.signal("CONT");
                        Instant::now()
                    }));
                }
                Fault::CutDatabase { of, cut } => struck.push(Box::pin(break_off(self.way(of), cut))),
                Fault::CutKafka(cut) => struck.push(Box::pin(break_off(&self.kafka, cut))),
            }
        }
        if !killed.is_empty() {
            struck.push(Box::pin(self.kill_servers(killed)));
        }
        join_all(struck).await.into_iter().max().expect("a fault")
    }

    fn way(&self, of: usize) -> &FaultProxy {
        match of {
            0 | 1 => &self.relays[of].database,
            2 | 3 => &self.readers[of - 2].database,
            _ => &self.writers,
        }
    }

    async fn kill_servers(&self, killed: Vec<Server>) -> Instant {
        let servers = Arc::clone(&self.servers);
        let done = tokio::task::spawn_blocking(move || {
            for server in killed {
                servers.kill(server);
            }
            servers.up()
        });
        done.await.unwrap()
    }

    // Each relay has a role of its own, by which the session that holds the lock tells whose it is.
    async fn leader_first(&self) -> [Arc<Node>; 2] {
        let leader = "select usename::text
                      from pg_locks
                      join pg_stat_activity using (pid)
                      where locktype = 'advisory' and granted and objsubid = 1
                        and ((classid::bigint << 32) | objid::bigint) = hashtextextended('mailer.relay', 0)";
        let leader: Option<String> =
            sqlx::query_scalar(leader).fetch_optional(&self.pool).await.unwrap_or(None);
        let [first, second] = self.relays.each_ref().map(Arc::clone);
        if leader.is_some_and(|leader| leader == second.name) { [second, first] } else { [first, second] }
    }
}

async fn kill(node: Arc<Node>) -> Instant {
    let killed = Instant::now();
    tokio::task::spawn_blocking(move || node.kill_and_start()).await.unwrap();
    killed
}

async fn stop(node: Arc<Node>, time: std::time::Duration) -> Instant {
    node.signal("STOP");
    sleep(time).await;
    node.signal("CONT");
    Instant::now()
}

async fn break_off(way: &FaultProxy, cut: Cut) -> Instant {
    if cut.half_open {
        way.half_open();
    } else {
        way.cut();
    }
    sleep(cut.time).await;
    way.heal();
    Instant::now()
}
