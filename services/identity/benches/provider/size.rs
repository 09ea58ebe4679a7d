use std::{fmt, time::Duration};

use clap::{Parser, ValueEnum};
use testkit::measure::{Arguments, Scale};

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

#[derive(Debug, Parser)]
#[command(name = "bench-identity")]
struct CommandLine {
    #[command(flatten)]
    common: Arguments<Workload>,
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
        let arguments = CommandLine::parse().common;
        let (users, families, warm_up, run, sessions, away, present) = match arguments.size {
            Scale::Small => (200, 40, 1, 3, 400, 5, 1_000),
            Scale::Ci => (20_000, 2_000, 10, 30, 20_000, 60, 100_000),
            Scale::Full => (100_000, 100_000, 60, 120, 20_000, 60, 100_000),
        };
        let seconds = Duration::from_secs;
        Self {
            workloads: arguments.workloads(),
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
