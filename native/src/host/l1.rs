//! Asks an L1 node who signs, as the core's [`SignerSource`] says.

use super::driver::Command;
use super::event::{HostEvent, HostEventKind, L1News};
use super::shared::Clock;
use super::signer::SignerReport;
use crate::http::{HttpClient, HttpConfig, HttpError};
use opp2p_core::l1::{L1Config, L1Step, MAX_ANSWER, SignerSource};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::{Notify, broadcast, mpsc, watch};
use tokio::time::sleep_until;

/// Where the unsafe-block signer is read.
#[derive(Clone, Debug)]
pub struct L1Reader {
    /// The L1 node.
    pub http: HttpConfig,
    /// What is read, and how often.
    pub config: L1Config,
}

/// Reads L1 until the node has stopped.
pub(super) struct Reading {
    source: SignerSource,
    http: HttpClient,
    clock: Clock,
    /// Somebody saw blocks of an unknown signer.
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
    pub(super) async fn run(mut self) {
        loop {
            while let Some(step) = self.source.poll(self.clock.now().monotonic) {
                if self.take(step).await.is_none() {
                    return;
                }
            }
            let Some(at) = self.source.next_wakeup().map(|at| self.clock.instant(at)) else {
                // Read once. It is read again when somebody is in a hurry.
                self.hurry.notified().await;
                self.source.hurry(self.clock.now().monotonic);
                continue;
            };
            tokio::select! {
                () = sleep_until(at) => {}
                () = self.hurry.notified() => self.source.hurry(self.clock.now().monotonic),
            }
        }
    }

    /// Does what the source says; `None` when the node has stopped.
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
            L1Step::Signer { signer, block } => {
                let command = Command::SetSigner { signer, l1_block: Some(block) };
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
        // Nobody listening is no error.
        let _ = self.events.upgrade()?.send(HostEvent { at: Instant::now(), kind: HostEventKind::L1(news) });
        Some(())
    }

    fn failed(&self, error: &str) {
        self.report.send_modify(|report| report.l1_error = Some(error.to_owned()));
    }
}
