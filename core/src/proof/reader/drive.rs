//! Control flow of the reader: advances reads, asks their questions, and handles endpoint results.

use std::borrow::Cow;

use serde_json::{Value, json};

use super::config::{
    LAG_WAIT, LagPolicy, MAX_FETCH_BYTES, MAX_FETCHES, MAX_QUESTIONS, MAX_READ_BYTES,
};
use super::error::ReadError;
use super::locate::{Context, Stop};
use super::need::{Checked, Fact, Key, Need};
use super::output::{FetchFailure, FetchId, ReadId, ReaderOutput};
use super::question::{Attempt, Question};
use super::request::Request;
use super::step::{self, Done};
use super::{Fetch, Read, Reader, params, show};
use crate::chain::BlockId;
use crate::json_rpc::shortened;
use crate::proof::BlockHeader;
use crate::sorted::SortedSet;
use crate::time::Instant;

/// Maximum size of an answer to `eth_blockNumber`, in bytes.
const PROBE_BYTES: usize = 4096;
/// JSON-RPC error codes of an endpoint that does not support the method or its parameters.
const UNSUPPORTED: [i64; 3] = [-32601, -32602, -32004];

impl Reader {
    pub(super) const fn id(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    pub(super) fn refuse(&mut self, read: ReadId, error: ReadError) {
        let result = Err(error);
        self.outputs.push_back(ReaderOutput::Answer {
            read,
            result,
            block: None,
            is_verified: true,
        });
    }

    pub(super) fn begin(&mut self, id: ReadId, request: Request, now: Instant) {
        let wait = match self.config.lag {
            LagPolicy::Wait(wait) => wait,
            LagPolicy::Newest { .. } => LAG_WAIT,
        };
        let read = Read {
            request,
            anchor: self.chain.head(),
            facts: Default::default(),
            execution: Default::default(),
            bytes: 0,
            distrusted: Vec::new(),
            lag_until: now + wait,
            until: now + self.config.read_timeout,
            head_until: now + self.config.head_timeout,
        };
        self.reads.insert(id, read);
        self.advance(id, now);
    }

    /// Moves reads whose anchor left the chain to the new head, after the chain changed.
    pub(super) fn moved(&mut self, now: Instant) {
        let head = self.chain.head();
        let mut changed = Vec::new();
        for (id, read) in self.reads.iter_mut() {
            if read.anchor.is_none_or(|anchor| !self.chain.has(anchor)) && read.anchor != head {
                read.anchor = head;
                changed.push(*id);
            }
        }
        for id in changed {
            self.advance(id, now);
        }
        self.run(now);
    }

    /// Starts endpoint requests, and concludes questions without a remaining endpoint.
    pub(super) fn run(&mut self, now: Instant) {
        loop {
            self.launch(now);
            let mut questions = self.questions.iter();
            let over = questions.find(|(_, question)| question.is_over(&self.endpoints));
            let over = over.map(|(id, _)| *id);
            drop(questions);
            let Some(over) = over else { return };
            self.conclude(over, now);
        }
    }

    fn launch(&mut self, now: Instant) {
        let ids: Vec<u64> = self.questions.keys().copied().collect();
        for id in ids {
            while self.fetches.len() < MAX_FETCHES {
                let Some(question) = self.questions.get_mut(&id) else { break };
                let next = question.next(now, &self.endpoints, self.config.hedge);
                let Some(endpoint) = next else { break };
                self.ask(id, endpoint, false, now);
            }
        }
    }

    /// Asks an endpoint the question.
    fn ask(&mut self, id: u64, endpoint: usize, is_last: bool, now: Instant) {
        let fetch = FetchId(self.id());
        let Some(question) = self.questions.get_mut(&id) else { return };
        question.attempts[endpoint] = Attempt::Asked { is_last };
        let (method, params) = (question.need.method(), question.need.params());
        self.send(fetch, id, endpoint, (method, params, MAX_FETCH_BYTES), now);
    }

    /// Asks an endpoint that refused a question for its newest block.
    fn probe(&mut self, id: u64, endpoint: usize, reason: String, now: Instant) {
        let fetch = FetchId(self.id());
        let Some(question) = self.questions.get_mut(&id) else { return };
        question.attempts[endpoint] = Attempt::Probed { reason };
        self.send(fetch, id, endpoint, ("eth_blockNumber".into(), json!([]), PROBE_BYTES), now);
    }

    fn send(
        &mut self,
        id: FetchId,
        question: u64,
        endpoint: usize,
        (method, params, limit): (Cow<'static, str>, Value, usize),
        now: Instant,
    ) {
        let until = now + self.config.fetch_timeout;
        self.fetches.insert(id, Fetch { question, endpoint, since: now, until });
        self.endpoints.asked(endpoint);
        self.outputs.push_back(ReaderOutput::Fetch { id, endpoint, method, params, limit });
    }

    /// Cancels an endpoint request.
    fn abort(&mut self, id: FetchId) {
        if let Some(fetch) = self.fetches.remove(&id) {
            self.endpoints.cancelled(fetch.endpoint);
            self.outputs.push_back(ReaderOutput::Cancel { id });
        }
    }

    /// Removes a question, and cancels its requests.
    fn withdraw(&mut self, id: u64) -> Option<Question> {
        let question = self.questions.remove(&id)?;
        // A transaction still goes to the other endpoints after one has accepted it.
        if !question.need.is_for_all() {
            let fetches = self.fetches.iter().filter(|(_, fetch)| fetch.question == id);
            let fetches: Vec<FetchId> = fetches.map(|(id, _)| *id).collect();
            for fetch in fetches {
                self.abort(fetch);
            }
        }
        Some(question)
    }

    /// Ends a read, and withdraws its questions.
    pub(super) fn end(&mut self, id: ReadId) -> Option<Read> {
        let read = self.reads.remove(&id)?;
        self.keep(id, |_| false);
        Some(read)
    }

    /// Withdraws the questions of a read whose key is not wanted.
    pub(super) fn keep(&mut self, read: ReadId, is_wanted: impl Fn(&Key) -> bool) {
        let questions = self.questions.iter().filter(|(_, question)| question.read == read);
        let unwanted = questions.filter(|(_, question)| !is_wanted(&question.need.key()));
        let unwanted: Vec<u64> = unwanted.map(|(id, _)| *id).collect();
        for id in unwanted {
            self.withdraw(id);
        }
    }

    pub(super) fn finish(&mut self, id: ReadId, result: Result<Done, ReadError>) {
        let Some(read) = self.end(id) else { return };
        let is_verified = !matches!(read.request, Request::Pass { .. });
        let (result, block) = match result {
            Ok(done) => (Ok(done.value), done.block),
            Err(error) => (Err(error), None),
        };
        self.outputs.push_back(ReaderOutput::Answer { read: id, result, block, is_verified });
    }

    /// Answers a read, or asks for the missing facts.
    pub(super) fn advance(&mut self, id: ReadId, now: Instant) {
        // Each iteration but the last removes an endpoint's claim, or passes a call on.
        loop {
            let Some(read) = self.reads.get_mut(&id) else { return };
            let context = Context {
                chain_id: self.config.chain_id,
                rules: self.config.calls.as_ref(),
                chain: &self.chain,
                caches: &self.caches,
                forks: self.config.forks.as_ref(),
                anchor: read.anchor,
                facts: &read.facts,
                execution: &read.execution,
            };
            match step::answer(&context, &read.request) {
                Ok(done) => return self.finish(id, Ok(done)),
                Err(Stop::Fail(error)) => return self.finish(id, Err(error)),
                Err(Stop::Head) => {
                    read.execution.forget();
                    return self.keep(id, |_| false);
                }
                Err(Stop::Need(needs)) => {
                    read.execution.forget();
                    return self.require(id, needs, now);
                }
                Err(Stop::Pass(listed)) => {
                    let (method, params) = *listed;
                    read.request = Request::Pass { method, params };
                }
                Err(Stop::Execute(block, job)) => return self.run_call(id, block, job),
                Err(Stop::False { endpoint, method, part }) => {
                    read.forget_claims();
                    self.drop_endpoint(endpoint, method.into(), &part);
                }
                Err(Stop::Distrust { endpoint }) => {
                    read.distrusted.push(endpoint);
                    read.forget_claims();
                }
            }
        }
    }

    /// Asks for the needs of a read, at most [`MAX_QUESTIONS`] at once, and withdraws its other
    /// questions.
    fn require(&mut self, id: ReadId, needs: Vec<Need>, now: Instant) {
        let keys: SortedSet<Key> = needs.iter().map(Need::key).collect();
        self.keep(id, |key| keys.contains(key));
        let own = self.questions.values().filter(|question| question.read == id);
        let mut asked: Vec<Key> = own.map(|question| question.need.key()).collect();
        let Some(read) = self.reads.get(&id) else { return };
        for need in needs {
            if asked.len() >= MAX_QUESTIONS {
                return;
            }
            let key = need.key();
            if asked.contains(&key) {
                continue;
            }
            let is_newest = matches!(self.config.lag, LagPolicy::Newest { .. });
            let lag_until = if is_newest && is_movable(read, &need) { now } else { read.lag_until };
            let distrusted = if matches!(key, Key::Claim(_)) {
                &read.distrusted[..]
            } else {
                Default::default()
            };
            let times = (now, lag_until);
            let question = Question::new(id, need, &self.config, times, distrusted);
            self.next += 1;
            self.questions.insert(self.next, question);
            asked.push(key);
        }
    }

    /// Handles the result of an endpoint request.
    pub(super) fn take(&mut self, id: FetchId, result: Result<Value, FetchFailure>, now: Instant) {
        let Some(fetch) = self.fetches.remove(&id) else { return };
        match result {
            Ok(_) | Err(FetchFailure::Refused { .. }) => {
                self.endpoints.answered(fetch.endpoint, now.since(fetch.since));
            }
            Err(_) => self.endpoints.failed(fetch.endpoint, now),
        }
        let Some(question) = self.questions.get(&fetch.question) else { return };
        match question.attempts[fetch.endpoint].clone() {
            Attempt::Asked { is_last } => self.answered(fetch, is_last, result, now),
            Attempt::Probed { reason } => self.probed(fetch, reason, result, now),
            _ => {}
        }
    }

    fn set(&mut self, fetch: Fetch, attempt: Attempt) {
        if let Some(question) = self.questions.get_mut(&fetch.question) {
            question.attempts[fetch.endpoint] = attempt;
        }
    }

    fn answered(
        &mut self,
        fetch: Fetch,
        is_last: bool,
        result: Result<Value, FetchFailure>,
        now: Instant,
    ) {
        let Some(question) = self.questions.get(&fetch.question) else { return };
        let need = &question.need;
        let answer = match result {
            Ok(answer) => answer,
            Err(failure) => return self.failed(fetch, is_last, failure, now),
        };
        match need.check(fetch.endpoint, &answer) {
            Checked::Fact(fact) => self.resolve(fetch.question, fact, now),
            Checked::Absent if need.executed().is_some() => {
                self.refused(fetch, is_last, "it does not have the block".into(), now);
            }
            Checked::Absent => self.set(fetch, Attempt::Absent),
            Checked::Unusable(reason) => self.set(fetch, Attempt::Failed(reason)),
            Checked::False(part) => {
                let method = need.method();
                self.drop_endpoint(fetch.endpoint, method, &part);
                self.set(fetch, Attempt::Untried);
            }
        }
    }

    fn failed(&mut self, fetch: Fetch, is_last: bool, failure: FetchFailure, now: Instant) {
        let Some(question) = self.questions.get(&fetch.question) else { return };
        let reason = match failure {
            FetchFailure::TooLarge => "its answer is too large".into(),
            FetchFailure::Transport(reason) => shortened(&reason),
            FetchFailure::Refused { code, message, data } => {
                let reason = format!("it refused: {} (code {code})", shortened(&message));
                let is_unsupported = UNSUPPORTED.contains(&code);
                let error = ReadError::Endpoint { code, message, data };
                match question.need {
                    Need::Sent { .. } => return self.set(fetch, Attempt::Refused(error)),
                    // The error is the answer, for example of a reverted call.
                    Need::Passed { .. } if !is_unsupported => {
                        return self.resolve(fetch.question, Fact::Failed(error), now);
                    }
                    _ if question.need.executed().is_some() && !is_unsupported => {
                        return self.refused(fetch, is_last, reason, now);
                    }
                    _ => reason,
                }
            }
        };
        self.set(fetch, Attempt::Failed(reason));
    }

    /// Handles the refusal of a question about a block's state: the endpoint may lag.
    fn refused(&mut self, fetch: Fetch, is_last: bool, reason: String, now: Instant) {
        if is_last {
            self.set(fetch, Attempt::Failed(reason));
        } else {
            self.probe(fetch.question, fetch.endpoint, reason, now);
        }
    }

    /// Handles the answer of an endpoint that was asked for its newest block.
    fn probed(
        &mut self,
        fetch: Fetch,
        reason: String,
        result: Result<Value, FetchFailure>,
        now: Instant,
    ) {
        let head = result.ok().and_then(|head| params::number(&head));
        let Some(question) = self.questions.get_mut(&fetch.question) else { return };
        match (head, question.need.executed()) {
            (Some(head), Some(number)) if head < number => {
                question.lags(fetch.endpoint, head, now);
            }
            // It may have executed the block in the meantime.
            (Some(_), Some(_)) => self.ask(fetch.question, fetch.endpoint, true, now),
            _ => self.set(fetch, Attempt::Failed(reason)),
        }
    }

    /// Drops an endpoint whose answer is false, and cancels its requests.
    fn drop_endpoint(&mut self, endpoint: usize, method: Cow<'static, str>, part: &str) {
        if self.endpoints.is_dropped(endpoint) {
            return;
        }
        self.endpoints.drop(endpoint);
        let fetches = self.fetches.iter().filter(|(_, fetch)| fetch.endpoint == endpoint);
        let fetches: Vec<(FetchId, Fetch)> = fetches.map(|(id, fetch)| (*id, *fetch)).collect();
        for (id, fetch) in fetches {
            self.abort(id);
            self.set(fetch, Attempt::Untried);
        }
        let part = shortened(part);
        self.outputs.push_back(ReaderOutput::Dropped { endpoint, method, part });
    }

    /// Ends a question without a remaining endpoint: moves the read to a lower block if
    /// [`LagPolicy`] allows it, or else records the failure.
    fn conclude(&mut self, id: u64, now: Instant) {
        let Some(question) = self.questions.get(&id) else { return };
        let error = question.error(&self.endpoints);
        let newest = question.newest();
        let Some(read) = self.reads.get_mut(&question.read) else {
            self.withdraw(id);
            return;
        };
        let is_movable = is_movable(read, &question.need);
        if let (true, LagPolicy::Newest { max_blocks }, Some(newest), Some(anchor)) =
            (is_movable, self.config.lag, newest, read.anchor)
        {
            let head = self.chain.head().unwrap_or(anchor).number;
            let below = newest.min(anchor.number.saturating_sub(1));
            let lower = self.chain.at(below).filter(|_| head - below <= max_blocks);
            if let Some(lower) = lower {
                read.anchor = Some(lower);
                let read = question.read;
                self.withdraw(id);
                return self.advance(read, now);
            }
        }
        let can_be_absent =
            matches!(question.need, Need::Header { .. } | Need::Body { .. } | Need::Claim { .. });
        let fact = match can_be_absent && question.is_absent() {
            true => Fact::Absent(error),
            false => Fact::Failed(error),
        };
        self.resolve(id, fact, now);
    }

    /// Ends a question with a fact: caches it, and advances the read.
    fn resolve(&mut self, id: u64, fact: Fact, now: Instant) {
        let Some(question) = self.withdraw(id) else { return };
        let Some(read) = self.reads.get_mut(&question.read) else { return };
        let caches = &mut self.caches;
        let size = fact.size();
        let mut fact = fact;
        match &fact {
            Fact::Header(header) => {
                if let Need::Header { hash } = question.need {
                    caches.headers.insert(hash, header.clone(), size);
                }
            }
            Fact::Body(block) => {
                let header = BlockHeader::of_block(block);
                caches.headers.insert(block.hash(), header.into(), size_of::<BlockHeader>());
                caches.blocks.insert(block.hash(), block.clone(), size);
            }
            Fact::Code(code) => {
                if let Need::Code { hash, .. } = question.need {
                    caches.code.insert(hash, code.clone(), size);
                }
            }
            Fact::Receipts(receipts) => {
                caches.receipts.insert(receipts.block_hash, receipts.clone(), size);
                if let (Request::Logs { filter, .. }, Need::Receipts { block }) =
                    (&read.request, &question.need)
                {
                    let logs = filter.select(receipts).map(|log| show::log(block, &log));
                    fact = Fact::Logs(logs.collect());
                    let body = read.facts.remove(&Key::Body(block.hash()));
                    read.bytes -= body.map_or(0, |body| body.size());
                }
            }
            _ => {}
        }
        read.bytes = read.bytes.saturating_add(fact.size());
        read.facts.insert(question.need.key(), fact);
        if read.bytes > MAX_READ_BYTES {
            return self.finish(question.read, Err(ReadError::TooLarge));
        }
        self.advance(question.read, now);
    }

    /// Ends requests and reads whose timeout has expired.
    pub(super) fn expire(&mut self, now: Instant) {
        let late = self.fetches.iter().filter(|(_, fetch)| fetch.until <= now);
        let late: Vec<(FetchId, Fetch)> = late.map(|(id, fetch)| (*id, *fetch)).collect();
        for (id, fetch) in late {
            self.fetches.remove(&id);
            self.endpoints.failed(fetch.endpoint, now);
            self.outputs.push_back(ReaderOutput::Cancel { id });
            let seconds = self.config.fetch_timeout.as_secs_f32();
            self.set(fetch, Attempt::Failed(format!("it did not answer within {seconds} s")));
        }
        let late: Vec<(ReadId, ReadError)> =
            self.reads.iter().filter_map(|(id, read)| self.late(*id, read, now)).collect();
        for (id, error) in late {
            self.finish(id, Err(error));
        }
    }

    /// Returns the error of a read whose timeout has expired.
    fn late(&self, id: ReadId, read: &Read, now: Instant) -> Option<(ReadId, ReadError)> {
        if read.anchor.is_none() && !read.request.is_constant() {
            return (read.head_until.min(read.until) <= now).then_some((id, ReadError::NoHead));
        }
        if read.until > now {
            return None;
        }
        let question = self.questions.values().find(|question| question.read == id);
        let error = question.map(|question| question.error(&self.endpoints));
        Some((id, error.unwrap_or(ReadError::TimedOut)))
    }
}

/// Returns `true` if the read may be answered at a lower anchor, which replaces this need.
fn is_movable(read: &Read, need: &Need) -> bool {
    let is_at = |block: &BlockId| Some(*block) == read.anchor;
    match need {
        Need::Account { block, .. } | Need::Code { block, .. } | Need::Hint { block, .. }
            if is_at(block) =>
        {
            Context::is_history(need) || read.request.is_of_head()
        }
        Need::Receipts { block } => {
            read.anchor.is_some_and(|anchor| anchor.hash == block.hash())
                && read.request.is_of_head()
        }
        _ => false,
    }
}
