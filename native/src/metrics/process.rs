//! What the system says of this process, under the names that every Prometheus client gives it. Only Linux tells it
//! in files; elsewhere these families are missing.

use super::{Exposition, Kind};
use std::fs;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Ticks of `/proc/self/stat` in a second: what Linux tells programs, on all machines that Rust runs on.
const TICKS: f64 = 100.0;

/// Remembers now as the start of the process, unless that was done before.
pub(super) fn started() -> Duration {
    static START: OnceLock<Duration> = OnceLock::new();
    *START.get_or_init(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// User and system time in seconds, from a line of `/proc/self/stat`: the 14th and 15th field, after a name that may
/// hold anything.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<f64>().ok();
    Some((next()? + next()?) / TICKS)
}

/// A line such as `VmRSS:  1234 kB` of `/proc/self/status`, in bytes.
fn bytes_of(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.split_ascii_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

/// Writes what there is.
pub(super) fn write(text: &mut Exposition) {
    text.own("process_start_time_seconds", Kind::Gauge, "When metrics began to be counted, unix seconds")
        .value(started().as_secs_f64());
    if let Some(seconds) = fs::read_to_string("/proc/self/stat").ok().as_deref().and_then(cpu_seconds) {
        text.own("process_cpu_seconds_total", Kind::Counter, "User and system CPU time, seconds")
            .value(seconds);
    }
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    if let Some(bytes) = bytes_of(&status, "VmRSS") {
        text.own("process_resident_memory_bytes", Kind::Gauge, "Resident memory, bytes").value(bytes);
    }
    if let Some(bytes) = bytes_of(&status, "VmSize") {
        text.own("process_virtual_memory_bytes", Kind::Gauge, "Virtual memory, bytes").value(bytes);
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        text.own("process_open_fds", Kind::Gauge, "Open file descriptors").value(open.count());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_may_be_called_anything() {
        let stat = "17 (a) (b c) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20";
        assert_eq!(cpu_seconds(stat), Some(3.0));
        assert_eq!([cpu_seconds(""), cpu_seconds("1 (x) S 1"), cpu_seconds("1 (x")], [None; 3]);
        let status = "Name:\tx\nVmRSS:\t    12 kB\nVmSize: none kB\n";
        assert_eq!(bytes_of(status, "VmRSS"), Some(12 * 1024));
        assert_eq!([bytes_of(status, "VmSize"), bytes_of(status, "Vm")], [None; 2]);
    }
}
