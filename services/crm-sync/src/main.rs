fn main() -> std::process::ExitCode {
    chassis::run(domain::Service::CrmSync, crm_sync::component, outbox::VERBS)
}
