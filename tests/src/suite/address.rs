use std::{collections::BTreeMap, net::SocketAddr};

use anyhow::Result;
use domain::Service;
use testkit::free_ports;

use super::{Readiness, Shape};

/// Where one process listens: ports of the loopback for HTTP, gRPC and ops.
#[derive(Debug, Clone, Copy, Default)]
pub struct Listeners([u16; 3]);

impl Listeners {
    /// Takes ports that are free now.
    pub(super) fn choose() -> Result<Self> {
        let mut ports = free_ports(3)?.into_iter();
        Ok(Self::next(&mut ports))
    }

    fn next(ports: &mut impl Iterator<Item = u16>) -> Self {
        let mut next = || ports.next().unwrap_or_default();
        Self([next(), next(), next()])
    }

    /// `host:port` of its HTTP listener.
    #[must_use]
    pub fn http(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.0[0]).into()
    }

    /// Where gRPC callers reach it.
    #[must_use]
    pub fn grpc_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.0[1])
    }

    /// Where operators read its metrics.
    #[must_use]
    pub fn metrics_url(&self) -> String {
        format!("http://127.0.0.1:{}/metrics", self.0[2])
    }

    /// Where it says whether calls should come.
    #[must_use]
    pub fn readiness_url(&self) -> String {
        format!("http://127.0.0.1:{}/readyz", self.0[2])
    }

    pub(super) fn environment(&self) -> BTreeMap<String, String> {
        let names = ["KOTINOS_HTTP_ADDR", "KOTINOS_GRPC_ADDR", "KOTINOS_OPS_ADDR"];
        let pairs = names.into_iter().zip(self.0);
        pairs.map(|(name, port)| (name.to_owned(), format!("127.0.0.1:{port}"))).collect()
    }

    pub(super) fn readiness(&self) -> Readiness {
        Readiness { url: self.readiness_url() }
    }
}

/// Where everything listens: free ports of the loopback.
#[derive(Debug, Clone)]
pub struct Addresses {
    shape: Shape,
    processes: BTreeMap<Service, Listeners>,
    /// The org, and its control port.
    simulator: [u16; 2],
}

impl Addresses {
    pub(super) fn choose(shape: Shape) -> Result<Self> {
        let services = shape.services();
        let mut ports = free_ports(services.len() * 3 + 2)?.into_iter();
        let processes = services.into_iter().map(|service| (service, Listeners::next(&mut ports))).collect();
        let mut next = || ports.next().unwrap_or_default();
        Ok(Self { shape, processes, simulator: [next(), next()] })
    }

    /// Where the process of a service listens.
    #[must_use]
    pub fn listeners(&self, service: Service) -> Listeners {
        let process = match self.shape {
            Shape::AllInOne => Service::AllInOne,
            Shape::Services => service,
        };
        self.processes.get(&process).copied().unwrap_or_default()
    }

    /// Where browsers reach a service. They take Secure cookies on localhost without TLS.
    #[must_use]
    pub fn url(&self, service: Service) -> String {
        format!("http://localhost:{}", self.listeners(service).http().port())
    }

    /// Where gRPC callers reach a service.
    #[must_use]
    pub fn grpc_url(&self, service: Service) -> String {
        self.listeners(service).grpc_url()
    }

    /// Where operators read a service's metrics.
    #[must_use]
    pub fn metrics_url(&self, service: Service) -> String {
        self.listeners(service).metrics_url()
    }

    /// The CRM's login and instance URL.
    #[must_use]
    pub fn crm_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.simulator[0])
    }

    /// Where the simulated CRM shows what it holds.
    #[must_use]
    pub fn crm_control_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.simulator[1])
    }

    pub(super) fn simulator_listeners(&self) -> BTreeMap<String, String> {
        let names = ["SIMULATOR_ADDR", "SIMULATOR_CONTROL_ADDR"];
        let pairs = names.into_iter().zip(self.simulator);
        pairs.map(|(name, port)| (name.to_owned(), format!("127.0.0.1:{port}"))).collect()
    }

    pub(super) fn simulator_readiness(&self) -> Readiness {
        Readiness { url: format!("{}/_sim/health", self.crm_control_url()) }
    }

    /// `host:port` of everything here that a service may fetch from although it is neither https nor public.
    pub(super) fn egress(&self) -> Vec<String> {
        let http = self.processes.values().map(|listeners| listeners.http().port());
        http.chain([self.simulator[0]])
            .flat_map(|port| [format!("localhost:{port}"), format!("127.0.0.1:{port}")])
            .collect()
    }
}
