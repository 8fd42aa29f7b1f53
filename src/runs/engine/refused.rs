//! Settling when the database refuses some of the data: the culprit is found and fails, its neighbours do not.

use super::{
    Engine, Error,
    settlement::Settlement,
    turn::{Room, TurnAnswer},
};
use crate::ids::{ClaimId, RunId};

impl Engine {
    /// One turn, or, after the database refused what it should settle, as many as it takes to find the culprit.
    /// Returns the id of the last one: its answer stands for all.
    pub(super) async fn settle_and_claim(
        &self,
        mut unseen: Vec<ClaimId>,
        settlements: &[Settlement],
        room: Room,
    ) -> (ClaimId, Result<TurnAnswer, Error>) {
        let turn = ClaimId::new(&*self.platform.clock);
        match self.turn(turn, &unseen, settlements, room).await {
            Err(error) if error.is_data_error() && !settlements.is_empty() => {
                tracing::warn!(%error, "the database refused what a turn should settle");
                let turn = ClaimId::new(&*self.platform.clock);
                match self.settle_apart(settlements, &mut unseen).await {
                    Ok(()) => (turn, self.turn(turn, &unseen, &[], room).await),
                    Err(error) => (turn, Err(error)),
                }
            }
            answer => (turn, answer),
        }
    }

    /// Settles run by run, then step by step; what is refused alone fails, its neighbours do not. Claims nothing.
    async fn settle_apart(&self, settlements: &[Settlement], unseen: &mut Vec<ClaimId>) -> Result<(), Error> {
        for group in by_run(settlements) {
            if self.was_refused(&group, unseen).await?.is_none() {
                continue;
            }
            for settlement in group {
                if let Some(why) = self.was_refused(std::slice::from_ref(&settlement), unseen).await? {
                    // What is refused even so is left to its lease: its neighbours are not to wait for it.
                    if let Some(why) = self.was_refused(&[settlement.refused(&why)], unseen).await? {
                        tracing::error!(step = %settlement.step_id, why, "a step cannot be settled");
                    }
                }
            }
        }
        Ok(())
    }

    /// Settles a group; why the database refused its data, if it did.
    async fn was_refused(&self, group: &[Settlement], unseen: &mut Vec<ClaimId>) -> Result<Option<String>, Error> {
        match self.turn(self.note_turn(unseen), &[], group, Room::default()).await {
            Ok(_) => Ok(None),
            Err(error) if error.is_data_error() => Ok(Some(error.to_string())),
            Err(error) => Err(error),
        }
    }

    /// A new turn whose answer nobody reads: a later one answers for it.
    fn note_turn(&self, unseen: &mut Vec<ClaimId>) -> ClaimId {
        let turn = ClaimId::new(&*self.platform.clock);
        unseen.push(turn);
        turn
    }
}

fn by_run(settlements: &[Settlement]) -> Vec<Vec<Settlement>> {
    let mut groups: Vec<(RunId, Vec<Settlement>)> = Vec::new();
    for settlement in settlements.iter().cloned() {
        match groups.iter_mut().find(|(run, _)| *run == settlement.run_id) {
            Some((_, group)) => group.push(settlement),
            None => groups.push((settlement.run_id, vec![settlement])),
        }
    }
    groups.into_iter().map(|(_, group)| group).collect()
}
