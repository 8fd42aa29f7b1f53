//! The tables, as the database's owner sees them: for looking, and for moving time on. Never for what the API can do.

use tokio::sync::Mutex;
use tokio_postgres::{Client, NoTls};

/// The owner's connection, opened when it is needed and again after the server was away.
pub struct Owner {
    url: String,
    client: Mutex<Option<Client>>,
}

impl Owner {
    pub(crate) fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            client: Mutex::new(None),
        }
    }

    /// Executes statements.
    pub async fn execute(&self, sql: &str) {
        let mut client = self.client.lock().await;
        self.opened(&mut client)
            .await
            .batch_execute(sql)
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    /// The only column of every row, as text.
    pub async fn column(&self, sql: &str) -> Vec<String> {
        let mut client = self.client.lock().await;
        let sql = format!("select coalesce(t.v::text, 'null') from ({sql}) as t (v)");
        let rows = self.opened(&mut client).await.query(&sql, &[]).await;
        let rows = rows.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// The only value, as text.
    pub async fn value(&self, sql: &str) -> String {
        let mut values = self.column(sql).await;
        assert_eq!(values.len(), 1, "{sql} gives one row");
        values.remove(0)
    }

    /// The only value, as a number.
    pub async fn number(&self, sql: &str) -> i64 {
        let value = self.value(sql).await;
        value
            .parse()
            .unwrap_or_else(|_| panic!("{sql} gives a number, not {value}"))
    }

    /// How many rows each table has: what a refused request must leave as it was.
    pub async fn rows(&self) -> Vec<String> {
        let tables = [
            "tenants",
            "agents",
            "runs",
            "steps",
            "status_history",
            "effects",
            "outbox",
            "idempotency_keys",
        ];
        let count = |table: &&str| format!("select '{table}: ' || (select count(*) from {table})");
        self.column(&tables.iter().map(count).collect::<Vec<_>>().join(" union all "))
            .await
    }

    async fn opened<'a>(&self, client: &'a mut Option<Client>) -> &'a Client {
        if client.as_ref().is_none_or(Client::is_closed) {
            let (opened, connection) = tokio_postgres::connect(&self.url, NoTls)
                .await
                .expect("the database's owner can connect");
            tokio::spawn(connection);
            *client = Some(opened);
        }
        client.as_ref().expect("it was opened just now")
    }
}
