//! The gRPC stack of a service (traces, shedding, deadlines, authentication with a real token) beside bare tonic: the same
//! method, which has nothing to do.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Result;
use proto::profile::v1::{GetTraitSchemaRequest, schema_service_client::SchemaServiceClient};
use testkit::measure::{Table, middle, milliseconds, number, quantile};
use tokio::task::JoinSet;
use tonic::{Request, metadata::MetadataValue, transport::Endpoint};

use crate::{
    roles,
    size::Size,
    spawned::Spawned,
    surroundings::Surroundings,
    usage::{Look, Usage},
};

const CONNECTIONS: usize = 4;
const CALLS_AT_ONCE: usize = 8;
const WARM: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy)]
struct Called {
    calls: f64,
    usage: Usage,
    half: f64,
    late: f64,
}

impl Called {
    fn a_second(&self) -> f64 {
        self.calls / self.usage.seconds
    }

    fn cpu_microseconds(&self) -> f64 {
        1e6 * self.usage.own / self.calls
    }
}

pub async fn run(surroundings: &Surroundings, size: &Size) -> Result<Table> {
    let claims = surroundings.issuer.claims("bench", "bench", &["profile.read", "profile.schema"]);
    let token = surroundings.issuer.token(&claims);
    // The quota of a client would end the run in a moment; its bucket is asked all the same.
    let no_quota = [("KOTINOS_CLIENT_RATE", "1000000".to_owned())];
    let mut chassis = Spawned::role(surroundings, roles::GRPC, None, &no_quota)?;
    chassis.ready().await?;
    let mut bare = Spawned::role(surroundings, roles::BARE_GRPC, None, &[])?;
    bare.listens().await?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    // In turn, so that neither gains by what the machine does meanwhile.
    for _ in 0..size.runs {
        ours.push(call(surroundings, &chassis, &token, size.calling).await?);
        theirs.push(call(surroundings, &bare, &token, size.calling).await?);
    }
    let mut table = Table::new(&["server", "calls/s", "CPU-µs a call", "p50, ms", "p99, ms", "peak MiB"]);
    let (ours, theirs) = (middle(ours, Called::a_second), middle(theirs, Called::a_second));
    for (name, called, server) in [("ours, with a token", ours, &chassis), ("bare tonic", theirs, &bare)] {
        let Some(called) = called else { continue };
        table.row(vec![
            name.to_owned(),
            number(called.a_second()),
            number(called.cpu_microseconds()),
            number(called.half),
            number(called.late),
            number(server.peak_mib()),
        ]);
    }
    if let (Some(ours), Some(theirs)) = (ours, theirs) {
        table.told("calls/s, share of bare tonic's", ours.a_second() / theirs.a_second());
        table.told(
            "CPU of the server a call, times bare tonic's",
            ours.cpu_microseconds() / theirs.cpu_microseconds(),
        );
        table.note(format!(
            "ours is bound by {}; the caller counts with the others",
            ours.usage.bound("the caller")
        ));
    }
    table.note(format!("{CONNECTIONS} connections with {CALLS_AT_ONCE} calls at once each"));
    chassis.stop().await?;
    bare.stop().await?;
    Ok(table)
}

async fn call(
    surroundings: &Surroundings,
    server: &Spawned,
    token: &str,
    length: Duration,
) -> Result<Called> {
    let bearer: MetadataValue<_> = format!("Bearer {token}").parse()?;
    let (calls, over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let begin = Instant::now();
    let mut callers = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let channel = Endpoint::from_shared(format!("http://{}", server.grpc))?.connect().await?;
        for _ in 0..CALLS_AT_ONCE {
            let mut client = SchemaServiceClient::new(channel.clone());
            let (bearer, calls, over) = (bearer.clone(), Arc::clone(&calls), Arc::clone(&over));
            callers.spawn(async move {
                let mut times = Vec::new();
                while !over.load(Ordering::Relaxed) {
                    let mut request = Request::new(GetTraitSchemaRequest::default());
                    request.metadata_mut().insert("authorization", bearer.clone());
                    let asked = Instant::now();
                    client.get_trait_schema(request).await?;
                    if begin.elapsed() > WARM {
                        times.push(milliseconds(asked.elapsed()));
                    }
                    calls.fetch_add(1, Ordering::Relaxed);
                }
                Ok::<_, tonic::Status>(times)
            });
        }
    }
    tokio::time::sleep(WARM).await;
    let (look, before) = (Look::take(surroundings, &[server])?, calls.load(Ordering::Relaxed));
    tokio::time::sleep(length).await;
    let usage = look.until(&Look::take(surroundings, &[server])?);
    let done = calls.load(Ordering::Relaxed) - before;
    over.store(true, Ordering::Relaxed);
    let mut times = Vec::new();
    while let Some(caller) = callers.join_next().await {
        times.extend(caller??);
    }
    let (half, late) = (quantile(&mut times, 0.5), quantile(&mut times, 0.99));
    Ok(Called { calls: done as f64, usage, half, late })
}
