//! What an RPC server counts: requests and their time, by method.

use super::{DEFAULT_BOUNDS, Exposition, Histogram, Kind, Source};
use crate::rpc::RpcObserver;
use std::sync::Arc;
use std::time::Duration;

/// Counts the requests of an RPC server. The methods are known from the start: what a client calls one that is none is
/// counted as `unknown`, so that nobody can make a label.
#[derive(Debug)]
pub struct RpcMeter {
    methods: Vec<(&'static str, Histogram)>,
    unknown: Histogram,
}

impl RpcMeter {
    /// For these methods, with their prefixes (`opp2p_self`).
    pub fn new(methods: impl IntoIterator<Item = &'static str>) -> Arc<Self> {
        let methods = methods.into_iter().map(|method| (method, Histogram::new(DEFAULT_BOUNDS))).collect();
        Arc::new(Self { methods, unknown: Histogram::new(DEFAULT_BOUNDS) })
    }

    /// A request was answered, well or not, and how long that took.
    pub fn answered(&self, method: &str, took: Duration) {
        let known = self.methods.iter().find(|(name, _)| *name == method);
        known.map_or(&self.unknown, |(_, times)| times).took(took);
    }

    fn each(&self) -> impl Iterator<Item = (&'static str, &Histogram)> {
        self.methods.iter().map(|(name, times)| (*name, times)).chain([("unknown", &self.unknown)])
    }
}

impl RpcObserver for RpcMeter {
    fn answered(&self, method: &'static str, took: Duration, _: bool) {
        Self::answered(self, method, took);
    }
}

impl Source for RpcMeter {
    fn write(&self, text: &mut Exposition) {
        let mut requests =
            text.reference("rpc_server_requests_total", Kind::Counter, "Total requests to the RPC server");
        for (method, times) in self.each() {
            requests.sample(&[("method", method)], times.count());
        }
        let mut durations = text.reference(
            "rpc_server_request_duration_seconds",
            Kind::Histogram,
            "Duration of requests to the RPC server, in seconds",
        );
        for (method, times) in self.each() {
            durations.histogram(&[("method", method)], times);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_makes_no_labels() {
        let meter = RpcMeter::new(["opp2p_self", "opp2p_peers"]);
        meter.answered("opp2p_self", Duration::from_millis(3));
        for number in 0..1000 {
            meter.answered(&format!("opp2p_made_up_{number}"), Duration::ZERO);
        }
        let mut text = Exposition::new("op_node_default");
        meter.write(&mut text);
        let text = text.finish();
        for line in [
            "op_node_default_rpc_server_requests_total{method=\"opp2p_self\"} 1",
            "op_node_default_rpc_server_requests_total{method=\"opp2p_peers\"} 0",
            "op_node_default_rpc_server_requests_total{method=\"unknown\"} 1000",
            "op_node_default_rpc_server_request_duration_seconds_bucket{method=\"opp2p_self\",le=\"0.005\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("made_up"));
    }
}
