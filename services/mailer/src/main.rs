fn main() -> std::process::ExitCode {
    chassis::run(domain::Service::Mailer, mailer::component, outbox::VERBS)
}
