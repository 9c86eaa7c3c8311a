//! A panic, wherever it is, ends what it was about and nothing else, and is known afterwards.

use crate::support::{Place, Sequencer, get, until_true};
use std::time::Duration;

/// Tells a victim to have a thread of this name panic after a while: the program itself has no place where it does.
const ASKED: &str = "CRASH_PANIC_IN";

/// Panics on another thread, a while after the start, if whoever started this process wants it.
pub(crate) fn fail_if_asked() {
    let Ok(name) = std::env::var(ASKED) else { return };
    std::thread::spawn(|| {
        std::thread::sleep(Duration::from_secs(2));
        let panicking = || -> () { panic!("as the test wants it") };
        let _ = std::thread::Builder::new().name(name).spawn(panicking).unwrap().join();
    });
}

pub(crate) async fn a_panic_is_logged_counted_and_shown_and_the_node_goes_on() {
    let mut sequencer = Sequencer::start().await;
    let mut place = Place::new(&sequencer, "victim", &[sequencer.host.address().to_string()]);
    place.environment = vec![(ASKED, "validate-9".to_owned())];
    let victim = place.start();
    let (address, _) = victim.started();
    let observer = sequencer.observer("observer", &[address]).await;
    let line = victim.wait_for(&["ERROR", "as the test wants it"]);
    assert!(line.contains("place=\"validation\"") && line.contains("panics.rs:"), "{line}");
    assert_eq!(victim.metric("opp2p_panics_total{place=\"validation\"}").await, Some(1.0));
    assert_eq!(victim.metric("opp2p_panics_total{place=\"task\"}").await, Some(0.0));
    assert_eq!(victim.metric("opp2p_lost_parts").await, Some(0.0));
    let (status, health) = get(victim.rpc(), "/healthz").await;
    assert!(status == 200 && health.contains("there was a panic, which was contained"), "{health}");
    sequencer.reach(&observer).await;
    let said = victim.end();
    assert_eq!(said.iter().filter(|line| line.contains("as the test wants it")).count(), 1, "{said:#?}");
}

pub(crate) async fn who_looks_at_a_node_and_panics_harms_nobody_else() {
    let mut sequencer = Sequencer::start().await;
    let observer = sequencer.observer("observer", &[sequencer.host.address().to_string()]).await;
    let before = opp2p::panics::count();
    opp2p::panics::watch();
    for _ in 0..3 {
        let handle = observer.handle();
        // With the core in its hands, on a task of the same runtime.
        let looking =
            tokio::spawn(async move { handle.core(|_, _| -> () { panic!("as the test wants it") }) });
        assert!(looking.await.unwrap_err().is_panic());
        sequencer.reach(&observer).await;
    }
    until_true("all are counted", async || opp2p::panics::count() >= before + 3).await;
    assert!(observer.is_running());
    observer.stop().await;
}
