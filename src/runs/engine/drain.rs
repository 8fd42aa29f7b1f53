//! The consumer's loop: take a turn, execute what it claimed, take the next turn with what has finished, until nothing
//! is left or the invocation's budget is spent.
//!
//! One turn at a time, executions beside it. What is left over is rung for before the end.

mod starting;
mod telling;

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use futures::{FutureExt, StreamExt, future::LocalBoxFuture, stream::FuturesUnordered};
use jiff::Timestamp;
use serde_json::Value;

use self::starting::{Parked, start_by};
use super::{
    Engine, Error,
    archived::Loaded,
    budget::InvocationBudget,
    owners::{self, Opened},
    settlement::Settlement,
    turn::{Claimed, Room, TurnAnswer},
};
use crate::ids::{ClaimId, RunId, StepId, TenantId};

/// Steps that finish within this time of each other are settled together.
const COALESCE: Duration = Duration::from_millis(25);
/// Turns in a row that come to nothing before the invocation leaves the rest to others.
const FRUITLESS_TURNS: u32 = 3;
/// Requests that a turn takes beyond its first one before it is given up.
const TRIES_OF_A_TURN: u32 = 3;
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
        settlement: Box<Settlement>,
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
                } => self.executed(*settlement, host, requests),
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
                // It was tried several times.
                self.budget.spend(TRIES_OF_A_TURN);
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

    fn after(&mut self, wait: Duration, event: Event) {
        self.events
            .push(self.engine.platform.clock.sleep(wait).map(|()| event).boxed_local());
    }

    fn now(&self) -> Timestamp {
        self.engine.platform.clock.now()
    }
}

fn elapsed(since: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(since.duration_until(now)).unwrap_or_default()
}
