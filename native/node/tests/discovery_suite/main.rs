//! Nodes on loopback that find each other by discv5.
#![allow(clippy::unwrap_used, reason = "a helper of a test may fail like the test")]

use alloy_primitives::B256;
use discv5::Enr;
use opp2p_core::chain::{ChainConfig, Fork};
use opp2p_core::discovery::PaceConfig;
use opp2p_core::sequencer::LocalSigner;
use opp2p_node::discovery::{Bootnode, DiscoveryConfig};
use opp2p_node::host::{Host, HostConfig};
use opp2p_node::key::SecretKey;
use std::net::{IpAddr, Ipv4Addr, TcpListener, UdpSocket};
use std::path::Path;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Time limit for operations that take seconds, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

fn chain(chain_id: u64) -> ChainConfig {
    let signer = LocalSigner::from_bytes(&[7; 32]).unwrap().address();
    ChainConfig::development(chain_id, B256::repeat_byte(9), 1_700_000_000, 2, Fork::Jovian, signer)
}

/// A node that can be restarted with the same identity.
#[derive(Clone)]
struct Plan {
    chain_id: u64,
    key: [u8; 32],
    name: String,
    /// TCP and UDP port.
    port: u16,
    bootnodes: Vec<Bootnode>,
}

impl Plan {
    fn new(name: impl Into<String>, bootnodes: Vec<Bootnode>) -> Self {
        let key = *SecretKey::generate().unwrap().secret_bytes();
        Self { chain_id: 901, key, name: name.into(), port: free_port(), bootnodes }
    }

    fn config(&self, directory: &Path) -> HostConfig {
        let key = SecretKey::from_bytes(&self.key).unwrap();
        let mut config =
            HostConfig::new(chain(self.chain_id), key, directory.join(&self.name).join("blocks"));
        config.listen_ip = Ipv4Addr::LOCALHOST.into();
        config.listen_tcp = self.port;
        config.discovery = Some(DiscoveryConfig {
            bootnodes: Some(self.bootnodes.clone()),
            table: Some(directory.join(&self.name).join("discovery.txt")),
            pace: PaceConfig { fast: Duration::from_millis(500), slow: Duration::from_secs(2) },
            ..DiscoveryConfig::default()
        });
        config
    }

    async fn start(&self, directory: &Path) -> Host {
        std::fs::create_dir_all(directory.join(&self.name)).unwrap();
        Host::start(self.config(directory)).await.unwrap()
    }
}

fn record(host: &Host) -> Enr {
    host.local_enr().unwrap().parse().unwrap()
}

fn bootnode(host: &Host) -> Bootnode {
    host.local_enr().unwrap().parse().unwrap()
}

/// Returns the node's URL.
fn enode(host: &Host, key: &[u8; 32]) -> Bootnode {
    let udp = record(host).udp4().unwrap();
    let secret = libp2p::identity::secp256k1::SecretKey::try_from_bytes(&mut { *key }).unwrap();
    let public =
        libp2p::identity::secp256k1::Keypair::from(secret).public().to_bytes_uncompressed();
    let key = alloy_primitives::hex::encode(&public[1..]);
    format!("enode://{key}@127.0.0.1:0?discport={udp}").parse().unwrap()
}

