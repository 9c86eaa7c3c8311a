//! `cargo devnet`: builds the node, then becomes the devnet. A page that is missing or old is built
//! meanwhile, so that the first block does not wait for it.
//!
//! The devnet serves the page from a folder of its own, [`SERVED`]. While the page is built, that
//! folder holds a page which says so; afterwards, the page, or the reason why there is none. The
//! node reads the folder again when its `index.html` changes.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::{env, fs};

use crate::shell::{self, Shell};
use crate::web;

/// If this is the first argument, the program builds the page for a devnet that runs already.
pub(crate) const FOLLOWING_PAGE: &str = "--devnet-page";

/// Folder of the page that the devnet serves, in the target folder.
const SERVED: &str = "devnet-page";

/// File with the output of the page's build, in the target folder.
const LOG: &str = "devnet-page.log";

/// Runs the devnet with these flags, in the caller's folder and terminal. Standard output belongs
/// to the devnet alone. Returns only after an error or, where programs can't replace themselves,
/// with the exit code of the devnet.
pub(crate) fn run(shell: &Shell, flags: &[String]) -> ExitCode {
    match prepare(shell, flags) {
        Ok(mut devnet) => exec_command(&mut devnet),
        Err(reason) => failed(&reason),
    }
}

/// Builds the node.
pub(crate) fn build(shell: &Shell) -> Result<(), String> {
    // The features are those of the whole workspace, so that the tests share what is built here.
    let mut build = shell.cargo_command();
    build.args(["build", "--locked", "--workspace", "--bin", "opp2p"]);
    let built = build.stdin(Stdio::null()).status();
    if !built.map_err(|error| format!("cargo does not start: {error}"))?.success() {
        return Err("the node was not built: see above".to_owned());
    }
    Ok(())
}

fn prepare(shell: &Shell, flags: &[String]) -> Result<Command, String> {
    build(shell)?;
    let program = shell.target().join("debug").join(format!("opp2p{}", env::consts::EXE_SUFFIX));
    let folder =
        env::current_dir().map_err(|error| format!("the current folder is not known: {error}"))?;
    let mut devnet = Command::new(program);
    devnet.arg("devnet").args(flags).current_dir(folder);
    if wants_page(flags) {
        match page(shell) {
            Ok(folder) => _ = devnet.arg("--web.root").arg(folder),
            Err(reason) => eprintln!("The devnet runs without a page for browsers: {reason}."),
        }
    }
    Ok(devnet)
}

/// Returns whether the devnet is to serve the page that this program builds.
fn wants_page(flags: &[String]) -> bool {
    let others = ["--no-web", "--web.root", "--help", "-h"];
    !flags.iter().any(|flag| others.contains(&flag.split('=').next().unwrap_or_default()))
}

/// Returns the folder to serve. Starts to build the page if its inputs have changed.
fn page(shell: &Shell) -> Result<PathBuf, String> {
    let served = shell.target().join(SERVED);
    if web::page_is_fresh(shell)? {
        copy(&shell.root().join(web::PAGE), &served)?;
        return Ok(served);
    }
    // A user who starts a devnet has not asked for system packages.
    if !(shell::has("node") && shell::has("npm")) {
        return Err("there is no Node.js with npm here (`cargo web-page` installs it)".to_owned());
    }
    let log = shell.target().join(LOG);
    let says = format!(
        "The page is being built, which takes some minutes the first time. It appears here when it \
         is ready. The progress is in {}.",
        log.display()
    );
    replace(&served, &notice("Building the page", &says, true), |_| Ok(()))?;
    let failed = |error: std::io::Error| format!("{}: {error}", log.display());
    let output = fs::File::create(&log).map_err(failed)?;
    let errors = output.try_clone().map_err(failed)?;
    let own =
        env::current_exe().map_err(|error| format!("this program cannot find itself: {error}"))?;
    // The chain comes first: its node has the processors whenever it needs them.
    let mut steps = match shell::find("nice") {
        Some(nice) => {
            let mut steps = Command::new(nice);
            steps.args(["-n", "19"]).arg(own);
            steps
        }
        None => Command::new(own),
    };
    steps.arg(FOLLOWING_PAGE).stdin(Stdio::null()).stdout(output).stderr(errors);
    steps.spawn().map_err(|error| format!("this program cannot start itself: {error}"))?;
    eprintln!(
        "The page for browsers is being built in the background, even if the devnet ends; it shows \
         when it is ready."
    );
    Ok(served)
}

