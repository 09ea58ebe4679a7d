use std::fmt;

/// The services of the suite. One short name each, for package, schema, topics, settings and ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Service {
    /// The OpenID Provider.
    Identity,
    /// The truth about a person.
    Profile,
    /// Who belongs where.
    Segmentation,
    /// Mail.
    Mailer,
    /// The door to CRMs.
    CrmSync,
    /// ODF in, live feed out.
    ResultsFeed,
    /// The fans' pages.
    Portal,
    /// Every service in one process.
    AllInOne,
}

impl Service {
    /// The seven services that have a gRPC package, in the order of their ports.
    pub const ALL: [Self; 7] = [
        Self::Identity,
        Self::Profile,
        Self::Segmentation,
        Self::Mailer,
        Self::CrmSync,
        Self::ResultsFeed,
        Self::Portal,
    ];

    /// `crm-sync`: folder, crate, binary, chart key.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Profile => "profile",
            Self::Segmentation => "segmentation",
            Self::Mailer => "mailer",
            Self::CrmSync => "crm-sync",
            Self::ResultsFeed => "results-feed",
            Self::Portal => "portal",
            Self::AllInOne => "all-in-one",
        }
    }

    /// `crmsync`: package, schema, topics, settings, OAuth client id.
    #[must_use]
    pub const fn short(self) -> &'static str {
        match self {
            Self::CrmSync => "crmsync",
            Self::ResultsFeed => "results",
            other => other.name(),
        }
    }

    /// The audience of its access tokens: its gRPC package without the version.
    #[must_use]
    pub const fn audience(self) -> &'static str {
        match self {
            Self::Identity => "kotinos.identity",
            Self::Profile => "kotinos.profile",
            Self::Segmentation => "kotinos.segmentation",
            Self::Mailer => "kotinos.mailer",
            Self::CrmSync => "kotinos.crmsync",
            Self::ResultsFeed => "kotinos.results",
            Self::Portal => "kotinos.portal",
            Self::AllInOne => "kotinos",
        }
    }

    // Public HTTP, gRPC and ops ports end alike: identity 8101, 9101, 9201.
    const fn last_digit(self) -> u16 {
        match self {
            Self::AllInOne => 0,
            Self::Identity => 1,
            Self::Profile => 2,
            Self::Segmentation => 3,
            Self::Mailer => 4,
            Self::CrmSync => 5,
            Self::ResultsFeed => 6,
            Self::Portal => 7,
        }
    }

    /// Default port of the public HTTP listener.
    #[must_use]
    pub const fn http_port(self) -> u16 {
        8100 + self.last_digit()
    }

    /// Default port of the gRPC listener.
    #[must_use]
    pub const fn grpc_port(self) -> u16 {
        9100 + self.last_digit()
    }

    /// Default port of the operators' listener.
    #[must_use]
    pub const fn ops_port(self) -> u16 {
        9200 + self.last_digit()
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
