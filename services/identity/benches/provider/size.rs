use std::{fmt, time::Duration};

use clap::{Parser, ValueEnum};

/// What is asked of a provider, over and over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Workload {
    /// Password login to tokens; every tenth logs out again.
    Login,
    /// Six relying parties in turn, each to tokens and userinfo, in one session.
    Sso,
    /// Refresh tokens of many grants in turn.
    Refresh,
    /// Client credentials.
    Machine,
    /// Introspection of a token that counts.
    Introspection,
    /// The JWK set.
    Keys,
    /// Very many sessions end at once: every relying party is told, one of twenty after a minute only.
    Storm,
    /// Two processes of the version before are replaced while people come and go.
    Rollout,
}

impl Workload {
    /// Whether Keycloak does it too.
    pub const fn is_compared(&self) -> bool {
        !matches!(self, Self::Storm | Self::Rollout)
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_possible_value().map_or(Ok(()), |value| f.write_str(value.get_name()))
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Scale {
    /// Seconds, to see that it runs; no figure of it means anything.
    Small,
    /// Half an hour.
    Ci,
    /// What the targets are set for: some hours with --runs 3.
    Full,
}

#[derive(Debug, Parser)]
#[command(name = "bench-identity")]
struct Arguments {
    /// Which workloads, with commas between; all by default.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Workload>,
    /// Runs of each contestant, in turn; the middle one counts.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=9))]
    runs: u8,
    /// How much is done.
    #[arg(long, default_value = "ci")]
    size: Scale,
    /// Said by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

/// How much is done.
#[derive(Debug)]
pub struct Size {
    pub workloads: Vec<Workload>,
    pub runs: u8,
    pub users: i64,
    /// Grants whose tokens are refreshed.
    pub families: usize,
    pub warm_up: Duration,
    pub run: Duration,
    /// Sessions that end at once.
    pub sessions: i64,
    /// For so long one of twenty relying parties is away.
    pub away: Duration,
    /// Sessions that are there while processes are replaced.
    pub present: i64,
}

impl Size {
    pub fn from_arguments() -> Self {
        let arguments = Arguments::parse();
        let workloads =
            if arguments.only.is_empty() { Workload::value_variants().to_vec() } else { arguments.only };
        let (users, families, warm_up, run, sessions, away, present) = match arguments.size {
            Scale::Small => (200, 40, 1, 3, 400, 5, 1_000),
            Scale::Ci => (20_000, 2_000, 10, 30, 20_000, 60, 100_000),
            Scale::Full => (100_000, 100_000, 60, 120, 20_000, 60, 100_000),
        };
        let seconds = Duration::from_secs;
        Self {
            workloads,
            runs: arguments.runs,
            users,
            families,
            warm_up: seconds(warm_up),
            run: seconds(run),
            sessions,
            away: seconds(away),
            present,
        }
    }
}
