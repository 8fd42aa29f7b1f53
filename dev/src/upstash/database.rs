//! The Redis behind the gateway: one shared connection for commands, one of its own for each transaction and each
//! subscription. Must never send a command twice: after a lost connection nobody knows whether it took effect.

use std::time::Duration;

use redis::aio::{MultiplexedConnection, PubSub};
use redis::{AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ErrorKind, Pipeline, RedisError, RedisResult, Value};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::commands::Command;
use super::reply::error_text;
use super::scripts::Scripts;

const CONNECT_TIME: Duration = Duration::from_secs(2);
/// Longer than any script that a client would wait for.
const REPLY_TIME: Duration = Duration::from_secs(30);

/// Redis is not there, or went away before it answered.
#[derive(Debug, thiserror::Error)]
#[error("the database is away: {0}")]
pub(super) struct Away(#[from] RedisError);

/// What became of a transaction.
#[derive(Debug)]
pub(super) enum Transaction {
    /// Each command's own reply, errors included.
    Executed(Vec<Value>),
    /// Nothing was executed; the first reason.
    Discarded(String),
}

#[derive(Debug)]
pub(super) struct Database {
    client: Client,
    shared: Mutex<Option<Link>>,
    scripts: Scripts,
}

/// A connection and the task that moves its bytes. The task ends as soon as Redis closes the connection, so that a
/// dead one is seen before it is used, and not by a command that fails.
#[derive(Debug)]
struct Link {
    connection: MultiplexedConnection,
    driver: JoinHandle<()>,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Database {
    pub(super) fn new(address: &str) -> RedisResult<Self> {
        Ok(Self {
            client: Client::open(address)?,
            shared: Mutex::new(None),
            scripts: Scripts::default(),
        })
    }

    /// Runs the commands in order on the shared connection and returns a reply for each, errors included.
    pub(super) async fn run(&self, commands: &[Command]) -> Result<Vec<Value>, Away> {
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        let mut connection = self.shared().await?;
        let mut pipeline = Pipeline::with_capacity(commands.len());
        for command in commands {
            pipeline.add_command(self.packed(command));
        }
        let replies = connection.send_packed_commands(&pipeline, 0, commands.len()).await?;
        Ok(for_client(commands, replies))
    }

    /// Runs the commands between MULTI and EXEC on a connection of their own.
    pub(super) async fn run_atomically(&self, commands: &[Command]) -> Result<Transaction, Away> {
        let link = self.connect().await?;
        let mut pipeline = Pipeline::with_capacity(commands.len() + 2);
        pipeline.add_command(redis::cmd("MULTI"));
        for command in commands {
            pipeline.add_command(self.packed(command));
        }
        pipeline.add_command(redis::cmd("EXEC"));
        let mut replies = link
            .connection
            .clone()
            .send_packed_commands(&pipeline, 0, commands.len() + 2)
            .await?;
        match replies.pop() {
            Some(Value::Array(results)) => Ok(Transaction::Executed(for_client(commands, results))),
            Some(Value::ServerError(aborted)) => {
                let first = replies.iter().find_map(|reply| match reply {
                    Value::ServerError(error) => Some(error_text(error)),
                    _ => None,
                });
                Ok(Transaction::Discarded(first.unwrap_or_else(|| error_text(&aborted))))
            }
            other => Err(Away(RedisError::from((
                ErrorKind::UnexpectedReturnType,
                "EXEC answered neither an array nor an error",
                format!("{other:?}"),
            )))),
        }
    }

    /// A connection for subscribing.
    pub(super) async fn subscriber(&self) -> Result<PubSub, Away> {
        Ok(timeout(CONNECT_TIME, self.client.get_async_pubsub())
            .await
            .map_err(too_slow)??)
    }

    fn packed(&self, command: &Command) -> Cmd {
        let mut packed = Cmd::new();
        for part in self.scripts.to_redis(command.clone()).parts() {
            packed.arg(part.as_slice());
        }
        packed
    }

    async fn shared(&self) -> RedisResult<MultiplexedConnection> {
        let mut shared = self.shared.lock().await;
        if let Some(link) = shared.as_ref().filter(|link| !link.driver.is_finished()) {
            return Ok(link.connection.clone());
        }
        let link = self.connect().await?;
        let connection = link.connection.clone();
        *shared = Some(link);
        Ok(connection)
    }

    async fn connect(&self) -> RedisResult<Link> {
        timeout(CONNECT_TIME, self.connect_in_any_time())
            .await
            .map_err(too_slow)?
    }

    async fn connect_in_any_time(&self) -> RedisResult<Link> {
        match self.client.get_connection_info().addr() {
            ConnectionAddr::Tcp(host, port) => {
                let stream = TcpStream::connect((host.as_str(), *port)).await?;
                stream.set_nodelay(true)?;
                self.link(stream).await
            }
            ConnectionAddr::Unix(path) => self.link(UnixStream::connect(path).await?).await,
            _ => Err(RedisError::from((
                ErrorKind::InvalidClientConfig,
                "only TCP and unix sockets are served",
            ))),
        }
    }

    async fn link<S>(&self, stream: S) -> RedisResult<Link>
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
    {
        let settings = self
            .client
            .get_connection_info()
            .redis_settings()
            .clone()
            .set_skip_set_lib_name();
        let config = AsyncConnectionConfig::new().set_response_timeout(Some(REPLY_TIME));
        let (connection, driver) = MultiplexedConnection::new_with_config(&settings, stream, config).await?;
        Ok(Link {
            connection,
            driver: tokio::spawn(driver),
        })
    }
}

fn for_client(commands: &[Command], replies: Vec<Value>) -> Vec<Value> {
    commands
        .iter()
        .zip(replies)
        .map(|(command, reply)| Scripts::from_redis(command, reply))
        .collect()
}

fn too_slow(_: tokio::time::error::Elapsed) -> RedisError {
    RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut))
}
