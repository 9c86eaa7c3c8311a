//! The Debian package in a fresh system: `mmdebstrap` or `debootstrap` makes one, `systemd-nspawn`
//! boots it, and `tests/packages/accept.sh` installs, runs, upgrades and removes the package in it.
//!
//! Where systemd can't boot, the same script runs in a `chroot`, and starts the program itself, by
//! the command line of the package's unit and as its user.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::plan::left_out;
use crate::setup;
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
    if shell::output(shell.command("id").arg("-u")).as_deref() != Some("0") {
        return Ok(left_out("only root can make a fresh Debian to try the package"));
    }
    if let Err(reason) = setup::debian(shell) {
        return Ok(left_out(format_args!("there is no fresh Debian for the package: {reason}")));
    }
    let folder = shell.target().join("debian");
    let base = base(shell, &folder)?;
    let fresh = |service: &str| {
        let system = folder.join("system");
        shell::remove_folder(&system)?;
        shell::run(shell.command("cp").arg("-a").arg(&base).arg(&system))?;
        let packages = shell.root().join("tests/packages");
        for (from, to) in [
            (first.to_path_buf(), "opp2p-1.deb"),
            (second.to_path_buf(), "opp2p-2.deb"),
            (packages.join("accept.sh"), "accept.sh"),
            (packages.join(service), "service.sh"),
        ] {
            fs::copy(&from, system.join("root").join(to))
                .map_err(|error| format!("{}: {error}", from.display()))?;
        }
        Ok::<PathBuf, String>(system)
    };
    let mut said = booted(shell, &folder, &fresh("with-systemd.sh")?)?;
    let how = if said.is_empty() {
        println!("systemd does not boot here: the script runs in a chroot");
        said = in_chroot(shell, &fresh("without-systemd.sh")?)?;
        "in a chroot, without systemd"
    } else {
        "booted"
    };
    println!("{said}");
    let (passed, notes) = outcome(&said);
    shell::remove_folder(&folder.join("system"))?;
    if passed {
        Ok(format!("{how}: {notes}"))
    } else {
        Err(format!("the package failed in a fresh Debian ({how}): {notes}"))
    }
}

/// Makes Debian's smallest system, unless it was made before. Returns its folder.
fn base(shell: &Shell, folder: &Path) -> Result<PathBuf, String> {
    let base = folder.join(SUITE);
    if base.join("done").is_file() {
        return Ok(base);
    }
    shell::remove_folder(&base)?;
    fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let program = if shell::has("mmdebstrap") { "mmdebstrap" } else { "debootstrap" };
    let mut make = shell.command(program);
    shell::run(make.args(["--variant=minbase", INCLUDED, SUITE]).arg(&base))?;
    write(&base.join("done"), "")?;
    Ok(base)
}

/// Boots the system, which runs the script. Returns what it said: nothing if the system did not
/// boot.
fn booted(shell: &Shell, folder: &Path, system: &Path) -> Result<String, String> {
    let units = system.join("etc/systemd/system");
    write(&units.join("accept.service"), UNIT)?;
    let wanted = units.join("multi-user.target.wants");
    fs::create_dir_all(&wanted).map_err(|error| format!("{}: {error}", wanted.display()))?;
    symlink("../accept.service", wanted.join("accept.service"))
        .map_err(|error| format!("{}: {error}", wanted.display()))?;
    let mut boot = limited(shell);
    boot.args(["systemd-nspawn", "--boot", "--private-network", "--register=no", "--keep-unit"]);
    boot.args(["--quiet", "--directory"]).arg(system);
    println!("$ {}", shell::shown(&boot));
    let log = folder.join("boot.log");
    let file = fs::File::create(&log).map_err(|error| format!("{}: {error}", log.display()))?;
    let errors = file.try_clone().map_err(|error| format!("{}: {error}", log.display()))?;
    boot.stdout(file)
        .stderr(errors)
        .status()
        .map_err(|error| format!("systemd-nspawn: {error}"))?;
    Ok(fs::read_to_string(system.join("root/accept.log")).unwrap_or_default())
}

/// Runs the script in the system's folder, with processes of its own, which end with it.
fn in_chroot(shell: &Shell, system: &Path) -> Result<String, String> {
    let mut script = limited(shell);
    script.args(["unshare", "--mount", "--pid", "--fork", "--kill-child"]);
    script.arg(format!("--mount-proc={}", system.join("proc").display()));
    script.arg("chroot").arg(system).args(["/bin/sh", "/root/accept.sh"]);
    Ok(shell::run_for_output(&mut script, LIMIT + Duration::from_secs(10))?.1)
}

/// Returns a command that ends the program in its arguments after a time.
fn limited(shell: &Shell) -> Command {
    let mut command = shell.command("timeout");
    command.arg("--kill-after=5").arg(LIMIT.as_secs().to_string());
    command
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
