use clap::{Args, ValueEnum};

/// How much a benchmark does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Scale {
    /// Seconds, to see that it runs; no figure of it means anything.
    Small,
    /// A quarter of an hour, or two.
    Ci,
    /// What the targets are set for: some hours with --runs 3.
    Full,
}

/// What every benchmark can be asked for on its command line.
#[derive(Debug, Args)]
pub struct Arguments<W: ValueEnum + Send + Sync + 'static> {
    /// Which workloads, with commas between; all by default.
    #[arg(long, value_delimiter = ',')]
    only: Vec<W>,
    /// Runs of each contestant, in turn; the middle one counts.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=9))]
    pub runs: u8,
    /// How much is done.
    #[arg(long, default_value = "ci")]
    pub size: Scale,
    /// Said by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

impl<W: ValueEnum + Send + Sync + 'static> Arguments<W> {
    /// Those that were asked for.
    #[must_use]
    pub fn workloads(&self) -> Vec<W> {
        if self.only.is_empty() { W::value_variants().to_vec() } else { self.only.clone() }
    }
}
