//! What an invocation tells others: doorbells for what it leaves over, news for those who watch. Must never ring so often
//! that every doorbell rings two more.

use futures::{FutureExt, future::LocalBoxFuture};

use super::{Drain, Event};
use crate::{
    ids::StepId,
    platform::Job,
    runs::engine::turn::{MoreDue, News, ToRing},
};

/// Outside steps that one invocation carries; a doorbell is rung for each so many that are left over.
const STEPS_PER_DOORBELL: usize = 6;

impl<'a> Drain<'a> {
    /// Tells whoever watches a run that its history has grown. Lost news are found by reading.
    pub(super) fn tell_news(&mut self, news: Vec<News>) {
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
    pub(super) fn ring_for_unclaimed(&mut self, to_ring: &[ToRing], more_due: &[MoreDue], fruitful: bool) {
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

    pub(super) fn ring(&mut self, jobs: Vec<Job>) {
        if !jobs.is_empty() {
            self.count_rung(&jobs);
            self.say(self.engine.ring(jobs));
        }
    }

    pub(super) fn count_rung(&mut self, jobs: &[Job]) {
        let rung = u32::try_from(jobs.len()).unwrap_or(u32::MAX);
        self.report.rung = self.report.rung.saturating_add(rung);
    }

    pub(super) fn say(&mut self, saying: LocalBoxFuture<'a, ()>) {
        self.budget.spend(1);
        self.saying = self.saying.saturating_add(1);
        self.events.push(saying.map(|()| Event::Said).boxed_local());
    }

    /// The budget is spent and something is due: somebody else should come.
    pub(super) async fn ring_left_over(&mut self) {
        let jobs: Vec<_> = doorbells(std::mem::take(&mut self.left_over)).collect();
        if !jobs.is_empty() {
            self.count_rung(&jobs);
            self.engine.ring(jobs).await;
        }
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
