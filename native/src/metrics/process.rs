//! Process metrics, under the names that every Prometheus client uses. They come from files that
//! only Linux has; elsewhere these families are missing.

use opp2p_node::measure::{Exposition, Kind};
use std::fs;

/// Ticks per second in `/proc/self/stat`: Linux reports this value on all machines that Rust
/// supports.
const TICKS: f64 = 100.0;

/// Returns a field of `/proc/self/stat` that counts ticks, in seconds. Fields count from 1; the
/// second one is a name with arbitrary contents.
fn seconds(stat: &str, field: usize) -> Option<f64> {
    let text = stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(field.checked_sub(3)?)?;
    Some(text.parse::<f64>().ok()? / TICKS)
}

/// Returns the user and system time in seconds.
fn cpu_seconds(stat: &str) -> Option<f64> {
    Some(seconds(stat, 14)? + seconds(stat, 15)?)
}

/// Returns the start time of the process in Unix seconds: `/proc/stat` has the boot time, and
/// `/proc/self/stat` the start of the process since then.
fn start_seconds(stat: &str, machine: &str) -> Option<f64> {
    let boot = machine.lines().find_map(|line| line.strip_prefix("btime "))?;
    Some(boot.trim().parse::<f64>().ok()? + seconds(stat, 22)?)
}

/// Returns the value of a line such as `VmRSS:  1234 kB` of `/proc/self/status`, in bytes.
fn bytes_of(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.split_ascii_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

/// Writes the metrics that this system provides.
pub(super) fn write(text: &mut Exposition) {
    let read = |file| fs::read_to_string(file).unwrap_or_default();
    let stat = read("/proc/self/stat");
    if let Some(seconds) = start_seconds(&stat, &read("/proc/stat")) {
        text.own(
            "process_start_time_seconds",
            Kind::Gauge,
            "When the process started, unix seconds",
        )
        .value(seconds);
    }
    if let Some(seconds) = cpu_seconds(&stat) {
        text.own("process_cpu_seconds_total", Kind::Counter, "User and system CPU time, seconds")
            .value(seconds);
    }
    let status = read("/proc/self/status");
    if let Some(bytes) = bytes_of(&status, "VmRSS") {
        text.own("process_resident_memory_bytes", Kind::Gauge, "Resident memory, bytes")
            .value(bytes);
    }
    if let Some(bytes) = bytes_of(&status, "VmSize") {
        text.own("process_virtual_memory_bytes", Kind::Gauge, "Virtual memory, bytes").value(bytes);
    }
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        text.own("opp2p_tasks", Kind::Gauge, "Tasks of this process that have not ended")
            .value(runtime.metrics().num_alive_tasks());
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        text.own("process_open_fds", Kind::Gauge, "Open file descriptors").value(open.count());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_may_have_any_name() {
        let stat = "17 (a) (b c) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 9 0 150 1 2";
        assert_eq!(cpu_seconds(stat), Some(3.0));
        assert_eq!([cpu_seconds(""), cpu_seconds("1 (x) S 1"), cpu_seconds("1 (x")], [None; 3]);
        assert_eq!(start_seconds(stat, "cpu 1 2\nbtime 1700000000\nx 1\n"), Some(1_700_000_001.5));
        assert_eq!([start_seconds(stat, ""), start_seconds("", "btime 1")], [None; 2]);
        let status = "Name:\tx\nVmRSS:\t    12 kB\nVmSize: none kB\n";
        assert_eq!(bytes_of(status, "VmRSS"), Some(12 * 1024));
        assert_eq!([bytes_of(status, "VmSize"), bytes_of(status, "Vm")], [None; 2]);
    }
}
