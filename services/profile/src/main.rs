fn main() -> std::process::ExitCode {
    chassis::run(domain::Service::Profile, profile::component, outbox::VERBS)
}
