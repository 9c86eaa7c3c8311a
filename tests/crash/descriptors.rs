//! A node without free file descriptors.

use crate::support::{Place, Sequencer, get, until_head, until_true};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// Limit on the node's number of file descriptors.
const DESCRIPTORS: usize = 64;
/// Time for which the node is observed without free descriptors.
const WATCHED: Duration = Duration::from_secs(4);

fn open(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

/// Returns the process's processor time, in ticks of 10 ms.
fn ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_ascii_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// Opens connections until the node has no free descriptors, and one more for each that the node
/// closes.
fn take_all(pid: u32, address: SocketAddr, held: &mut Vec<TcpStream>) {
    // Connections that the node can't accept wait in the system's queue; a few of them are enough.
    while open(pid) < DESCRIPTORS - 1 && held.len() < 4 * DESCRIPTORS {
        held.push(TcpStream::connect_timeout(&address, Duration::from_secs(5)).unwrap());
        std::thread::sleep(Duration::from_millis(2));
    }
    for _ in 0..8 {
        held.push(TcpStream::connect_timeout(&address, Duration::from_secs(5)).unwrap());
    }
}

pub(crate) async fn a_node_without_file_descriptors_relays_and_recovers() {
    let mut sequencer = Sequencer::start().await;
    let mut place = Place::new(&sequencer, "victim", &[sequencer.host.address().to_string()]);
    place.limits = format!("ulimit -n {DESCRIPTORS}");
    let victim = place.start();
    let (address, _) = victim.started();
    let observer = sequencer.observer("observer", std::slice::from_ref(&address)).await;
    sequencer.reach(&observer).await;
    let (pid, metrics) = (victim.id(), victim.metrics());

    // Silent clients of the metrics server take all descriptors, and others wait at the node's own
    // listener.
    let mut held = Vec::new();
    take_all(pid, metrics, &mut held);
    let port: u16 = address.split('/').nth(4).unwrap().parse().unwrap();
    for _ in 0..4 {
        held.push(TcpStream::connect(("127.0.0.1", port)).unwrap());
    }
    assert!(open(pid) >= DESCRIPTORS - 2, "{} open", open(pid));
    let (begun, before) = (Instant::now(), ticks(pid));
    let mut published = 0;
    while begun.elapsed() < WATCHED {
        let number = sequencer.publish(0).await.number;
        until_head(&observer, number).await;
        published += 1;
        sleep(Duration::from_millis(300)).await;
    }
    let share = (ticks(pid) - before) as f64 / 100.0 / begun.elapsed().as_secs_f64();
    println!(
        "{published} blocks relayed without a descriptor left, {:.0} % of a core",
        share * 100.0
    );
    assert!(share < 0.6, "the node is busy with nothing: {:.0} % of a core", share * 100.0);
    let lines = victim.lines();
    let about_it = lines
        .iter()
        .filter(|line| line.to_ascii_lowercase().contains("too many open files"))
        .count();
    assert!(about_it <= 50, "{about_it} lines about it in the log");
    assert!(about_it >= 1, "nothing is said of it: {lines:#?}");

    // Once descriptors are free again, every client is accepted.
    drop(held);
    until_true("descriptors are free", async || open(pid) < DESCRIPTORS - 10).await;
    assert_eq!(get(victim.rpc(), "/healthz").await.0, 200);
    let another = sequencer.observer("another", &[address]).await;
    sequencer.reach(&another).await;
    let number = sequencer.head();
    until_true("all is stored", async || {
        victim.call("opp2p_nodeStatus").await["stored"]["number"].as_u64() == Some(number)
    })
    .await;
    victim.end();
}
