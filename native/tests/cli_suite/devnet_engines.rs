//! `opp2p devnet --engines` with a stand-in for op-geth.

use crate::support::{Daemon, PATIENCE, Place};
use crate::troubles_elsewhere::fake_rpc::FakeRpc;
use alloy_primitives::B256;
use serde_json::json;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// First step of a stand-in that accepts the genesis. Without it, that step hangs.
const ACCEPTS_GENESIS: &str = "[ \"$2\" = init ] && exit 0";

/// A script in place of op-geth. Its processes run as long as a file in the test's directory
/// exists, so that none is left behind.
struct Fake(Place);

impl Fake {
    fn new(first_step: &str) -> Self {
        let place = Place::new();
        let (alive, clients) = (place.file("alive", ""), place.file("clients", ""));
        let script = format!(
            "#!/bin/sh\n{first_step}\necho \"$$ $*\" >> '{clients}'\n\
             while [ -e '{alive}' ]; do sleep 0.1; done\n\
             echo 'Fatal: disk full' >&2\nexit 3\n"
        );
        let program = place.file("bin/op-geth", script);
        std::fs::set_permissions(program, std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::create_dir(place.path("tmp")).unwrap();
        Self(place)
    }

    /// Starts a devnet that finds it.
    fn devnet(&self) -> Daemon {
        let arguments = ["devnet", "--engines", "--no-web", "--json", "--followers", "1"];
        let mut command = self.0.opp2p(&[&arguments[..], &["--blocks", "5"]].concat());
        let path = std::env::var("PATH").unwrap();
        command.env("PATH", format!("{}:{path}", self.0.name("bin")));
        command.env("TMPDIR", self.0.path("tmp"));
        Daemon::start(command, Stdio::null())
    }

    /// Waits until it has been started this many times, and returns the id and the arguments of
    /// each process.
    #[track_caller]
    fn clients(&self, count: usize) -> Vec<String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let text = std::fs::read_to_string(self.0.path("clients")).unwrap();
            if text.matches('\n').count() >= count {
                return text.lines().map(str::to_owned).collect();
            }
            assert!(Instant::now() < deadline, "not {count} processes: {text:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Returns `true` if the process of this line of [`Fake::clients`] runs.
fn runs(client: &str) -> bool {
    let (id, _) = client.split_once(' ').unwrap();
    let signal = format!("kill -0 {id} 2> /dev/null");
    Command::new("sh").args(["-c", &signal]).status().unwrap().success()
}

#[test]
fn a_devnet_that_ends_while_its_clients_start_leaves_nothing_behind() {
    for (first_step, processes) in [("", 1), (ACCEPTS_GENESIS, 2)] {
        let fake = Fake::new(first_step);
        let mut devnet = fake.devnet();
        let clients = fake.clients(processes);
        devnet.signal("TERM");
        assert_eq!(devnet.wait(PATIENCE), Some(0), "{:#?}", devnet.lines());
        assert!(!clients.iter().any(|client| runs(client)), "{clients:#?}");
        assert_eq!(std::fs::read_dir(fake.0.path("tmp")).unwrap().count(), 0);
    }
}

#[test]
fn a_devnet_ends_with_a_failure_when_a_client_ends() {
    let fake = Fake::new(ACCEPTS_GENESIS);
    let mut devnet = fake.devnet();
    let clients = fake.clients(2);
    let answering = |client: &String| {
        let (_, rest) = client.split_once("--http.port=").unwrap();
        let port = rest.split(' ').next().unwrap();
        let block = json!({ "hash": B256::repeat_byte(7) });
        FakeRpc::start_at(&format!("127.0.0.1:{port}"), None, move |_, _| Ok(block.clone()))
    };
    let rpcs: Vec<FakeRpc> = clients.iter().map(answering).collect();
    devnet.wait_for(0, PATIENCE, |line| line.contains("op-geth builds the sequencer's blocks"));
    std::fs::remove_file(fake.0.path("alive")).unwrap();
    let (line, _) = devnet.wait_for(0, PATIENCE, |line| line.contains(": op-geth ended "));
    assert!(line.ends_with("op-geth ended (exit status: 3): Fatal: disk full"), "{line}");
    assert_eq!(devnet.wait(PATIENCE), Some(1), "{:#?}", devnet.lines());
    assert!(!clients.iter().any(|client| runs(client)), "{clients:#?}");
    drop(rpcs);
}