/// Builds the page, and puts it where the devnet serves it.
pub(crate) fn follow(shell: &Shell) -> ExitCode {
    let served = shell.target().join(SERVED);
    let ended = build_page(shell).and_then(|()| copy(&shell.root().join(web::PAGE), &served));
    let Err(reason) = ended else { return ExitCode::SUCCESS };
    let says = format!(
        "{reason}. The output is in {}. `cargo web-page` builds the page alone.",
        shell.target().join(LOG).display()
    );
    let shown = replace(&served, &notice("The page was not built", &says, false), |_| Ok(()));
    if let Err(error) = shown {
        println!("{error}");
    }
    failed(&reason)
}

fn build_page(shell: &Shell) -> Result<(), String> {
    let own =
        env::current_exe().map_err(|error| format!("this program cannot find itself: {error}"))?;
    let mut steps = shell.command(own);
    steps.arg("web-page").stdin(Stdio::null());
    shell::run(&mut steps).map_err(|_| "A step of its build failed".to_owned())
}

/// Index of a page: the node reads the folder again when this file changes, so it is written last.
const INDEX: &str = "index.html";

/// Makes `to` a copy of the page `from`. The node goes on with the files that it has read.
fn copy(from: &Path, to: &Path) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", from.display());
    let index = fs::read_to_string(from.join(INDEX)).map_err(failed)?;
    replace(to, &index, |to| copy_below(from, to))
}

fn copy_below(from: &Path, to: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (path, copy) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            fs::create_dir_all(&copy)?;
            copy_below(&path, &copy)?;
        } else if entry.file_name() != INDEX {
            fs::copy(&path, &copy)?;
        }
    }
    Ok(())
}

/// Replaces a folder by one with this index and what `fill` puts there.
fn replace(
    folder: &Path,
    index: &str,
    fill: impl Fn(&Path) -> std::io::Result<()>,
) -> Result<(), String> {
    let write = || {
        if folder.exists() {
            fs::remove_dir_all(folder)?;
        }
        fs::create_dir_all(folder)?;
        fill(folder)?;
        fs::write(folder.join(INDEX), index)
    };
    write().map_err(|error| format!("{}: {error}", folder.display()))
}

/// Returns a page that says one thing, and loads itself again if `waits`. The node allows neither
/// scripts nor styles inside a page.
fn notice(title: &str, says: &str, waits: bool) -> String {
    let escaped = says.replace('&', "&amp;").replace('<', "&lt;");
    let again = if waits { r#"<meta http-equiv="refresh" content="2">"# } else { "" };
    format!(
        r#"<!doctype html><html lang="en">
<head><meta charset="utf-8">{again}<title>{title}</title></head>
<body><h1>{title}</h1><p>{escaped}</p></body></html>
"#
    )
}

#[cfg(unix)]
fn exec_command(command: &mut Command) -> ExitCode {
    use std::os::unix::process::CommandExt as _;
    let error = command.exec();
    failed(&format!("the devnet does not start: {error}"))
}

#[cfg(not(unix))]
fn exec_command(command: &mut Command) -> ExitCode {
    match command.status() {
        Ok(status) => status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1).into(),
        Err(error) => failed(&format!("the devnet does not start: {error}")),
    }
}

fn failed(sentence: &str) -> ExitCode {
    eprintln!("{sentence}");
    ExitCode::FAILURE
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn a_page_chosen_by_the_user_is_not_replaced() {
        assert!(wants_page(&[]) && wants_page(&flags("--followers 5 --json")));
        for text in ["--no-web", "--json --web.root dist", "--web.root=dist", "--help"] {
            assert!(!wants_page(&flags(text)), "{text}");
        }
    }

    #[test]
    fn a_notice_is_replaced_by_a_page_with_all_its_files() {
        let root = env::temp_dir().join(format!("opp2p-up-{}", std::process::id()));
        let (page, served) = (root.join("page"), root.join("served"));
        fs::create_dir_all(page.join("assets")).expect("a temporary folder");
        fs::write(page.join(INDEX), "<p>page</p>").expect("a temporary file");
        fs::write(page.join("assets/a.js"), "1").expect("a temporary file");

        replace(&served, &notice("T", "a < b & c", true), |_| Ok(())).expect("it is written");
        let shown = fs::read_to_string(served.join(INDEX)).expect("an index");
        assert!(shown.contains("a &lt; b &amp; c") && shown.contains("refresh"), "{shown}");
        copy(&page, &served).expect("it is copied");
        assert_eq!(fs::read_to_string(served.join(INDEX)).expect("an index"), "<p>page</p>");
        assert_eq!(fs::read_to_string(served.join("assets/a.js")).expect("a script"), "1");

        // A page without an index is an error, and the served one stays.
        fs::remove_file(page.join(INDEX)).expect("it is there");
        assert!(copy(&page, &served).is_err() && served.join(INDEX).exists());
        fs::remove_dir_all(&root).expect("it is ours");
    }
}
