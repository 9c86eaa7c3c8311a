//! Metrics of an RPC server: requests and their durations, by method.
//!
//! A method that was never called has its counter, so that the first call is an increase, but no
//! durations, as in the reference: those of all methods would be half of a scrape.

use crate::rpc::RpcObserver;
use opp2p_node::measure::{DEFAULT_BOUNDS, Exposition, Histogram, Kind, Source};
use std::sync::Arc;
use std::time::Duration;

/// Counter of the requests of an RPC server. The methods are fixed from the start; calls of other
/// methods count as `unknown`, so that clients can't create labels.
#[derive(Debug)]
pub struct RpcMeter {
    methods: Vec<(&'static str, Histogram)>,
    unknown: Histogram,
}

impl RpcMeter {
    /// Creates a meter for these methods, named with their prefixes (`opp2p_self`).
    pub fn new(methods: impl IntoIterator<Item = &'static str>) -> Arc<Self> {
        let methods =
            methods.into_iter().map(|method| (method, Histogram::new(DEFAULT_BOUNDS))).collect();
        Arc::new(Self { methods, unknown: Histogram::new(DEFAULT_BOUNDS) })
    }

    /// Counts an answered request, successful or not, and its duration.
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
        let mut requests = text.reference(
            "rpc_server_requests_total",
            Kind::Counter,
            "Total requests to the RPC server",
        );
        for (method, times) in self.each() {
            requests.sample(&[("method", method)], times.count());
        }
        let mut durations = text.reference(
            "rpc_server_request_duration_seconds",
            Kind::Histogram,
            "Duration of requests to the RPC server, in seconds",
        );
        for (method, times) in self.each().filter(|(_, times)| times.count() > 0) {
            durations.histogram(&[("method", method)], times);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_cannot_create_labels() {
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
            "op_node_default_rpc_server_request_duration_seconds_bucket\
             {method=\"opp2p_self\",le=\"0.005\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("made_up"));
        // It was not called.
        assert!(!text.contains("duration_seconds_count{method=\"opp2p_peers\"}"), "{text}");
    }
}
