//! The container image: buildah builds it from the `Containerfile` and runs a devnet in it.
//!
//! Where buildah is missing or can't work, the lines of the file are followed by hand, and the
//! program runs in a `chroot`, as the image's user.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{make_folder, megabytes};
use crate::plan::left_out;
use crate::setup;
use crate::shell::{self, Shell};

const NAME: &str = "opp2p-all-tests";
const FILE: &str = "native/packaging/Containerfile";

/// What the program does in the image: it writes to the volume, and uses the network.
const TRIAL: &str =
    "devnet --followers 1 --blocks 3 --block-time 0.2 --no-web --json --data-dir /data/devnet";

/// Builds the image and runs its program. Returns a note for the summary.
pub(super) fn run(shell: &Shell, program: &Path, out: &Path) -> Result<String, String> {
    let context = out.join("image");
    make_folder(&context.join("data"))?;
    let mut copy = shell.command("cp");
    copy.arg(program).arg("/etc/ssl/certs/ca-certificates.crt").arg(&context);
    shell::run(&mut copy)?;
    let note = match with_buildah(shell, &context, out) {
        Ok(note) => note,
        Err(why) => match by_hand(shell, &context, out)? {
            Some(note) => format!("{note}, since {why}"),
            None => left_out(format_args!("the container image needs buildah or root: {why}")),
        },
    };
    shell::remove_folder(&context)?;
    Ok(note)
}

fn with_buildah(shell: &Shell, context: &Path, out: &Path) -> Result<String, String> {
    setup::buildah(shell)?;
    let mut build = shell.command("buildah");
    build.args(["build", "--isolation", "chroot", "--tag", NAME, "--file"]);
    shell::run(build.arg(shell.root().join(FILE)).arg(context))?;
    let script = format!(
        "set -e; container=$(buildah from {NAME}); \
         trap 'buildah rm $container >/dev/null' EXIT; \
         buildah run --isolation chroot $container /usr/bin/opp2p {TRIAL}"
    );
    shell::run(shell.command("sh").args(["-c", &script]))?;
    let archive = out.join(format!("opp2p-{}-image.tar", env!("CARGO_PKG_VERSION")));
    let to = format!("oci-archive:{}:opp2p:{}", archive.display(), env!("CARGO_PKG_VERSION"));
    shell::run(shell.command("buildah").args(["push", NAME, &to]))?;
    Ok(format!("container image {:.1} MB, built and run", megabytes(&archive)))
}

/// Follows the lines of the file, as root. Returns `None` for other users.
fn by_hand(shell: &Shell, context: &Path, out: &Path) -> Result<Option<String>, String> {
    if shell::output(shell.command("id").arg("-u")).as_deref() != Some("0") {
        return Ok(None);
    }
    let file = shell.root().join(FILE);
    let text = fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    let image = Image::read(&text)?;
    let root = out.join("image-root");
    make_folder(&root)?;
    for (from, to, owner) in &image.copies {
        let to = root.join(to.trim_start_matches('/'));
        make_folder(to.parent().unwrap_or(&root))?;
        shell::run(shell.command("cp").arg("-rT").arg(context.join(from)).arg(&to))?;
        if let Some(owner) = owner {
            shell::run(shell.command("chown").arg("-R").arg(owner).arg(&to))?;
        }
    }
    shell::run(&mut image.command(shell, &root))?;
    let size: f64 = image.copies.iter().map(|(from, ..)| megabytes(&context.join(from))).sum();
    shell::remove_folder(&root)?;
    Ok(Some(format!("container image of {size:.1} MB, made and run by hand")))
}

/// What a `Containerfile` says.
#[derive(Debug, Default)]
struct Image {
    /// Source, destination and owner of each copy.
    copies: Vec<(PathBuf, String, Option<String>)>,
    user: String,
    variables: Vec<(String, String)>,
    entry: Vec<String>,
}

impl Image {
    /// Reads a file that begins with nothing and has one instruction on each line.
    fn read(text: &str) -> Result<Self, String> {
        let mut image = Self::default();
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (name, rest) = line.split_once(' ').unwrap_or((line, ""));
            let words: Vec<&str> = rest.split_whitespace().collect();
            let unknown = || format!("the Containerfile has a line that is not known: {line}");
            match (name, &words[..]) {
                ("FROM", ["scratch"]) | ("WORKDIR" | "VOLUME" | "EXPOSE" | "CMD", [_, ..]) => {}
                ("COPY", [from, to]) => image.copies.push((from.into(), (*to).to_owned(), None)),
                ("COPY", [option, from, to]) => {
                    let owner = option.strip_prefix("--chown=").ok_or_else(unknown)?;
                    image.copies.push((from.into(), (*to).to_owned(), Some(owner.to_owned())));
                }
                ("USER", [user]) => image.user = (*user).to_owned(),
                ("ENV", [_]) => {
                    let (name, value) = rest.split_once('=').ok_or_else(unknown)?;
                    image.variables.push((name.to_owned(), value.to_owned()));
                }
                ("ENTRYPOINT", [_, ..]) => {
                    image.entry = serde_json::from_str(rest).map_err(|_| unknown())?;
                }
                _ => return Err(unknown()),
            }
        }
        if image.user.is_empty() || image.entry.is_empty() {
            return Err("the Containerfile names no user, or no program".to_owned());
        }
        Ok(image)
    }

    /// Returns the command that runs the program in the image's root.
    fn command(&self, shell: &Shell, root: &Path) -> Command {
        // The path goes with the environment.
        let mut command = shell.command(shell::find("chroot").unwrap_or_default());
        command.env_clear().envs(self.variables.iter().cloned());
        command.arg(format!("--userspec={}", self.user)).arg(root);
        command.args(&self.entry).args(TRIAL.split(' '));
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_file_is_read() {
        let file = Shell::new().root().join(FILE);
        let image =
            Image::read(&fs::read_to_string(file).expect("it is here")).expect("it is known");
        assert_eq!(
            (image.user.as_str(), image.entry),
            ("65532:65532", vec!["/usr/bin/opp2p".into()])
        );
        assert_eq!(image.variables, [("OPP2P_DATA_DIR".to_owned(), "/data".to_owned())]);
        let data = ("data".into(), "/data".to_owned(), Some("65532:65532".to_owned()));
        assert!(image.copies.contains(&data), "{:?}", image.copies);
    }

    #[test]
    fn an_unknown_line_is_named() {
        let known = "FROM scratch\nUSER 1\nENTRYPOINT [\"/a\"]\n";
        assert!(Image::read(known).is_ok());
        for line in ["RUN true", "FROM debian", "COPY a", "COPY --from=a b c", "ENV A"] {
            let error = Image::read(&format!("{known}{line}\n")).expect_err(line);
            assert!(error.ends_with(line), "{error}");
        }
        assert!(Image::read("FROM scratch\n").is_err());
    }
}
