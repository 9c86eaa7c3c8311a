//! A panic anywhere ends only the work at hand, and is visible afterwards.

use crate::support::{Place, Sequencer, get, until_true};
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

/// Variable that makes a victim panic on a thread of this name after a while, since the program
/// itself has no place where it panics.
const ASKED: &str = "CRASH_PANIC_IN";
/// Makes a victim lose a part from when a file of this name exists until it is removed.
const LOSES: &str = "CRASH_LOSES_A_PART_WHILE";
/// That part.
const PART: &str = "part of a test";

/// Panics on another thread, some time after the start, if the parent process asks for it.
pub(crate) fn fail_if_asked() {
    let Ok(name) = std::env::var(ASKED) else { return };
    std::thread::spawn(|| {
        sleep(Duration::from_secs(2));
        let panicking = || -> () { panic!("as the test wants it") };
        let _ = std::thread::Builder::new().name(name).spawn(panicking).unwrap().join();
    });
}

/// Loses a part while a file exists, if the parent process asks for it.
pub(crate) fn lose_part_on_request() {
    let Ok(file) = std::env::var(LOSES) else { return };
    std::thread::spawn(move || {
        let until = |exists| {
            while Path::new(&file).exists() != exists {
                sleep(Duration::from_millis(50));
            }
        };
        until(true);
        opp2p_node::panics::lose(PART);
        until(false);
        opp2p_node::panics::regain(PART);
    });
}

pub(crate) async fn a_lost_part_is_reported_everywhere_until_it_returns() {
    let sequencer = Sequencer::start().await;
    let mut place = Place::new(&sequencer, "victim", &[sequencer.host.address().to_string()]);
    let file = place.directory.join("lost");
    place.environment = vec![(LOSES, file.display().to_string())];
    let victim = place.start();
    victim.started();
    std::fs::write(&file, "").unwrap();
    let text = format!("A part of this program has ended unexpectedly ({PART}, which will be");
    until_true("it is in the trouble list", async || {
        let (status, health) = get(victim.rpc(), "/healthz").await;
        status == 200 && health.contains(&text)
    })
    .await;
    let is_told = "opp2p_trouble{kind=\"part_lost\"}";
    until_true("the metric", async || victim.metric(is_told).await == Some(1.0)).await;
    assert_eq!(victim.metric("opp2p_lost_parts").await, Some(1.0));
    let url = format!("http://{}", victim.rpc());
    let program = std::env::current_exe().unwrap();
    let told = Command::new(program).args(["status", "--rpc", &url]).output().unwrap();
    let told = String::from_utf8(told.stdout).unwrap();
    assert!(
        told.lines().any(|line| line.starts_with("trouble ") && line.contains(&text)),
        "{told}"
    );
    std::fs::remove_file(&file).unwrap();
    until_true("it is over", async || victim.metric(is_told).await == Some(0.0)).await;
    assert!(!get(victim.rpc(), "/healthz").await.1.contains(PART));
    let said = victim.end();
    let lines: Vec<_> = said.iter().filter(|line| line.contains("trouble=part_lost")).collect();
    let [began, ended] = lines[..] else { panic!("not two lines: {said:#?}") };
    assert!(began.contains("WARN") && began.contains(&text), "{began}");
    assert!(ended.contains("INFO") && ended.contains("over: "), "{ended}");
}

pub(crate) async fn a_panic_is_logged_counted_and_shown_and_the_node_continues() {
    let mut sequencer = Sequencer::start().await;
    let mut place = Place::new(&sequencer, "victim", &[sequencer.host.address().to_string()]);
    place.environment = vec![(ASKED, "validate-9".to_owned())];
    let victim = place.start();
    let (address, _) = victim.started();
    let observer = sequencer.observer("observer", &[address]).await;
    let line = victim.wait_for(&["ERROR", "as the test wants it"]);
    assert!(line.contains("place=validation") && line.contains("panics.rs:"), "{line}");
    until_true("it is counted", async || {
        victim.metric("opp2p_panics_total{place=\"validation\"}").await == Some(1.0)
    })
    .await;
    assert_eq!(victim.metric("opp2p_panics_total{place=\"task\"}").await, Some(0.0));
    assert_eq!(victim.metric("opp2p_lost_parts").await, Some(0.0));
    until_true("it is in the trouble list", async || {
        let (status, health) = get(victim.rpc(), "/healthz").await;
        status == 200 && health.contains("A part of this program panicked 1 time")
    })
    .await;
    sequencer.reach(&observer).await;
    let said = victim.end();
    assert_eq!(
        said.iter().filter(|line| line.contains("as the test wants it")).count(),
        1,
        "{said:#?}"
    );
}

pub(crate) async fn a_panicking_reader_of_a_node_harms_no_other() {
    let mut sequencer = Sequencer::start().await;
    let observer = sequencer.observer("observer", &[sequencer.host.address().to_string()]).await;
    let before = opp2p_node::panics::count();
    opp2p_node::panics::watch();
    for _ in 0..3 {
        let handle = observer.handle();
        // The panic happens while the core is locked, on a task of the same runtime.
        let looking =
            tokio::spawn(
                async move { handle.core(|_, _| -> () { panic!("as the test wants it") }) },
            );
        assert!(looking.await.unwrap_err().is_panic());
        sequencer.reach(&observer).await;
    }
    until_true("all are counted", async || opp2p_node::panics::count() >= before + 3).await;
    assert!(observer.is_running());
    observer.stop().await;
}
