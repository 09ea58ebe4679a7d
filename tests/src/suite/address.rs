use std::{
    collections::BTreeMap,
    net::{SocketAddr, TcpListener},
};

use anyhow::{Context, Result};
use domain::Service;

use super::{Readiness, Shape};

/// Where everything listens: free ports of the loopback.
#[derive(Debug, Clone)]
pub struct Addresses {
    shape: Shape,
    /// HTTP, gRPC and ops, by process.
    processes: BTreeMap<Service, [u16; 3]>,
    /// The org, and its control port.
    simulator: [u16; 2],
}

impl Addresses {
    /// Takes ports that are free now, all at once, so that none is given twice.
    pub(super) fn choose(shape: Shape) -> Result<Self> {
        let services = shape.services();
        let listeners: Vec<TcpListener> = (0..services.len() * 3 + 2)
            .map(|_| TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))))
            .collect::<Result<_, _>>()
            .context("no free port")?;
        let mut ports = Vec::new();
        for listener in &listeners {
            ports.push(listener.local_addr()?.port());
        }
        let mut ports = ports.into_iter();
        let mut next = || ports.next().unwrap_or_default();
        let processes = services.into_iter().map(|service| (service, [next(), next(), next()])).collect();
        Ok(Self { shape, processes, simulator: [next(), next()] })
    }

    fn ports(&self, service: Service) -> [u16; 3] {
        let process = match self.shape {
            Shape::AllInOne => Service::AllInOne,
            Shape::Services => service,
        };
        self.processes.get(&process).copied().unwrap_or_default()
    }

    /// Where browsers reach a service. They take Secure cookies on localhost without TLS.
    #[must_use]
    pub fn url(&self, service: Service) -> String {
        format!("http://localhost:{}", self.ports(service)[0])
    }

    /// Where gRPC callers reach a service.
    #[must_use]
    pub fn grpc_url(&self, service: Service) -> String {
        format!("http://127.0.0.1:{}", self.ports(service)[1])
    }

    /// Where operators read a service's metrics.
    #[must_use]
    pub fn metrics_url(&self, service: Service) -> String {
        format!("http://127.0.0.1:{}/metrics", self.ports(service)[2])
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

    pub(super) fn listeners(&self, service: Service) -> BTreeMap<String, String> {
        let names = ["KOTINOS_HTTP_ADDR", "KOTINOS_GRPC_ADDR", "KOTINOS_OPS_ADDR"];
        let pairs = names.into_iter().zip(self.ports(service));
        pairs.map(|(name, port)| (name.to_owned(), format!("127.0.0.1:{port}"))).collect()
    }

    pub(super) fn simulator_listeners(&self) -> BTreeMap<String, String> {
        let names = ["SIMULATOR_ADDR", "SIMULATOR_CONTROL_ADDR"];
        let pairs = names.into_iter().zip(self.simulator);
        pairs.map(|(name, port)| (name.to_owned(), format!("127.0.0.1:{port}"))).collect()
    }

    pub(super) fn readiness(&self, service: Service) -> Readiness {
        Readiness { url: format!("http://127.0.0.1:{}/readyz", self.ports(service)[2]) }
    }

    pub(super) fn simulator_readiness(&self) -> Readiness {
        Readiness { url: format!("{}/_sim/health", self.crm_control_url()) }
    }

    /// `host:port` of everything here that a service may fetch from although it is neither https nor public.
    pub(super) fn egress(&self) -> Vec<String> {
        let http = self.processes.values().map(|ports| ports[0]);
        http.chain([self.simulator[0]])
            .flat_map(|port| [format!("localhost:{port}"), format!("127.0.0.1:{port}")])
            .collect()
    }
}