#[track_caller]
fn connected(host: &Host) -> Vec<libp2p::PeerId> {
    host.peers(|peers, _| peers.connected_peers().filter_map(opp2p_wire::to_libp2p).collect())
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until each of them is connected to all others.
async fn until_all_meet(when: &str, hosts: &[Host]) {
    for host in hosts {
        let others: Vec<_> =
            hosts.iter().map(|other| other.peer_id()).filter(|id| *id != host.peer_id()).collect();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let connected = connected(host);
            let missing: Vec<_> =
                others.iter().filter(|other| !connected.contains(other)).collect();
            if missing.is_empty() {
                break;
            }
            let table = host.discovery_table().unwrap().len();
            let id = host.peer_id();
            assert!(
                Instant::now() < deadline,
                "{id} of {when} has not met {missing:?}; {table} are in its table"
            );
            sleep(Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn five_nodes_find_each_other_by_a_bootnode_and_later_without_it() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path();
    // It follows another chain, as many boot nodes do; its records count all the same.
    let boot = Plan { chain_id: 7, ..Plan::new("boot", Vec::new()) };
    let boot_host = boot.start(place).await;
    let plans: Vec<Plan> = (0..5)
        .map(|number| {
            // By its record or by its URL.
            let known =
                if number % 2 == 0 { bootnode(&boot_host) } else { enode(&boot_host, &boot.key) };
            Plan::new(format!("node-{number}"), vec![known])
        })
        .collect();
    let stranger = Plan { chain_id: 902, ..Plan::new("stranger", vec![bootnode(&boot_host)]) };
    let mut hosts = Vec::new();
    for plan in &plans {
        hosts.push(plan.start(place).await);
    }
    let stranger_host = stranger.start(place).await;
    until_all_meet("the first meeting", &hosts).await;
    // The node of another chain is in their tables, but they don't dial it, and it does not dial
    // them.
    until("the stranger is known", || {
        let record = stranger_host.local_enr().unwrap();
        hosts.iter().any(|host| host.discovery_table().unwrap().contains(&record))
    })
    .await;
    for host in &hosts {
        assert!(!connected(host).contains(&stranger_host.peer_id()));
        assert!(!connected(host).contains(&boot_host.peer_id()));
        // The RPC's data about a peer comes from its record.
        let other = hosts.iter().find(|other| other.peer_id() != host.peer_id()).unwrap();
        let id = opp2p_wire::from_libp2p(&other.peer_id()).unwrap();
        let found = host
            .peers(|peers, _| peers.book().get(&id).map(|record| record.metadata.clone()))
            .unwrap();
        assert_eq!(found.chain_id, 901);
    }
    assert!(connected(&stranger_host).is_empty() && connected(&boot_host).is_empty());

    for host in hosts {
        host.stop().await;
    }
    stranger_host.stop().await;
    boot_host.stop().await;
    // Deletes the peers' own memory, so that discovery has to find them.
    let mut hosts = Vec::new();
    for plan in &plans {
        std::fs::remove_file(place.join(&plan.name).join("blocks")).unwrap();
        let alone = Plan { bootnodes: Vec::new(), ..plan.clone() };
        hosts.push(alone.start(place).await);
    }
    until_all_meet("the second meeting", &hosts).await;
    for host in hosts {
        host.stop().await;
    }
}

/// Returns a port that is free over TCP and UDP.
fn free_port() -> u16 {
    loop {
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = tcp.local_addr().unwrap().port();
        if UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_matches_the_reference_and_its_number_grows_only_on_change() {
    let directory = tempfile::tempdir().unwrap();
    let plan = Plan { chain_id: 10, ..Plan::new("node", Vec::new()) };
    let host = plan.start(directory.path()).await;
    let first = record(&host);
    // Uvarints 10 and 0, as RLP.
    assert_eq!(first.get_raw_rlp("opstack"), Some(&[0x82, 0x0a, 0x00][..]));
    assert_eq!(first.get_raw_rlp("id"), Some(&b"\x82v4"[..]));
    assert_eq!((first.ip4(), first.tcp4()), (Some(Ipv4Addr::LOCALHOST), Some(plan.port)));
    // Port 0 takes the number of the TCP port.
    assert_eq!(first.udp4(), Some(plan.port));
    let key = SecretKey::from_bytes(&plan.key).unwrap();
    assert_eq!(first.node_id().raw(), key.node_id().0);
    let keys: Vec<_> =
        first.iter().map(|(key, _)| String::from_utf8(key.clone()).unwrap()).collect();
    assert_eq!(keys, ["id", "ip", "opstack", "secp256k1", "tcp", "udp"]);
    assert!(first.verify());
    host.stop().await;
    let host = plan.start(directory.path()).await;
    assert_eq!(record(&host).seq(), first.seq(), "nothing changed");
    host.stop().await;
    let mut config = plan.config(directory.path());
    config.discovery.as_mut().unwrap().advertise_tcp = 4000;
    let host = Host::start(config).await.unwrap();
    assert!(record(&host).seq() > first.seq());
    assert_eq!((record(&host).tcp4(), record(&host).udp4()), (Some(4000), Some(plan.port)));
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_advertised_address_is_the_operators_and_never_private_by_default() {
    let directory = tempfile::tempdir().unwrap();
    let plan = Plan::new("node", Vec::new());
    let mut config = plan.config(directory.path());
    let discovery = config.discovery.as_mut().unwrap();
    discovery.advertise_ip = Some(IpAddr::from([192, 168, 7, 7]));
    (discovery.advertise_tcp, discovery.advertise_udp) = (5000, 5001);
    let host = Host::start(config).await.unwrap();
    let said = record(&host);
    assert_eq!(said.ip4(), Some(Ipv4Addr::new(192, 168, 7, 7)));
    assert_eq!((said.tcp4(), said.udp4()), (Some(5000), Some(5001)));
    host.stop().await;
    let mut config = Plan::new("ipv6", Vec::new()).config(directory.path());
    let discovery = config.discovery.as_mut().unwrap();
    discovery.advertise_ip = Some("2001:db8::7".parse().unwrap());
    (discovery.advertise_tcp, discovery.advertise_udp) = (5000, 5001);
    let host = Host::start(config).await.unwrap();
    let said = record(&host);
    assert_eq!((said.ip4(), said.ip6()), (None, Some("2001:db8::7".parse().unwrap())));
    // A reader may look for either name of a port.
    assert_eq!(
        (said.tcp6(), said.udp6(), said.tcp4(), said.udp4()),
        (Some(5000), Some(5001), Some(5000), Some(5001))
    );
    host.stop().await;
    // A node that listens on all addresses does not know its external one.
    let mut config = Plan::new("everywhere", Vec::new()).config(directory.path());
    config.listen_ip = Ipv4Addr::UNSPECIFIED.into();
    let host = Host::start(config).await.unwrap();
    assert_eq!(record(&host).ip4(), None);
    host.stop().await;
    let mut config = Plan::new("nowhere", Vec::new()).config(directory.path());
    config.discovery.as_mut().unwrap().advertise_ip = Some(Ipv4Addr::UNSPECIFIED.into());
    let error = Host::start(config).await.unwrap_err().to_string();
    assert!(error.contains("0.0.0.0") && error.contains("advertised"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_table_is_set_aside_and_a_taken_port_is_reported() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path();
    let plan = Plan::new("node", Vec::new());
    std::fs::create_dir_all(place.join("node")).unwrap();
    let table = place.join("node").join("discovery.txt");
    let heading = "# opp2p discovery: our own record, then those of the table\n";
    let asides = [".damaged", ".damaged.2", ".damaged.3"];
    let damages = [&b"enr:garbage\n"[..], b"\xff\xfe", &vec![b'x'; 1 << 21]];
    for (damage, aside) in damages.into_iter().zip(asides) {
        let damage = [heading.as_bytes(), damage].concat();
        std::fs::write(&table, &damage).unwrap();
        let host = plan.start(place).await;
        let aside = table.with_file_name(format!("discovery.txt{aside}"));
        assert_eq!(std::fs::read(aside).unwrap(), damage);
        host.stop().await;
        let kept = std::fs::read_to_string(&table).unwrap();
        assert!(kept.lines().nth(1).unwrap().starts_with("enr:"), "{kept}");
    }
    // Foreign data is left unchanged: a key, or the reference's own database, which is a directory.
    std::fs::write(&table, "a key").unwrap();
    let error = Host::start(plan.config(place)).await.unwrap_err().to_string();
    assert!(
        error.contains("holds something else") && error.contains("name another file"),
        "{error}"
    );
    assert_eq!(std::fs::read(&table).unwrap(), b"a key");
    std::fs::remove_file(&table).unwrap();
    std::fs::create_dir(&table).unwrap();
    let error = Host::start(plan.config(place)).await.unwrap_err().to_string();
    assert!(error.contains("is not a file") && table.is_dir(), "{error}");
    std::fs::remove_dir(&table).unwrap();
    let taken = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut config = Plan::new("other", Vec::new()).config(place);
    let port = taken.local_addr().unwrap().port();
    config.discovery.as_mut().unwrap().listen_udp = port;
    let error = Host::start(config).await.unwrap_err().to_string();
    assert!(
        error.contains(&format!("UDP port {port}")) && error.contains("choose another port"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn only_nodes_of_the_named_networks_are_searched_for() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path();
    let first = Plan::new("first", Vec::new()).start(place).await;
    let second = Plan::new("second", vec![bootnode(&first)]);
    let mut config = second.config(place);
    config.discovery.as_mut().unwrap().restriction = vec!["10.0.0.0/8".parse().unwrap()];
    let host = Host::start(config).await.unwrap();
    sleep(Duration::from_secs(3)).await;
    assert!(host.discovery_table().unwrap().is_empty() && connected(&host).is_empty());
    host.stop().await;
    let mut config = second.config(place);
    config.discovery.as_mut().unwrap().restriction = vec!["127.0.0.0/8".parse().unwrap()];
    let host = Host::start(config).await.unwrap();
    until("it is found", || connected(&host) == [first.peer_id()]).await;
    host.stop().await;
    first.stop().await;
}
