//! Our agent and that of webrtc-rs, over real sockets on the loopback interface.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ice::{Agent, Pair, Role};
use model::{Candidate, CandidateKind, Component, IceParameters, IceState, Secret};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::time::timeout;
use webrtc_ice::agent::agent_config::AgentConfig;
use webrtc_ice::candidate::candidate_base::unmarshal_candidate;
use webrtc_ice::mdns::MulticastDnsMode;
use webrtc_ice::network_type::NetworkType;
use webrtc_util::Conn;

use crate::network::agent;

const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn we_control_webrtc_rs() {
    converse(Role::Controlling).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn webrtc_rs_controls_us() {
    converse(Role::Controlled).await;
}

/// Connects the two, and sends a datagram each way along the selected pair.
async fn converse(our_role: Role) {
    let they_control = our_role == Role::Controlled; // they do not repair a conflict
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("loopback has ports");
    let local = socket.local_addr().expect("it is bound");
    let mut ours = agent(our_role, &[&local.to_string()]);
    let (theirs, mut found) = their_agent(they_control).await;

    let (ufrag, pwd) = theirs.get_local_user_credentials().await;
    let remote = IceParameters { ufrag, pwd: Secret::new(pwd), lite: false };
    ours.set_remote_credentials(&remote, clock()).expect("their credentials are well-formed");
    while let Some(candidate) = timeout(PATIENCE, found.recv()).await.expect("gathering ends") {
        ours.add_remote_candidate(&candidate, None, clock()).expect("their candidate is fit");
    }
    ours.end_of_candidates(clock());
    for candidate in ours.local_candidates() {
        let line = format!(
            "{} {} udp {} {} {} typ host",
            candidate.foundation,
            candidate.component.number(),
            candidate.priority,
            candidate.address.ip(),
            candidate.address.port()
        );
        let candidate: Arc<dyn webrtc_ice::candidate::Candidate + Send + Sync> =
            Arc::new(unmarshal_candidate(&line).expect("they read our candidate"));
        theirs.add_remote_candidate(&candidate).expect("our candidate suits them");
    }
    let local_credentials = ours.local_credentials().clone();
    let their_end = tokio::spawn(async move {
        let (_cancel, cancelled) = mpsc::channel(1);
        let (ufrag, pwd) = (local_credentials.ufrag, local_credentials.pwd.reveal().clone());
        let connection: Arc<dyn Conn + Send + Sync> = if they_control {
            theirs.dial(cancelled, ufrag, pwd).await.expect("they connect")
        } else {
            theirs.accept(cancelled, ufrag, pwd).await.expect("they connect")
        };
        connection.send(b"\x80from them").await.expect("it is sent");
        let mut buffer = [0; 100];
        let length = connection.recv(&mut buffer).await.expect("it is received");
        assert_eq!(&buffer[..length], b"\x80from us");
        (theirs, connection)
    });

    let heard = timeout(PATIENCE, run(&mut ours, &socket)).await.expect("we connect");
    assert_eq!(heard, b"\x80from them");
    assert_eq!(ours.state(), IceState::Connected);
    let selected = ours.selected().expect("we are connected");
    socket.send_to(b"\x80from us", selected.remote).await.expect("it is sent");
    let (theirs, _) = timeout(PATIENCE, their_end).await.expect("they hear us").expect("they are content");
    let pair = theirs.get_selected_candidate_pair().expect("they are connected");
    assert_eq!((pair.remote.addr(), pair.local.addr()), (local, selected.remote));
    theirs.close().await.expect("it closes");
}

/// Drives our agent until it has a pair and a datagram that is not STUN has come along a validated one.
async fn run(ours: &mut Agent, socket: &UdpSocket) -> Vec<u8> {
    let local = socket.local_addr().expect("it is bound");
    let mut buffer = [0; 2000];
    let mut heard = None;
    loop {
        while let Some(transmit) = ours.poll_transmit() {
            socket.send_to(&transmit.bytes, transmit.pair.remote).await.expect("loopback takes it");
        }
        if let (Some(heard), Some(_)) = (&heard, ours.selected()) {
            return Vec::clone(heard);
        }
        let deadline = ours.poll_timeout().expect("it is checking");
        tokio::select! {
            received = socket.recv_from(&mut buffer) => {
                let (length, remote) = received.expect("loopback delivers");
                let pair = Pair { local, remote };
                if buffer[0] < 4 {
                    ours.handle_packet(&buffer[..length], pair, clock()).expect("they speak STUN");
                } else {
                    assert!(ours.is_validated(pair));
                    heard = Some(buffer[..length].to_vec());
                }
            }
            () = tokio::time::sleep_until(deadline.into()) => ours.handle_timeout(clock()),
        }
    }
}

/// Their agent, and its candidates as they are found.
async fn their_agent(controls: bool) -> (webrtc_ice::agent::Agent, mpsc::Receiver<Candidate>) {
    let config = AgentConfig {
        network_types: vec![NetworkType::Udp4],
        multicast_dns_mode: MulticastDnsMode::Disabled,
        is_controlling: controls,
        include_loopback: true,
        ip_filter: Arc::new(Some(Box::new(|ip| ip == IpAddr::V4(Ipv4Addr::LOCALHOST)))),
        ..AgentConfig::default()
    };
    let agent = webrtc_ice::agent::Agent::new(config).await.expect("it starts");
    let (finds, found) = mpsc::channel(10);
    let finds = std::sync::Mutex::new(Some(finds));
    agent.on_candidate(Box::new(move |candidate| {
        let mut finds = finds.lock().expect("nobody panics with it");
        match candidate.map(|candidate| host(&*candidate)) {
            Some(candidate) => finds.as_ref().expect("gathering goes on").try_send(candidate).expect("there is room"),
            None => *finds = None,
        }
        Box::pin(async {})
    }));
    agent.gather_candidates().expect("it gathers");
    (agent, found)
}

fn host(candidate: &dyn webrtc_ice::candidate::Candidate) -> Candidate {
    Candidate {
        foundation: candidate.foundation(),
        component: Component::from_number(candidate.component()).expect("it has one component"),
        priority: candidate.priority(),
        address: candidate.addr(),
        kind: CandidateKind::Host,
        related: None,
        generation: 0,
    }
}

#[allow(clippy::disallowed_methods, reason = "real sockets need a real clock")]
fn clock() -> Instant {
    Instant::now()
}
