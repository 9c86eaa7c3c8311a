//! Reading of the unsafe-block signer from an L1 node, as the core's [`SignerSource`] directs.

use super::commands::Command;
use super::event::{HostEvent, HostEventKind, L1News};
use super::shared::Clock;
use super::signer::SignerReport;
use crate::http::{HttpClient, HttpConfig, HttpError};
use opp2p_core::l1::{L1Config, L1Step, MAX_ANSWER, SignerSource};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::{Notify, broadcast, mpsc, oneshot, watch};
use tokio::time::sleep_until;

/// Source of the unsafe-block signer on L1.
#[derive(Clone, Debug)]
pub struct L1Reader {
    /// HTTP settings of the L1 node.
    pub http: HttpConfig,
    /// What is read, and how often.
    pub config: L1Config,
}

/// The task that reads L1 until the node has stopped.
pub(super) struct Reading {
    source: SignerSource,
    http: HttpClient,
    clock: Clock,
    /// Notified when blocks of an unknown signer arrive.
    hurry: Arc<Notify>,
    commands: mpsc::WeakSender<Command>,
    events: broadcast::WeakSender<HostEvent>,
    report: watch::Sender<SignerReport>,
}

impl L1Reader {
    pub(super) fn start(
        &self,
        clock: Clock,
        hurry: Arc<Notify>,
        commands: mpsc::WeakSender<Command>,
        events: broadcast::WeakSender<HostEvent>,
        report: watch::Sender<SignerReport>,
    ) -> Result<Reading, HttpError> {
        let http = HttpClient::new(&self.http)?;
        let source = SignerSource::new(clock.now().monotonic, self.config);
        Ok(Reading { source, http, clock, hurry, commands, events, report })
    }
}

impl Reading {
    /// Runs until the other half of `end` is dropped, which the driver holds: a source that needs
    /// no further reading would otherwise wait for ever.
    pub(super) async fn run(self, end: oneshot::Receiver<Infallible>) {
        tokio::select! {
            () = self.read() => {}
            _ = end => {}
        }
    }

    async fn read(mut self) {
        loop {
            while let Some(step) = self.source.poll(self.clock.now().monotonic) {
                if self.take(step).await.is_none() {
                    return;
                }
            }
            let Some(at) = self.source.next_wakeup().map(|at| self.clock.instant(at)) else {
                // The source needs no further reading until blocks of an unknown signer arrive.
                self.hurry.notified().await;
                self.source.expedite(self.clock.now().monotonic);
                continue;
            };
            tokio::select! {
                () = sleep_until(at) => {}
                () = self.hurry.notified() => self.source.expedite(self.clock.now().monotonic),
            }
        }
    }

    /// Carries out a step of the source; returns `None` when the node has stopped.
    async fn take(&mut self, step: L1Step) -> Option<()> {
        let news = match step {
            L1Step::Ask { id, body } => {
                let answer = self.http.post(body.into(), MAX_ANSWER).await;
                let answer = answer.map_err(|error| error.to_string());
                let now = self.clock.now().monotonic;
                match &answer {
                    Ok(body) => self.source.answered(now, id, Ok(body)),
                    Err(error) => self.source.answered(now, id, Err(error.clone())),
                }
                return Some(());
            }
            L1Step::Signer { signer, block, timestamp } => {
                let command = Command::SignerRead { signer, l1_block: block, as_of: timestamp };
                self.commands.upgrade()?.send(command).await.ok()?;
                L1News::Read { signer, block }
            }
            L1Step::Failed(error) => {
                self.failed(&error.to_string());
                L1News::Failed(error)
            }
            L1Step::GaveUp(error) => {
                self.failed(&error.to_string());
                L1News::GaveUp(error)
            }
        };
        // Having no listener is not an error.
        let _ = self
            .events
            .upgrade()?
            .send(HostEvent { at: Instant::now(), kind: HostEventKind::L1(news) });
        Some(())
    }

    fn failed(&self, error: &str) {
        self.report.send_modify(|report| report.l1_error = Some(error.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::WallClock;
    use std::time::Duration;
    use tokio::time::timeout;

    #[tokio::test]
    async fn the_reader_ends_with_the_node_even_if_handles_remain() {
        let config =
            L1Config { chain_id: 1, contract: Default::default(), confirmations: 0, reload: None };
        let http = HttpConfig::new("http://127.0.0.1:9", Duration::from_secs(1));
        let (clock, hurry) = (Clock::start(WallClock::default()), Arc::new(Notify::new()));
        let (commands, _queue) = mpsc::channel(1);
        let (events, _heard) = broadcast::channel(16);
        let (report, _shown) = watch::channel(SignerReport::default());
        let reading = L1Reader { http, config }
            .start(clock, hurry, commands.downgrade(), events.downgrade(), report)
            .expect("starts");
        let (driver, end) = oneshot::channel();
        drop(driver);
        timeout(Duration::from_secs(20), reading.run(end)).await.expect("it ends");
    }
}
