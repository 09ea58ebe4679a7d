//! Who works on which processor. `taskset` of util-linux does it; with one processor all share it.

use std::{path::Path, process::Command};

/// Leaves the first processor to the contestant.
pub fn give_load_its_own() {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    if processors > 1 {
        let (list, pid) = (format!("1-{}", processors - 1), std::process::id().to_string());
        let moved = Command::new("taskset").args(["-a", "-p", "-c", &list, &pid]).output();
        if moved.is_err() {
            println!("taskset is not there: the contestant and the load share all processors");
        }
    }
}

/// A program on the first processor.
pub fn on_the_first(program: &Path) -> Command {
    if Command::new("taskset").arg("--version").output().is_ok() {
        let mut command = Command::new("taskset");
        command.args(["-c", "0"]).arg(program);
        return command;
    }
    Command::new(program)
}
