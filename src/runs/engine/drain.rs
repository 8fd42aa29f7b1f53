//! The consumer's loop: take a turn, execute what it claimed, take the next turn with what has finished, until nothing
//! is left or the invocation's budget is spent.
//!
//! One turn at a time, executions beside it. What is left over is rung for before the end.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::Duration,
};

use futures::{FutureExt, StreamExt, future::LocalBoxFuture, stream::FuturesUnordered};
use jiff::Timestamp;
use serde_json::Value;

use super::{
    Engine, Error,
    archived::Loaded,
    budget::InvocationBudget,
    execute::Prepared,
    owners::{self, Opened},
    settlement::Settlement,
    turn::{Claimed, MoreDue, News, Room, ToRing, TurnAnswer},
};
use crate::{
    ids::{ClaimId, RunId, StepId, TenantId},
    platform::Job,
    runs::references::Resolved,
    tenants::Owner,
};

/// Steps that finish within this time of each other are settled together.
const COALESCE: Duration = Duration::from_millis(25);
/// How long a claimed step waits for a lane to its host before somebody else may have it.
const PARK: Duration = Duration::from_secs(3);
/// When a step that was released is due again.
const RELEASED_AGAIN: Duration = Duration::from_secs(2);
/// What must be left of a lease beyond the step's timeout for an execution to begin: time to settle it.
const LEASE_MARGIN: Duration = Duration::from_secs(5);
/// Outside steps that one invocation carries; a doorbell is rung for each so many that are left over.
const STEPS_PER_DOORBELL: usize = 6;
/// Turns in a row that come to nothing before the invocation leaves the rest to others.
const FRUITLESS_TURNS: u32 = 3;
/// The wait before a failed turn is repeated. The client has tried several times by then.
const TURN_AGAIN: Duration = Duration::from_secs(2);

/// What an invocation did.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct DrainReport {
    /// Turns taken.
    pub turns: u32,
    /// Executions that began.
    pub executed: u32,
    /// Doorbells rung for what is left over.
    pub rung: u32,
    /// Runs that ended; each left an event in the outbox.
    pub runs_ended: u32,
}

/// What the loop wakes up for.
enum Event {
    Turned {
        turn: ClaimId,
        settlements: Vec<Settlement>,
        answer: Result<TurnAnswer, Error>,
    },
    TurnAgain,
    Loaded {
        waiting: Vec<(Claimed, Opened, Timestamp)>,
        inputs: BTreeMap<RunId, Value>,
        loaded: Loaded,
    },
    Executed {
        settlement: Settlement,
        host: Option<String>,
        /// Requests that the skill made.
        requests: u32,
    },
    Coalesced {
        wave: u32,
    },
    ParkedTooLong,
    Said,
}

/// A claimed step that waits for a lane to its host.
struct Parked {
    step: Held,
    host: String,
    since: Timestamp,
}

/// A claimed step, ready to start.
struct Held {
    step: Claimed,
    params: Resolved,
    owner: Arc<Owner>,
    /// Until when it may start, so that it ends and is settled within its lease.
    start_by: Timestamp,
}

pub(super) struct Drain<'a> {
    engine: &'a Engine,
    budget: InvocationBudget,
    events: FuturesUnordered<LocalBoxFuture<'a, Event>>,
    finished: Vec<Settlement>,
    parked: Vec<Parked>,
    /// Claims known to this invocation: the answer to a lost turn may name them a second time.
    known: HashSet<(StepId, i32)>,
    /// Turns whose answers were lost.
    unseen: Vec<ClaimId>,
    left_over: Vec<StepId>,
    /// Claimed steps that wait for outputs from the archive: those that go outside, and the others.
    loading: (usize, usize),
    running: usize,
    /// Rings and publications under way.
    saying: usize,
    turning: bool,
    /// Counts turns, so that a timer set before one does not cut short the wait after it.
    wave: u32,
    coalescing: bool,
    ripe: bool,
    fruitless: u32,
    /// Doorbells that this invocation has answered and others could.
    doorbells: usize,
    report: DrainReport,
}

impl<'a> Drain<'a> {
    pub(super) fn new(engine: &'a Engine, rung: usize, budget: InvocationBudget) -> Self {
        Self {
            engine,
            budget,
            events: FuturesUnordered::new(),
            finished: Vec::new(),
            parked: Vec::new(),
            known: HashSet::new(),
            unseen: Vec::new(),
            left_over: Vec::new(),
            loading: (0, 0),
            running: 0,
            saying: 0,
            turning: false,
            wave: 0,
            coalescing: false,
            ripe: false,
            fruitless: 0,
            doorbells: rung.saturating_sub(1),
            report: DrainReport::default(),
        }
    }

