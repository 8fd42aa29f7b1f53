//! Reading a run that a caller wants to see ended: the answer is held until then, or until the time is up.
//!
//! What Redis says is only a hint to look again; without Redis the database is asked now and then, and the answer is
//! the same.

use std::{
    pin::{Pin, pin},
    time::Duration,
};

use futures::{
    Stream, StreamExt,
    future::{Either, select},
    stream,
};
use jiff::Timestamp;

use super::{
    read::{GetRun, look},
    status::RunStatus,
    view::Run,
};
use crate::{
    auth::Principal,
    database::Database,
    ids::RunId,
    integrations::upstash::{self, Key, Upstash},
    problem::Problem,
};

/// The first pause between two looks while Redis is listened to: messages may be lost.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
/// The first pause without Redis.
const FIRST_PAUSE_ALONE: Duration = Duration::from_millis(250);
/// The longest pause; each is half as long again as the one before.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// `GET /v1/runs/{id}`: one request to the database; with [`GetRun::wait`], one more for each look until the run has
/// ended or the time is up. `news` is where the engine says that a run went on.
///
/// # Errors
/// 404 `not_found`.
pub async fn get(
    database: &Database,
    news: &Upstash,
    principal: &Principal,
    id: RunId,
    query: GetRun,
) -> Result<Run, Problem> {
    let deadline = Deadline {
        database,
        begun: database.clock().now(),
        wait: Duration::from_secs(query.wait.into()),
    };
    if let Some(run) = look(database, principal, id, deadline.left().is_zero()).await? {
        return Ok(run);
    }
    match select(
        pin!(news.subscribe(&Key::run_channel(id))),
        database.clock().sleep(deadline.left()),
    )
    .await
    {
        Either::Left((Ok(messages), _)) => until_ended(&deadline, principal, id, FIRST_PAUSE, messages).await,
        Either::Left((Err(error), _)) => {
            tracing::debug!(%error, "no news of a run can be had; it is looked at again and again");
            until_ended(&deadline, principal, id, FIRST_PAUSE_ALONE, stream::pending()).await
        }
        Either::Right(_) => until_ended(&deadline, principal, id, FIRST_PAUSE_ALONE, stream::pending()).await,
    }
}

/// What the engine says of a run, or why no more can be heard.
type News = Result<String, upstash::Error>;

/// How long the caller still waits.
struct Deadline<'a> {
    database: &'a Database,
    begun: Timestamp,
    wait: Duration,
}

impl Deadline<'_> {
    fn left(&self) -> Duration {
        let waited = self.database.clock().now().duration_since(self.begun);
        self.wait.saturating_sub(Duration::try_from(waited).unwrap_or_default())
    }
}

/// Looks at once, because the run may have ended before the subscription stood, and then whenever there is reason to.
async fn until_ended(
    deadline: &Deadline<'_>,
    principal: &Principal,
    id: RunId,
    first_pause: Duration,
    messages: impl Stream<Item = News>,
) -> Result<Run, Problem> {
    let mut messages = pin!(messages.fuse());
    let mut pause = first_pause;
    loop {
        let left = deadline.left();
        if let Some(run) = look(deadline.database, principal, id, left.is_zero()).await? {
            return Ok(run);
        }
        let sleep = deadline.database.clock().sleep(pause.min(left));
        if let Either::Left(((), _)) = select(pin!(end(messages.as_mut())), sleep).await {
            continue;
        }
        pause = pause
            .saturating_mul(3)
            .checked_div(2)
            .unwrap_or(pause)
            .min(LONGEST_PAUSE);
    }
}

/// Completes when the engine says that the run has ended. Once there will be no more news it never does.
async fn end(mut messages: Pin<&mut impl Stream<Item = News>>) {
    while let Some(message) = messages.next().await {
        match message {
            Ok(text) if says_ended(&text) => return,
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "the news of a run broke off"),
        }
    }
    futures::future::pending().await
}

/// A message is the number of the newest history entry, or `?`, and the run's status after it.
fn says_ended(message: &str) -> bool {
    let status = message.split_once(' ').map(|(_, status)| status.parse::<RunStatus>());
    matches!(status, Some(Ok(status)) if status.has_ended())
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn only_news_of_the_end_is_a_reason_to_look() {
        let ended = |texts: &[&str]| {
            let news: Vec<News> = texts.iter().map(|text| Ok((*text).to_owned())).collect();
            end(pin!(stream::iter(news))).now_or_never().is_some()
        };
        assert!(ended(&["3 running", "7 succeeded"]));
        assert!(ended(&["9 cancelled"]));
        assert!(!ended(&["3 running", "garbage", "4", ""]));
    }
}
