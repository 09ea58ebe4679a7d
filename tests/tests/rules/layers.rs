/// What a file of a service is for. It is told by the first name below `src`: `app.rs` and `app/merge.rs` are both app.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layer {
    /// `main.rs` and `lib.rs`: puts the service together.
    Assembly,
    Config,
    Error,
    App,
    Store,
    Grpc,
    Http,
    Consumer,
    Events,
    /// Every other file: rules and state, pure.
    Aggregate,
    /// A file of [`ADAPTERS`]: talks to something outside.
    Adapter(&'static Adapter),
}

/// A module that reaches outside (a peer, a file, chance) or runs as a task, and is neither gRPC, HTTP, Kafka nor SQL.
#[derive(Debug, PartialEq, Eq)]
pub struct Adapter {
    /// Folder of the service.
    pub service: &'static str,
    /// First name below `src`.
    pub module: &'static str,
    /// Crates with a home of their own (see `imports.rs`) that this module needs as well.
    pub may_use: &'static [&'static str],
    /// Why it is here.
    pub reason: &'static str,
}

/// Every adapter. A new one is a line here and, when it is a new kind, a line in ARCHITECTURE.md.
pub const ADAPTERS: &[Adapter] = &[
    Adapter { service: "mailer", module: "smtp", may_use: &[], reason: "speaks SMTP to the relays" },
    Adapter { service: "identity", module: "jws", may_use: &[], reason: "a signature takes random bytes" },
    Adapter { service: "identity", module: "ceremony", may_use: &[], reason: "a challenge is drawn" },
    Adapter { service: "identity", module: "recovery_code", may_use: &[], reason: "codes are drawn" },
    Adapter { service: "identity", module: "totp", may_use: &[], reason: "a secret is drawn" },
    Adapter { service: "identity", module: "password", may_use: &[], reason: "a hash takes a random salt" },
    Adapter {
        service: "identity",
        module: "hash_lane",
        may_use: &[],
        reason: "keeps password hashes off the runtime's threads, a few at a time",
    },
    Adapter {
        service: "identity",
        module: "verbs",
        may_use: &[],
        reason: "answers operators on the command line: reads their files, calls app",
    },
    Adapter {
        service: "crm-sync",
        module: "salesforce",
        may_use: &["reqwest"],
        reason: "speaks to the CRM: OAuth, Bulk API 2.0, Collections",
    },
    Adapter { service: "crm-sync", module: "runner", may_use: &[], reason: "a task: sends to a destination" },
    Adapter {
        service: "results-feed",
        module: "fanout",
        may_use: &[],
        reason: "follows the feed's log and wakes the open streams",
    },
    Adapter {
        service: "results-feed",
        module: "delivery",
        may_use: &[],
        reason: "a task: posts documents to partners' servers",
    },
    Adapter {
        service: "results-feed",
        module: "release",
        may_use: &[],
        reason: "tasks: end embargoes, forget old decisions",
    },
    Adapter {
        service: "results-feed",
        module: "writer",
        may_use: &[],
        reason: "a task: gathers submissions into one transaction",
    },
    Adapter {
        service: "results-feed",
        module: "rehearsal",
        may_use: &[],
        reason: "tasks: send replays at their pace, and follow their streams",
    },
    Adapter {
        service: "results-feed",
        module: "verbs",
        may_use: &["reqwest"],
        reason: "answers operators on the command line: writes files, posts documents to a feed",
    },
];

impl Layer {
    /// The layer of a file of a service, by its path below `src`.
    pub fn of(service: &str, below_src: &str) -> Self {
        let first = below_src.split('/').next().unwrap_or(below_src).trim_end_matches(".rs");
        match first {
            // `fuzzing` opens doors to the targets of `make fuzz`; no program has it.
            "main" | "lib" | "fuzzing" => Self::Assembly,
            "config" => Self::Config,
            "error" => Self::Error,
            "app" => Self::App,
            "store" => Self::Store,
            "grpc" => Self::Grpc,
            "http" => Self::Http,
            "consumer" => Self::Consumer,
            "events" => Self::Events,
            _ => {
                let adapter = ADAPTERS.iter().find(|a| a.service == service && a.module == first);
                adapter.map_or(Self::Aggregate, Self::Adapter)
            }
        }
    }

    /// Whether `crate::grpc::<module>` is a client of a peer, which app may call: `grpc/peers.rs`, or a module with the
    /// peer's name. Wire types stay there all the same.
    pub fn may_call(self, module: &str) -> bool {
        const PEERS: [&str; 8] =
            ["peers", "identity", "profile", "segmentation", "mailer", "crmsync", "results", "portal"];
        matches!(self, Self::App | Self::Adapter(_)) && PEERS.contains(&module)
    }

    /// Modules of its own crate that it must not name: the direction is
    /// `main -> lib -> {grpc, http, consumer} -> app -> {aggregate, store, events}`, and `store -> aggregate`.
    pub const fn hidden_modules(self) -> &'static [&'static str] {
        match self {
            Self::Assembly | Self::Grpc | Self::Http | Self::Consumer => &[],
            Self::App | Self::Adapter(_) => &["grpc", "http", "consumer"],
            Self::Events => &["grpc", "http", "consumer", "app", "store"],
            Self::Store => &["grpc", "http", "consumer", "app", "events"],
            Self::Config | Self::Error => &["grpc", "http", "consumer", "app"],
            Self::Aggregate => &["grpc", "http", "consumer", "app", "store", "events", "config"],
        }
    }
}

#[test]
fn a_folder_has_the_layer_of_its_name() {
    assert_eq!(Layer::of("profile", "app/merge.rs"), Layer::App);
    assert_eq!(Layer::of("profile", "grpc.rs"), Layer::Grpc);
    assert_eq!(Layer::of("profile", "consent.rs"), Layer::Aggregate);
    assert!(matches!(Layer::of("mailer", "smtp/reply.rs"), Layer::Adapter(_)));
    assert_eq!(Layer::of("profile", "smtp.rs"), Layer::Aggregate);
}
