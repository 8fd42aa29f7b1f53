//! Calendars: where events are written to. A port, because there is no real calendar yet: today an event is an iCalendar
//! file in the archive, read by a signed link. Must never hand a file to somebody without one.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::future::{FutureExt, LocalBoxFuture};
use jiff::Timestamp;

use crate::{
    archive::{self, Archive},
    ids::{StepId, TenantId},
    links::{self, Links, Purpose},
    platform::Clock,
    problem::Problem,
};

/// How long a link is good for.
const LINK_LIFE: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// The longest file; one of a hundred attendees and a long description has about 30 KB.
pub const MAX_FILE_BYTES: usize = 256 * 1024;

/// An event on its way to a calendar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CalendarFile {
    /// Whose it is.
    pub tenant: TenantId,
    /// The step that writes it: written again, it takes the place of what the step wrote before.
    pub step: StepId,
    /// The event as iCalendar (RFC 5545).
    pub ics: String,
}

/// Where a written event is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// Opens it without another credential.
    pub link: String,
    /// When the link ends.
    pub expires_at: Timestamp,
}

/// A calendar that takes events.
pub trait CalendarProvider: Send + Sync {
    /// Writes an event. A repeat changes nothing more.
    ///
    /// # Errors
    /// It is not known to be written.
    fn write(&self, file: CalendarFile) -> LocalBoxFuture<'_, Result<Placed, archive::Error>>;
}

/// Calendar files in the archive.
#[derive(Clone)]
pub struct ArchivedCalendars {
    archive: Archive,
    links: Links,
    clock: Arc<dyn Clock>,
}

impl ArchivedCalendars {
    /// Files in this archive, behind these links.
    pub fn new(archive: Archive, links: Links, clock: Arc<dyn Clock>) -> Self {
        Self { archive, links, clock }
    }

    /// The file that a link opens; `query` is the link's.
    async fn read(&self, step: StepId, query: Option<&str>) -> Result<Bytes, Problem> {
        let tenant = self
            .links
            .open(Purpose::Calendar, &step.to_string(), query, self.clock.now())?;
        match self.archive.get_calendar(tenant, step, MAX_FILE_BYTES).await {
            Ok(ics) => Ok(ics),
            Err(archive::Error::Missing) => Err(Problem::not_found("calendar file")),
            Err(error) => {
                tracing::error!(%error, %step, "a calendar file cannot be read");
                Err(Problem::unavailable("the archive cannot be reached"))
            }
        }
    }
}

impl CalendarProvider for ArchivedCalendars {
    fn write(&self, file: CalendarFile) -> LocalBoxFuture<'_, Result<Placed, archive::Error>> {
        async move {
            let CalendarFile { tenant, step, ics } = file;
            self.archive.put_calendar(tenant, step, ics).await?;
            let now = self.clock.now();
            let expires_at = now.checked_add(LINK_LIFE).unwrap_or(now);
            Ok(Placed {
                link: self
                    .links
                    .link(Purpose::Calendar, tenant, &step.to_string(), expires_at),
                expires_at,
            })
        }
        .boxed_local()
    }
}

/// The file that a link opens. Where no calendar is configured no link is good.
///
/// # Errors
/// 403 `link_invalid` and `link_expired`, 404, 503.
pub async fn read(calendars: Option<&ArchivedCalendars>, step: StepId, query: Option<&str>) -> Result<Bytes, Problem> {
    match calendars {
        Some(calendars) => calendars.read(step, query).await,
        None => Err(links::Error::Invalid.into()),
    }
}