    pub(super) async fn run(mut self) -> Result<DrainReport, Error> {
        self.start_turn();
        while self.is_busy() {
            let Some(event) = self.events.next().await else { break };
            match event {
                Event::Turned {
                    turn,
                    settlements,
                    answer,
                } => self.turned(turn, settlements, answer)?,
                Event::TurnAgain => self.start_turn(),
                Event::Loaded {
                    waiting,
                    inputs,
                    loaded,
                } => self.loaded(waiting, &inputs, &loaded),
                Event::Executed {
                    settlement,
                    host,
                    requests,
                } => self.executed(settlement, host, requests),
                Event::Coalesced { wave } => self.ripe = self.ripe || wave == self.wave,
                Event::ParkedTooLong => self.release_parked(),
                Event::Said => self.saying = self.saying.saturating_sub(1),
            }
            self.settle_when_ripe();
        }
        self.ring_left_over().await;
        Ok(self.report)
    }

    fn is_busy(&self) -> bool {
        self.turning
            || self.running > 0
            || self.saying > 0
            || self.loading != (0, 0)
            || !self.finished.is_empty()
            || !self.parked.is_empty()
    }

    fn settle_when_ripe(&mut self) {
        if self.turning || self.finished.is_empty() {
            return;
        }
        if self.ripe || self.running == 0 {
            self.start_turn();
        } else if !self.coalescing {
            self.coalescing = true;
            let wave = self.wave;
            self.after(COALESCE, Event::Coalesced { wave });
        }
    }

    fn start_turn(&mut self) {
        self.turning = true;
        self.ripe = false;
        self.coalescing = false;
        self.wave = self.wave.wrapping_add(1);
        self.report.turns = self.report.turns.saturating_add(1);
        self.budget.spend(1);
        let room = self.room();
        let settlements = std::mem::take(&mut self.finished);
        let (engine, unseen) = (self.engine, self.unseen.clone());
        self.events.push(
            async move {
                let (turn, answer) = engine.settle_and_claim(unseen, &settlements, room).await;
                Event::Turned {
                    turn,
                    settlements,
                    answer,
                }
            }
            .boxed_local(),
        );
    }

    /// Nothing while a turn's answer is missing: what it may have claimed comes first, and a turn that fails for what it
    /// claims still settles.
    fn room(&self) -> Room {
        let longest_timeout_ms = self.budget.longest_timeout_ms(self.now());
        if longest_timeout_ms == 0 || !self.unseen.is_empty() {
            return Room::default();
        }
        Room {
            lanes: self.budget.free_lanes().saturating_sub(self.loading.0),
            places: self.budget.free_places().saturating_sub(self.loading.1),
            longest_timeout_ms,
        }
    }

    fn turned(
        &mut self,
        turn: ClaimId,
        settlements: Vec<Settlement>,
        answer: Result<TurnAnswer, Error>,
    ) -> Result<(), Error> {
        self.turning = false;
        match answer {
            Ok(answer) => {
                self.unseen.clear();
                self.take_up(answer);
                Ok(())
            }
            Err(error) => {
                self.unseen.push(turn);
                self.finished.extend(settlements);
                self.fruitless = self.fruitless.saturating_add(1);
                // What has been executed is worth waiting for the database as long as there is time. A first claim
                // that fails is not: the queue brings its doorbell again.
                let has_work =
                    self.running > 0 || self.loading != (0, 0) || !self.finished.is_empty() || !self.parked.is_empty();
                let has_time = self.budget.may_settle(self.now());
                if !has_time || (!has_work && self.fruitless >= FRUITLESS_TURNS) {
                    return Err(error);
                }
                tracing::warn!(%error, "a turn failed and will be repeated");
                self.turning = true;
                self.after(TURN_AGAIN, Event::TurnAgain);
                Ok(())
            }
        }
    }

    /// Starts what was claimed and tells others what they should know.
    fn take_up(&mut self, answer: TurnAnswer) {
        let TurnAnswer {
            claimed,
            inputs,
            owners,
            to_ring,
            more_due,
            news,
        } = answer;
        let claimed: Vec<_> = claimed
            .into_iter()
            .filter(|step| self.known.insert((step.step_id, step.claim_no)))
            .collect();
        self.tell_news(news);
        let fruitful = !claimed.is_empty();
        self.ring_for_unclaimed(&to_ring, &more_due, fruitful);

        let now = self.now();
        let inputs: BTreeMap<RunId, Value> = inputs
            .into_iter()
            .filter_map(|(run, input)| Some((run, serde_json::from_str(input.get()).ok()?)))
            .collect();
        let sealer = self.engine.services.sealer.as_ref();
        let owners: BTreeMap<TenantId, Opened> = owners
            .into_iter()
            .map(|(tenant, row)| (tenant, owners::open(row, sealer)))
            .collect();
        let mut waiting = Vec::new();
        for step in claimed {
            let owner = owners.get(&step.tenant_id).cloned().unwrap_or_default();
            let start_by = start_by(&step, now);
            if step.refs.values().any(|referenced| referenced.archived.is_some()) {
                waiting.push((step, owner, start_by));
            } else {
                let input = inputs.get(&step.run_id);
                self.prepare(step, owner, start_by, input, &Loaded::new());
            }
        }
        if !waiting.is_empty() {
            self.load(waiting, inputs);
        }

        // Others were faster with what this turn had chosen, or it was too much for one answer, and there is more. Nobody
        // may be coming for it: the doorbells that rang for it may have been answered.
        self.fruitless = if fruitful || more_due.is_empty() {
            0
        } else {
            self.fruitless.saturating_add(1)
        };
        let room = self.room();
        if more_due.iter().any(|due| due.fits(room)) && self.fruitless <= FRUITLESS_TURNS {
            self.start_turn();
        }
        self.left_over = more_due.into_iter().map(|due| due.step_id).collect();
    }

