//! The Debian package in a fresh system: `debootstrap` makes one, `systemd-nspawn` boots it, and
//! `tests/packages/accept.sh` installs, runs, upgrades and removes the package in it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::plan::left_out;
use crate::shell::{self, Shell};

/// What the fresh system has beside Debian's smallest set.
const INCLUDED: &str = "--include=systemd,systemd-sysv,dbus,adduser";
const SUITE: &str = "bookworm";
/// Time for boot and script.
const LIMIT: Duration = Duration::from_secs(300);

/// Runs the script when the system has booted, and turns the system off.
const UNIT: &str = "[Unit]
After=dbus.service

[Service]
Type=oneshot
TimeoutStartSec=240
ExecStart=/bin/sh /root/accept.sh
StandardOutput=file:/root/accept.log
StandardError=inherit
ExecStopPost=/bin/systemctl --no-block poweroff
";

/// Tries two revisions of the package. Returns a note for the summary.
pub(super) fn run(shell: &Shell, first: &Path, second: &Path) -> Result<String, String> {
    for program in ["debootstrap", "systemd-nspawn"] {
        if !shell::has(program) {
            return Ok(left_out(format_args!(
                "there is no `{program}` here to try the package in a fresh Debian"
            )));
        }
    }
    if shell::output(shell.command("id").arg("-u")).as_deref() != Some("0") {
        return Ok(left_out("only root can boot a fresh Debian to try the package"));
    }
    let folder = shell.target().join("debian");
    let (base, system) = (folder.join(SUITE), folder.join("system"));
    if !base.join("done").is_file() {
        shell::remove_folder(&base)?;
        fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let mut make = shell.command("debootstrap");
        shell::run(make.args(["--variant=minbase", INCLUDED, SUITE]).arg(&base))?;
        write(&base.join("done"), "")?;
    }
    shell::remove_folder(&system)?;
    shell::run(shell.command("cp").arg("-a").arg(&base).arg(&system))?;
    let copy = |from: &Path, to: &str| {
        fs::copy(from, system.join(to)).map_err(|error| format!("{}: {error}", from.display()))
    };
    copy(first, "root/opp2p-1.deb")?;
    copy(second, "root/opp2p-2.deb")?;
    copy(&shell.root().join("tests/packages/accept.sh"), "root/accept.sh")?;
    let units = system.join("etc/systemd/system");
    write(&units.join("accept.service"), UNIT)?;
    let wanted = units.join("multi-user.target.wants");
    fs::create_dir_all(&wanted).map_err(|error| format!("{}: {error}", wanted.display()))?;
    std::os::unix::fs::symlink("../accept.service", wanted.join("accept.service"))
        .map_err(|error| format!("{}: {error}", wanted.display()))?;
    let mut boot = shell.command("timeout");
    boot.arg(LIMIT.as_secs().to_string()).args(["systemd-nspawn", "--boot", "--private-network"]);
    boot.args(["--register=no", "--keep-unit", "--quiet", "--directory"]).arg(&system);
    println!("$ {}", shell::shown(&boot));
    let log = folder.join("boot.log");
    let file = fs::File::create(&log).map_err(|error| format!("{}: {error}", log.display()))?;
    let booted = boot.stdout(file).status().map_err(|error| format!("systemd-nspawn: {error}"))?;
    let said = fs::read_to_string(system.join("root/accept.log")).unwrap_or_default();
    println!("{said}");
    let (passed, notes) = outcome(&said);
    shell::remove_folder(&system)?;
    if passed {
        Ok(notes)
    } else {
        Err(format!("the package failed in a fresh Debian ({booted}): {notes}"))
    }
}

/// Returns whether the script passed, and its own lines.
fn outcome(log: &str) -> (bool, String) {
    let own: Vec<&str> = log.lines().filter_map(|line| line.strip_prefix("accept: ")).collect();
    (own.last() == Some(&"passed"), own.join("; "))
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_log_that_ends_well_passes() {
        assert_eq!(
            outcome("x\naccept: one\ny\naccept: passed\n"),
            (true, "one; passed".to_owned())
        );
        assert!(!outcome("accept: passed\naccept: FAILED: x").0);
        assert!(!outcome("").0);
    }
}
