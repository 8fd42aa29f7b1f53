//! One world per test binary, which its tests share or have to themselves by turns.

use std::{
    panic::{AssertUnwindSafe, resume_unwind},
    sync::OnceLock,
};

use futures::FutureExt;
use tokio::{runtime::Runtime, sync::RwLock};

use crate::world::World;

/// The world of a test binary, brought up by the first test that enters. It goes with the process, which takes its
/// servers along: a static is never dropped.
pub struct Stage {
    workers: usize,
    open: OnceLock<Result<Open, String>>,
}

struct Open {
    /// Lives as long as the world: the gateways' tasks run on it.
    runtime: Runtime,
    world: World,
    turn: RwLock<()>,
}

impl Stage {
    /// A world with this many Workers.
    pub const fn new(workers: usize) -> Self {
        Self {
            workers,
            open: OnceLock::new(),
        }
    }

    /// Runs a test that minds nobody else, beside others that do not either.
    pub fn together(&self, test: impl AsyncFnOnce(&World)) {
        let Open { runtime, world, turn } = self.open();
        runtime.block_on(async {
            let _turn = turn.read().await;
            if let Err(panic) = AssertUnwindSafe(test(world)).catch_unwind().await {
                eprintln!("{}", world.logs());
                resume_unwind(panic);
            }
        });
    }

    /// Runs a test that counts requests, sets faults, stops parts or moves the clock of rows: alone.
    pub fn alone(&self, test: impl AsyncFnOnce(&World)) {
        let Open { runtime, world, turn } = self.open();
        runtime.block_on(async {
            let _turn = turn.write().await;
            world.settle_down().await;
            let outcome = AssertUnwindSafe(test(world)).catch_unwind().await;
            world.clear_faults();
            if let Err(panic) = outcome {
                eprintln!("{}", world.logs());
                // What this test had stopped the next one needs.
                world.mend().await;
                resume_unwind(panic);
            }
        });
    }

    fn open(&self) -> &Open {
        let open = self.open.get_or_init(|| {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build();
            let runtime = runtime.map_err(|error| error.to_string())?;
            let world = runtime
                .block_on(World::start(self.workers))
                .map_err(|error| format!("{error:#}"))?;
            Ok(Open {
                runtime,
                world,
                turn: RwLock::new(()),
            })
        });
        match open {
            Ok(open) => open,
            Err(error) => panic!("the local cloud did not come up: {error}"),
        }
    }
}
