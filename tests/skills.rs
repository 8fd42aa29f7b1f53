//! Skills and what is behind them, in real runs: all ten in one plan, each integration missing in turn, providers on a bad
//! day, outputs too large for a row, secrets, keys.

use aos_tests::Stage;

static STAGE: Stage = Stage::new(1);

#[path = "skills/all.rs"]
mod all;
#[path = "skills/kept.rs"]
mod kept;
#[path = "skills/keys.rs"]
mod keys;
#[path = "skills/sick.rs"]
mod sick;
