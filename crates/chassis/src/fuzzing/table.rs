use std::collections::HashSet;

use prost_reflect::DescriptorPool;

use crate::{StartError, policy::Policies};

/// What every set of descriptors may build on.
const FOUNDATIONS: [&str; 2] = ["google/protobuf/", "kotinos/options/"];

/// The policies of `/proto`, and its methods as reflection lists them.
pub struct Table {
    policies: Policies,
    services: Vec<String>,
    paths: Vec<String>,
    foundations: DescriptorPool,
}

/// A method that somebody else's descriptors brought in.
#[derive(Debug, PartialEq, Eq)]
pub struct Planted {
    /// `/package.Service/Method`
    pub path: String,
    /// Scopes, and whether it is public; none when there is no policy.
    pub policy: Option<(Vec<String>, bool)>,
}

/// What came of descriptors that were taken.
#[derive(Debug)]
pub struct Outcome {
    /// Their methods.
    pub planted: Vec<Planted>,
    /// Methods of `/proto` that have another policy beside them.
    pub changed: Vec<String>,
}

impl Table {
    /// # Errors
    /// Wrong descriptors.
    pub fn read() -> Result<Self, StartError> {
        let pool = DescriptorPool::decode(proto::DESCRIPTORS)?;
        let own = pool.services().filter(|service| service.full_name().starts_with("kotinos."));
        let services: Vec<String> = own.map(|service| service.full_name().to_owned()).collect();
        let built_on = |name: &str| FOUNDATIONS.iter().any(|folder| name.starts_with(folder));
        let files = pool.file_descriptor_protos().filter(|file| built_on(file.name())).cloned();
        let mut foundations = DescriptorPool::new();
        foundations.add_file_descriptor_protos(files)?;
        let paths = paths(&pool, &services.iter().cloned().collect());
        Ok(Self { policies: Policies::all()?, services, paths, foundations })
    }

    /// Every method.
    pub fn paths(&self) -> &[String] {
        &self.paths
    }

    /// Whether a call of this path finds a policy.
    pub fn has(&self, path: &str) -> bool {
        self.policies.get(path).is_some()
    }

    /// Reads the policies of the services in `set`, and those of `/proto` beside it.
    ///
    /// # Errors
    /// What stops the start of a process with such descriptors.
    pub fn plant(&self, set: &[u8]) -> Result<Outcome, StartError> {
        // Most sets are refused, and sooner by a pool that is small.
        let mut pool = self.foundations.clone();
        pool.decode_file_descriptor_set(set)?;
        let names: Vec<String> = pool.services().map(|service| service.full_name().to_owned()).collect();
        let both: Vec<&str> = self.services.iter().chain(&names).map(String::as_str).collect();
        let policies = Policies::read(&both, &[set.to_vec()])?;

        let is_other = |path: &&String| policies.get(path) != self.policies.get(path);
        let changed = self.paths.iter().filter(is_other).cloned().collect();
        let said = |path: String| {
            let policy = policies.get(&path).map(|policy| (policy.scopes.clone(), policy.public));
            Planted { path, policy }
        };
        let planted = paths(&pool, &names.into_iter().collect()).into_iter().map(said).collect();
        Ok(Outcome { planted, changed })
    }
}

fn paths(pool: &DescriptorPool, services: &HashSet<String>) -> Vec<String> {
    let mut paths = Vec::new();
    for service in pool.services().filter(|service| services.contains(service.full_name())) {
        paths.extend(service.methods().map(|method| format!("/{}/{}", service.full_name(), method.name())));
    }
    paths
}
