#[cfg(test)]
pub(crate) mod planted;

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use prost_reflect::{
    DescriptorPool, DynamicMessage, ExtensionDescriptor, MethodDescriptor, ServiceDescriptor, Value,
};

use crate::StartError;

const OPTION: &str = "kotinos.options.v1.policy";
const OWN_PACKAGES: &str = "kotinos.";
const DEFAULT_DEADLINE: Duration = Duration::from_secs(5);

/// What a method says about itself in `/proto`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Policy {
    /// The caller's token needs one of these; empty only when the method is public.
    pub(crate) scopes: Vec<String>,
    /// Longest time that a call may take. Server streams have none.
    pub(crate) max_deadline: Duration,
    /// It needs no token.
    pub(crate) public: bool,
    pub(crate) client_streaming: bool,
    pub(crate) server_streaming: bool,
    /// It can be called again when nobody knows whether the first call arrived.
    pub(crate) idempotent: bool,
    /// `aud` of its callers' tokens: its package without the version.
    pub(crate) audience: String,
}

/// The policies of methods, by path: `/kotinos.profile.v1.ProfileService/GetProfile`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Policies(HashMap<String, Policy>);

impl Policies {
    /// Of these services, by full name. `sets` describe those that `/proto` does not have.
    ///
    /// # Errors
    /// A service that the descriptors do not know, or a method that does not say who may call it.
    pub(crate) fn read(services: &[&str], sets: &[Vec<u8>]) -> Result<Self, StartError> {
        let mut pool = DescriptorPool::decode(proto::DESCRIPTORS)?;
        for set in sets {
            // The library panics over some descriptors that it should refuse; that is one more reason not to start.
            catch_unwind(AssertUnwindSafe(|| pool.decode_file_descriptor_set(set.as_slice())))
                .map_err(|_| "the descriptors of a service cannot be read")??;
        }
        Self::read_from(&pool, services)
    }

    /// Of every service in `/proto`.
    ///
    /// # Errors
    /// As [`Policies::read`].
    pub(crate) fn all() -> Result<Self, StartError> {
        let pool = DescriptorPool::decode(proto::DESCRIPTORS)?;
        let names: Vec<String> = pool
            .services()
            .map(|service| service.full_name().to_owned())
            .filter(|name| name.starts_with(OWN_PACKAGES))
            .collect();
        Self::read_from(&pool, &names.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn read_from(pool: &DescriptorPool, services: &[&str]) -> Result<Self, StartError> {
        let option =
            pool.get_extension_by_name(OPTION).ok_or("the descriptors do not know the policy option")?;
        let mut policies = HashMap::new();
        for name in services {
            let service = pool
                .get_service_by_name(name)
                .ok_or_else(|| format!("the descriptors do not know the service {name}"))?;
            for method in service.methods() {
                let path = format!("/{name}/{}", method.name());
                let policy = policy(&option, &service, &method).map_err(|why| format!("{path} {why}"))?;
                policies.insert(path, policy);
            }
        }
        Ok(Self(policies))
    }

    pub(crate) fn get(&self, path: &str) -> Option<&Policy> {
        self.0.get(path)
    }
}

fn policy(
    option: &ExtensionDescriptor,
    service: &ServiceDescriptor,
    method: &MethodDescriptor,
) -> Result<Policy, &'static str> {
    let options = method.options();
    if !options.has_extension(option) {
        return Err("has no policy");
    }
    let said = options.get_extension(option);
    let said = said.as_message().ok_or("has a policy that is not a message")?;
    let scopes = scopes(said);
    let public = said.get_field_by_name("public").is_some_and(|value| value.as_bool() == Some(true));
    match (scopes.is_empty(), public) {
        (true, false) => return Err("is neither public nor has a scope"),
        (false, true) => return Err("is public, and asks for a scope"),
        _ => {}
    }
    let milliseconds =
        said.get_field_by_name("max_deadline_ms").and_then(|value| value.as_u32()).unwrap_or(0);
    let max_deadline = match milliseconds {
        0 => DEFAULT_DEADLINE,
        given => Duration::from_millis(given.into()),
    };
    // NO_SIDE_EFFECTS and IDEMPOTENT (google/protobuf/descriptor.proto).
    let level = options.get_field_by_name("idempotency_level").and_then(|value| value.as_enum_number());
    Ok(Policy {
        scopes,
        max_deadline,
        public,
        client_streaming: method.is_client_streaming(),
        server_streaming: method.is_server_streaming(),
        idempotent: matches!(level, Some(1 | 2)),
        audience: audience(service.package_name()).to_owned(),
    })
}

fn scopes(said: &DynamicMessage) -> Vec<String> {
    let Some(list) = said.get_field_by_name("scope") else { return Vec::new() };
    let texts = list.as_list().unwrap_or_default().iter().filter_map(Value::as_str);
    texts.filter(|scope| !scope.is_empty()).map(str::to_owned).collect()
}

// `kotinos.profile` of `kotinos.profile.v1`.
fn audience(package: &str) -> &str {
    match package.rsplit_once('.') {
        Some((name, version)) if version.starts_with('v') => name,
        _ => package,
    }
}

#[cfg(test)]
mod tests {
    use super::{
        planted::{Options, SERVICE, Said, set},
        *,
    };