    /// Starts a step, or settles it if there is nothing to execute.
    fn prepare(
        &mut self,
        mut step: Claimed,
        opened: Opened,
        start_by: Timestamp,
        input: Option<&Value>,
        loaded: &Loaded,
    ) {
        let Opened { owner, secrets } = opened;
        match self.engine.prepare(&mut step, input, &secrets, loaded) {
            Prepared::Settled(outcome) => self.finished.push(Settlement::of(&step, *outcome)),
            Prepared::Ready { params, host } => {
                let held = Held {
                    step,
                    params,
                    owner,
                    start_by,
                };
                self.start_or_park(held, host);
            }
        }
    }

    /// Reads what these steps refer to from the archive.
    fn load(&mut self, waiting: Vec<(Claimed, Opened, Timestamp)>, inputs: BTreeMap<RunId, Value>) {
        let wanted: Vec<_> = waiting
            .iter()
            .flat_map(|(step, ..)| step.refs.values().filter_map(|referenced| referenced.archived.clone()))
            .collect();
        let (outside, pure) = kinds(&waiting);
        self.loading = (
            self.loading.0.saturating_add(outside),
            self.loading.1.saturating_add(pure),
        );
        self.budget.spend(u32::try_from(wanted.len()).unwrap_or(u32::MAX));
        let engine = self.engine;
        let loading = async move {
            let loaded = engine.load(wanted).await;
            Event::Loaded {
                waiting,
                inputs,
                loaded,
            }
        };
        self.events.push(loading.boxed_local());
    }

    fn loaded(&mut self, waiting: Vec<(Claimed, Opened, Timestamp)>, inputs: &BTreeMap<RunId, Value>, loaded: &Loaded) {
        let (outside, pure) = kinds(&waiting);
        self.loading = (
            self.loading.0.saturating_sub(outside),
            self.loading.1.saturating_sub(pure),
        );
        for (step, owner, start_by) in waiting {
            let input = inputs.get(&step.run_id);
            self.prepare(step, owner, start_by, input, loaded);
        }
    }

    fn start_or_park(&mut self, held: Held, host: Option<String>) {
        match host {
            None => {
                self.budget.take_place();
                self.start(held, None);
            }
            Some(host) if self.budget.take_lane(&host) => self.start(held, Some(host)),
            Some(host) => {
                let since = self.now();
                self.parked.push(Parked {
                    step: held,
                    host,
                    since,
                });
                self.budget.set_parked(self.parked.len());
                self.after(PARK, Event::ParkedTooLong);
            }
        }
    }

    fn start(&mut self, held: Held, host: Option<String>) {
        let Held {
            step,
            params,
            owner,
            start_by,
        } = held;
        let engine = self.engine;
        let in_time = self.now() <= start_by;
        self.running = self.running.saturating_add(1);
        self.report.executed = self.report.executed.saturating_add(u32::from(in_time));
        let execution = async move {
            // An execution that outlives its lease could run beside another one of the same step.
            let (settlement, requests) = if in_time {
                let outcome = engine.execute(&step, &params, &owner).await;
                let requests = outcome.usage.requests;
                (Settlement::of(&step, outcome), requests)
            } else {
                (Settlement::release(&step, Duration::ZERO), 0)
            };
            Event::Executed {
                settlement,
                host,
                requests,
            }
        };
        self.events.push(execution.boxed_local());
    }

    fn executed(&mut self, settlement: Settlement, host: Option<String>, requests: u32) {
        self.finished.push(settlement);
        // The lane has paid for the first one.
        self.budget.spend(requests.saturating_sub(1));
        self.running = self.running.saturating_sub(1);
        let Some(host) = host else {
            self.budget.give_place();
            return;
        };
        self.budget.give_lane(&host);
        if let Some(next) = self.parked.iter().position(|parked| parked.host == host) {
            let Parked { step, host, .. } = self.parked.remove(next);
            self.budget.set_parked(self.parked.len());
            self.start_or_park(step, Some(host));
        }
    }

