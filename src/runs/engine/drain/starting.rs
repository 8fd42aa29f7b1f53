//! From a claimed step to a running one: archived outputs are read, references filled in, a lane is taken or waited for.
//! Must never start a step that could not end within its lease.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::FutureExt;
use jiff::Timestamp;
use serde_json::Value;

use super::{Drain, Event, elapsed};
use crate::{
    ids::RunId,
    runs::{
        engine::{archived::Loaded, execute::Prepared, owners::Opened, settlement::Settlement, turn::Claimed},
        references::Resolved,
    },
    skills::Outcome,
    tenants::Owner,
};

/// How long a claimed step waits for a lane to its host before somebody else may have it.
const PARK: Duration = Duration::from_secs(3);
/// When a step that was released is due again.
const RELEASED_AGAIN: Duration = Duration::from_secs(2);
/// What must be left of a lease beyond the step's timeout for an execution to begin: the skill's overtime, the archive's
/// time for the output, and a turn to settle it.
const LEASE_MARGIN: Duration = Duration::from_secs(18);

/// A claimed step that waits for a lane to its host.
pub(super) struct Parked {
    step: Held,
    host: String,
    since: Timestamp,
}

/// A claimed step, ready to start.
pub(super) struct Held {
    step: Claimed,
    params: Resolved,
    owner: Arc<Owner>,
    /// Until when it may start, so that it ends and is settled within its lease.
    start_by: Timestamp,
}

impl Drain<'_> {
    /// Starts a step, or settles it if there is nothing to execute.
    pub(super) fn prepare(
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
    pub(super) fn load(&mut self, waiting: Vec<(Claimed, Opened, Timestamp)>, inputs: BTreeMap<RunId, Value>) {
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

    pub(super) fn loaded(
        &mut self,
        waiting: Vec<(Claimed, Opened, Timestamp)>,
        inputs: &BTreeMap<RunId, Value>,
        loaded: &Loaded,
    ) {
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

    pub(super) fn start_or_park(&mut self, held: Held, host: Option<String>) {
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

    pub(super) fn start(&mut self, held: Held, host: Option<String>) {
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
                let requests = requests(&outcome);
                (Settlement::of(&step, outcome), requests)
            } else {
                (Settlement::release(&step, Duration::ZERO), 0)
            };
            Event::Executed {
                settlement: Box::new(settlement),
                host,
                requests,
            }
        };
        self.events.push(execution.boxed_local());
    }

    pub(super) fn executed(&mut self, settlement: Settlement, host: Option<String>, requests: u32) {
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
    pub(super) fn release_parked(&mut self) {
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
}

/// What an execution sent: besides its calls, two requests to a breaker around each, and one to the archive.
fn requests(outcome: &Outcome) -> u32 {
    let calls = u32::try_from(outcome.calls.len()).unwrap_or(u32::MAX);
    outcome
        .usage
        .requests
        .saturating_add(calls.saturating_mul(2))
        .saturating_add(u32::from(outcome.output_ref.is_some()))
}

/// How many of these steps go outside, and how many do not.
fn kinds(steps: &[(Claimed, Opened, Timestamp)]) -> (usize, usize) {
    let outside = steps.iter().filter(|(step, ..)| step.outside).count();
    (outside, steps.len().saturating_sub(outside))
}

pub(super) fn start_by(step: &Claimed, answered: Timestamp) -> Timestamp {
    let lease = Duration::from_millis(u64::try_from(step.lease_ms).unwrap_or(0));
    let needed = Duration::from_millis(step.timeout_ms.into()).saturating_add(LEASE_MARGIN);
    lease
        .checked_sub(needed)
        .and_then(|slack| answered.checked_add(slack).ok())
        .unwrap_or(Timestamp::MIN)
}
