fn main() -> std::process::ExitCode {
    chassis::run(domain::Service::ResultsFeed, results_feed::component, &results_feed::VERBS)
}