    fn planted(options: Option<Options>) -> Result<Policies, StartError> {
        Policies::read(&[SERVICE], &[set(options)])
    }

    fn saying(policy: Said) -> Result<Policies, StartError> {
        planted(Some(Options { idempotency_level: 2, policy: Some(policy) }))
    }

    #[test]
    fn methods_say_who_may_call_them() {
        let policies = Policies::all().unwrap();
        let table = [
            ("/kotinos.profile.v1.ProfileService/GetProfile", "profile.read", 2_000, true, false),
            ("/kotinos.profile.v1.ProfileService/UpdateProfile", "profile.write", 5_000, false, false),
            ("/kotinos.results.v1.IngestService/Publish", "results.publish", 5_000, true, false),
            ("/kotinos.results.v1.FeedService/Subscribe", "results.subscribe", 5_000, true, true),
        ];
        for (path, scope, milliseconds, idempotent, streaming) in table {
            let policy = policies.get(path).unwrap();
            assert_eq!(policy.scopes, [scope], "{path}");
            assert_eq!(policy.max_deadline, Duration::from_millis(milliseconds), "{path}");
            assert_eq!(policy.idempotent, idempotent, "{path}");
            assert_eq!((policy.client_streaming, policy.server_streaming), (false, streaming), "{path}");
            assert!(!policy.public, "{path}");
        }
        assert_eq!(
            policies.get("/kotinos.results.v1.IngestService/Publish").unwrap().audience,
            "kotinos.results"
        );
        assert_eq!(policies.get("/kotinos.results.v1.IngestService/Nothing"), None);
    }

    #[test]
    fn only_the_services_asked_for_are_read() {
        let policies = Policies::read(&["kotinos.results.v1.IngestService"], &[]).unwrap();
        assert!(policies.get("/kotinos.profile.v1.ProfileService/GetProfile").is_none());
        let unknown = Policies::read(&["kotinos.results.v1.Nothing"], &[]).unwrap_err();
        assert!(unknown.to_string().contains("kotinos.results.v1.Nothing"), "{unknown}");
    }

    #[test]
    fn a_method_that_does_not_say_who_may_call_it_stops_the_start() {
        let scope = vec!["garden.plant".to_owned()];
        let table = [
            (planted(None), "has no policy"),
            (planted(Some(Options { idempotency_level: 1, policy: None })), "has no policy"),
            (saying(Said::default()), "is neither public nor has a scope"),
            (
                saying(Said { scope: vec![String::new()], ..Said::default() }),
                "is neither public nor has a scope",
            ),
            (saying(Said { scope, public: true, ..Said::default() }), "is public, and asks for a scope"),
        ];
        for (policies, why) in table {
            assert_eq!(policies.unwrap_err().to_string(), format!("/garden.v2.GardenService/Plant {why}"));
        }
    }

    #[test]
    fn a_public_method_needs_no_scope() {
        let policies = saying(Said { public: true, max_deadline_ms: 250, ..Said::default() }).unwrap();
        let policy = policies.get("/garden.v2.GardenService/Plant").unwrap();
        assert!(policy.public && policy.idempotent && policy.server_streaming);
        assert_eq!((policy.max_deadline, policy.audience.as_str()), (Duration::from_millis(250), "garden"));
    }
}
