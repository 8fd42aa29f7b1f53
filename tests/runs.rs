//! Runs through the whole system: created over HTTP, rung for through the queue, executed in workerd, kept in PostgreSQL.

#[path = "runs/counts.rs"]
mod counts;
#[path = "runs/endings.rs"]
mod endings;
#[path = "runs/scheduling.rs"]
mod scheduling;

use aos_tests::Stage;

static STAGE: Stage = Stage::new(1);
