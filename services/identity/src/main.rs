fn main() -> std::process::ExitCode {
    chassis::run(domain::Service::Identity, identity::component, &identity::VERBS)
}
