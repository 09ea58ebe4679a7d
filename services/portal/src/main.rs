fn main() -> std::process::ExitCode {
    chassis::run(domain::Service::Portal, portal::component, &[])
}