    /// Gives up what has waited for a lane for too long: its host is slow, and others need the lanes.
    fn release_parked(&mut self) {
        let now = self.now();
        let (late, waiting): (Vec<_>, Vec<_>) = std::mem::take(&mut self.parked)
            .into_iter()
            .partition(|parked| elapsed(parked.since, now) >= PARK);
        self.parked = waiting;
        self.budget.set_parked(self.parked.len());
        self.finished.extend(
            late.iter()
                .map(|parked| Settlement::release(&parked.step.step, RELEASED_AGAIN)),
        );
    }

    /// Tells whoever watches a run that its history has grown. Lost news are found by reading.
    fn tell_news(&mut self, news: Vec<News>) {
        let ended = news.iter().filter(|news| news.has_ended()).count();
        self.report.runs_ended = self
            .report
            .runs_ended
            .saturating_add(u32::try_from(ended).unwrap_or(u32::MAX));
        if !news.is_empty() {
            let engine = self.engine;
            self.say(async move { engine.publish(&news).await }.boxed_local());
        }
    }

    /// Rings for what became due and was not claimed, and passes on doorbells that came here with others.
    /// A turn that came to nothing passes none on: they are still to be answered here.
    fn ring_for_unclaimed(&mut self, to_ring: &[ToRing], more_due: &[MoreDue], fruitful: bool) {
        let (now, later): (Vec<&ToRing>, Vec<&ToRing>) = to_ring.iter().partition(|step| step.delay_ms == 0);
        let spare = if fruitful {
            std::mem::take(&mut self.doorbells)
        } else {
            0
        };
        let jobs = later
            .into_iter()
            .map(|step| Job {
                step_id: step.step_id,
                delay_s: whole_seconds(step.delay_ms),
            })
            .chain(doorbells(now.iter().map(|step| step.step_id)))
            .chain(doorbells(more_due.iter().map(|due| due.step_id)).take(spare))
            .collect();
        self.ring(jobs);
    }

    fn ring(&mut self, jobs: Vec<Job>) {
        if !jobs.is_empty() {
            self.count_rung(&jobs);
            self.say(self.engine.ring(jobs));
        }
    }

    fn count_rung(&mut self, jobs: &[Job]) {
        let rung = u32::try_from(jobs.len()).unwrap_or(u32::MAX);
        self.report.rung = self.report.rung.saturating_add(rung);
    }

    fn say(&mut self, saying: LocalBoxFuture<'a, ()>) {
        self.budget.spend(1);
        self.saying = self.saying.saturating_add(1);
        self.events.push(saying.map(|()| Event::Said).boxed_local());
    }

    /// The budget is spent and something is due: somebody else should come.
    async fn ring_left_over(&mut self) {
        let jobs: Vec<_> = doorbells(std::mem::take(&mut self.left_over)).collect();
        if !jobs.is_empty() {
            self.count_rung(&jobs);
            self.engine.ring(jobs).await;
        }
    }

    fn after(&mut self, wait: Duration, event: Event) {
        self.events
            .push(self.engine.platform.clock.sleep(wait).map(|()| event).boxed_local());
    }

    fn now(&self) -> Timestamp {
        self.engine.platform.clock.now()
    }
}

/// One doorbell for as many steps as an invocation carries.
fn doorbells(steps: impl IntoIterator<Item = StepId>) -> impl Iterator<Item = Job> {
    steps
        .into_iter()
        .step_by(STEPS_PER_DOORBELL)
        .map(|step_id| Job { step_id, delay_s: 0 })
}

/// The queue holds messages back by whole seconds; one that comes too early claims nothing.
fn whole_seconds(ms: u64) -> u32 {
    u32::try_from(ms.div_ceil(1_000)).unwrap_or(u32::MAX)
}

/// How many of these steps go outside, and how many do not.
fn kinds(steps: &[(Claimed, Opened, Timestamp)]) -> (usize, usize) {
    let outside = steps.iter().filter(|(step, ..)| step.outside).count();
    (outside, steps.len().saturating_sub(outside))
}

fn start_by(step: &Claimed, answered: Timestamp) -> Timestamp {
    let lease = Duration::from_millis(u64::try_from(step.lease_ms).unwrap_or(0));
    let needed = Duration::from_millis(step.timeout_ms.into()).saturating_add(LEASE_MARGIN);
    lease
        .checked_sub(needed)
        .and_then(|slack| answered.checked_add(slack).ok())
        .unwrap_or(Timestamp::MIN)
}

fn elapsed(since: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(since.duration_until(now)).unwrap_or_default()
}
