//! What the system says of processes: /proc (proc(5)), whose clock ticks a hundred times a second on Linux.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use anyhow::{Context, Result};

const TICKS: f64 = 100.0;

/// Seconds of processor that a process has used, in its own code and in the system's, all threads.
pub fn cpu_seconds(pid: u32) -> f64 {
    times(pid).map_or(f64::NAN, |times| times.own)
}

/// The same of a process and of all that it started, itself or by others, whether they live or have ended.
pub fn cpu_seconds_of_family(ancestor: u32) -> f64 {
    let all = all_times();
    let Some(own) = all.get(&ancestor) else { return f64::NAN };
    let family = descendants_among(&all, ancestor);
    let members = std::iter::once(own).chain(family.iter().filter_map(|pid| all.get(pid)));
    members.map(|times| times.own + times.ended_children).sum()
}

/// What of it was in the system's code, for this process alone.
pub fn kernel_seconds(pid: u32) -> f64 {
    times(pid).map_or(f64::NAN, |times| times.kernel)
}

/// Processes that live and that this one started, itself or by others.
pub fn descendants(ancestor: u32) -> Vec<u32> {
    descendants_among(&all_times(), ancestor)
}

fn descendants_among(all: &BTreeMap<u32, Times>, ancestor: u32) -> Vec<u32> {
    let (mut found, mut generation) = (Vec::new(), BTreeSet::from([ancestor]));
    while !generation.is_empty() {
        let next = all.iter().filter(|(_, times)| generation.contains(&times.parent)).map(|(pid, _)| *pid);
        generation = next.collect();
        found.extend(&generation);
    }
    found
}

fn all_times() -> BTreeMap<u32, Times> {
    pids().into_iter().filter_map(|pid| Some((pid, times(pid)?))).collect()
}

/// The memory that a process has resident, in MiB.
pub fn resident_mib(pid: u32) -> f64 {
    status_mib(pid, "VmRSS:")
}

/// The most memory that a process had resident, in MiB.
pub fn peak_mib(pid: u32) -> f64 {
    status_mib(pid, "VmHWM:")
}

fn status_mib(pid: u32, name: &str) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok());
    kib.map_or(f64::NAN, |kib| kib / 1_024.0)
}

/// The parent of a process.
pub fn parent(pid: u32) -> Option<u32> {
    times(pid).map(|times| times.parent)
}

/// Processes with this text among their arguments.
pub fn pids_with_argument(text: &str) -> BTreeSet<u32> {
    let has = |pid: &u32| {
        fs::read(format!("/proc/{pid}/cmdline"))
            .is_ok_and(|line| line.split(|byte| *byte == 0).any(|argument| argument == text.as_bytes()))
    };
    pids().into_iter().filter(has).collect()
}

/// Seconds that the machine's processors worked, and that they had, since it started.
///
/// # Errors
/// /proc cannot be read.
pub fn machine_seconds() -> Result<(f64, f64)> {
    let text = fs::read_to_string("/proc/stat")?;
    let line = text.lines().next().context("an empty /proc/stat")?;
    let fields: Vec<f64> =
        line.split_whitespace().skip(1).take(8).filter_map(|field| field.parse().ok()).collect();
    let all: f64 = fields.iter().sum();
    // user nice system idle iowait irq softirq steal
    let idle = fields.get(3).unwrap_or(&0.0) + fields.get(4).unwrap_or(&0.0);
    Ok(((all - idle) / TICKS, all / TICKS))
}

/// Processors and memory, for the head of a report.
pub fn machine() -> String {
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = memory.split_whitespace().nth(1).and_then(|kib| kib.parse::<f64>().ok()).unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    format!("{cores} processors, {:.0} GiB", kib / 1_048_576.0)
}

struct Times {
    parent: u32,
    own: f64,
    kernel: f64,
    ended_children: f64,
}

fn times(pid: u32) -> Option<Times> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The program's name, in parentheses, may hold anything.
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    // Field 3 is the first behind the name: 4 is the parent, 14 to 17 the times.
    let seconds = |number: usize| fields.get(number - 3)?.parse::<f64>().ok().map(|ticks| ticks / TICKS);
    Some(Times {
        parent: fields.get(1)?.parse().ok()?,
        own: seconds(14)? + seconds(15)?,
        kernel: seconds(15)?,
        ended_children: seconds(16)? + seconds(17)?,
    })
}

fn pids() -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}
