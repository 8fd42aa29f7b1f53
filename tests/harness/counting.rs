//! What was asked of the database, by who asked and what for.

use aos_dev::counters::Snapshot;

/// Requests to the Neon gateway, by the role that sent them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requests {
    /// What the API asked for, in order, by name.
    pub api: Vec<String>,
    /// Turns of the engine.
    pub turns: usize,
    /// What the engine asked for besides turns, by name: the outbox, the ticks.
    pub others: Vec<String>,
    /// All of them.
    pub total: u64,
}

impl Requests {
    pub(crate) fn of(snapshot: &Snapshot) -> Self {
        let (api, engine): (Vec<_>, Vec<_>) = snapshot
            .requests
            .iter()
            .partition(|request| request.user.as_deref().is_some_and(|user| user.starts_with("aos_api")));
        let (turns, others): (Vec<_>, Vec<_>) = engine.into_iter().partition(|request| request.label == "turn.pick");
        let names = |requests: Vec<&aos_dev::counters::RequestEntry>| {
            requests.into_iter().map(|request| request.label.clone()).collect()
        };
        Self {
            api: names(api),
            turns: turns.len(),
            others: names(others),
            total: snapshot.total,
        }
    }
}
