//! The rows of sealed values: the statements that write, list and delete them, for secrets and settings alike.

use jiff::Timestamp;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::{
    audit::{self, Action, By},
    database::{Database, Transaction},
    integrations::neon::Statement,
    problem::Problem,
    sealing::{Place, Sealer},
};

/// A kind of sealed values.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kind {
    /// Its word in the database, which is also part of the seal.
    pub(crate) word: &'static str,
    /// Values of this kind that a tenant may have.
    pub(crate) most: u32,
    /// How writing them is audited.
    pub(crate) put: Action,
    /// How deleting them is audited.
    pub(crate) delete: Action,
}

/// A row, with the sealed value where it was asked for.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct SealedRow {
    pub(crate) name: String,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
    pub(crate) updated_by: String,
    pub(crate) sealed: Option<String>,
}

#[derive(Serialize)]
struct Sealed<'a> {
    name: &'a str,
    sealed: String,
}

impl Kind {
    /// Writes values in place of earlier ones; none of them where there would be too many.
    ///
    /// # Errors
    /// 500 `internal`: there is no randomness to seal with.
    pub(crate) fn put(
        self,
        transaction: &mut Transaction<'_>,
        database: &Database,
        sealer: &Sealer,
        by: By<'_>,
        values: &[(&str, &SecretString)],
    ) -> Result<(), Problem> {
        let tenant = by.principal.tenant.as_str();
        let mut sealed = Vec::with_capacity(values.len());
        for (name, value) in values {
            let place = Place {
                tenant,
                kind: self.word,
                name,
            };
            sealed.push(Sealed {
                name,
                sealed: sealer.seal(place, value).map_err(|error| {
                    tracing::error!(%error, "a value could not be sealed");
                    Problem::internal()
                })?,
            });
        }
        let statement = Statement::new(include_str!("sql/put.sql"))
            .bind(self.word)
            .bind_json(&sealed)
            .bind(database.now())
            .bind(by.principal.label().to_string())
            .bind(self.most);
        let names: Vec<_> = values.iter().map(|(name, _)| *name).collect();
        transaction.push(audit::bind_done(
            statement,
            database.clock(),
            by,
            self.put,
            names.join(" "),
        ));
        Ok(())
    }

    /// Deletes values that are there. Returns the statement that says how many were audited: one, or none.
    pub(crate) fn delete(
        self,
        transaction: &mut Transaction<'_>,
        database: &Database,
        by: By<'_>,
        names: &[&str],
    ) -> usize {
        let statement = Statement::new(include_str!("sql/delete.sql"))
            .bind(self.word)
            .bind_json(&names);
        transaction.push(audit::bind_done(
            statement,
            database.clock(),
            by,
            self.delete,
            names.join(" "),
        ))
    }

    /// Reads the rows, or the one of this name; sealed values only where they are to be opened.
    pub(crate) fn list(self, transaction: &mut Transaction<'_>, name: Option<&str>, with_values: bool) -> usize {
        transaction.push(
            Statement::new(include_str!("sql/list.sql"))
                .bind(self.word)
                .bind(name)
                .bind(with_values),
        )
    }
}

/// What is missing where nothing can be sealed.
pub(crate) fn not_configured() -> Problem {
    let detail = "this installation has no SEALING_KEY; nothing can be kept in confidence";
    Problem::new(503, "sealing_not_configured", "Not configured", detail)
}
