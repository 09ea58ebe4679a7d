fn main() -> std::process::ExitCode {
    chassis::run(domain::Service::Segmentation, segmentation::component, outbox::VERBS)
}
