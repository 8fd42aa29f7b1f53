//! One session with PostgreSQL: signing in, and conversations of messages written at once and read as they come.
//! Must never wait with reading until all is written: a server with much to say would stop listening.

use std::io;
use std::pin::pin;

use bytes::BytesMut;
use fallible_iterator::FallibleIterator;
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{self, ChannelBinding, ScramSha256};
use postgres_protocol::message::backend::{AuthenticationSaslBody, Message};
use postgres_protocol::message::frontend;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::PostgresAddr;
use super::failure::{DatabaseError, Failure};
use super::login::Login;

/// An open session.
#[derive(Debug)]
pub(super) struct Backend {
    stream: TcpStream,
    inbox: BytesMut,
}

impl Backend {
    /// Connects and signs in. Nothing but user, database and encoding is set, as through Neon.
    pub(super) async fn connect(postgres: &PostgresAddr, login: &Login) -> Result<Self, Failure> {
        let stream = TcpStream::connect((postgres.host.as_str(), postgres.port))
            .await
            .map_err(|_| Failure::Away)?;
        stream.set_nodelay(true).map_err(|_| Failure::Away)?;
        let mut backend = Self {
            stream,
            inbox: BytesMut::with_capacity(8192),
        };
        backend.sign_in(login).await.map_err(|failure| match failure {
            Failure::Session(_) => Failure::Away,
            Failure::Database(error) if matches!(error.code.as_str(), "28P01" | "28000") => Failure::Password {
                user: login.user.clone(),
            },
            Failure::Database(error) => Failure::Connect(error),
            other => other,
        })?;
        Ok(backend)
    }

    async fn sign_in(&mut self, login: &Login) -> Result<(), Failure> {
        let mut out = BytesMut::new();
        let settings = [
            ("user", login.user.as_str()),
            ("database", login.database.as_str()),
            ("client_encoding", "UTF8"),
        ];
        frontend::startup_message(settings, &mut out)?;
        let mut scram: Option<ScramSha256> = None;
        loop {
            self.stream.write_all(&out).await?;
            out.clear();
            match self.receive().await? {
                Message::AuthenticationOk => break,
                Message::AuthenticationCleartextPassword => frontend::password_message(&login.password, &mut out)?,
                Message::AuthenticationMd5Password(body) => {
                    let hash = md5_hash(login.user.as_bytes(), &login.password, body.salt());
                    frontend::password_message(hash.as_bytes(), &mut out)?;
                }
                Message::AuthenticationSasl(body) => {
                    let exchange = begin_scram(&body, login)?;
                    frontend::sasl_initial_response(sasl::SCRAM_SHA_256, exchange.message(), &mut out)?;
                    scram = Some(exchange);
                }
                Message::AuthenticationSaslContinue(body) => {
                    let exchange = scram.as_mut().ok_or_else(unexpected)?;
                    exchange.update(body.data())?;
                    frontend::sasl_response(exchange.message(), &mut out)?;
                }
                Message::AuthenticationSaslFinal(body) => {
                    scram.as_mut().ok_or_else(unexpected)?.finish(body.data())?;
                }
                Message::ErrorResponse(body) => return Err(Failure::Database(Box::new(DatabaseError::read(&body)))),
                Message::NoticeResponse(_) => {}
                _ => return Err(unexpected()),
            }
        }
        loop {
            match self.receive().await? {
                Message::ReadyForQuery(_) => return Ok(()),
                Message::ErrorResponse(body) => return Err(Failure::Database(Box::new(DatabaseError::read(&body)))),
                _ => {}
            }
        }
    }

    async fn receive(&mut self) -> io::Result<Message> {
        let (mut reader, _) = self.stream.split();
        loop {
            if let Some(message) = Message::parse(&mut self.inbox)? {
                return Ok(message);
            }
            if reader.read_buf(&mut self.inbox).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Whether the session is open and silent. PostgreSQL says something unasked only to take its leave, or when
    /// its settings changed; a new session is the answer to both.
    pub(super) fn is_quiet(&self) -> bool {
        let unasked = self.stream.try_read(&mut [0; 1]);
        self.inbox.is_empty() && matches!(unasked, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Writes `out` and hands every message that comes to `hear`, until the server has been ready `ready` times.
    /// `hear` sees those messages too.
    ///
    /// # Errors
    /// What `hear` returns, which ends the conversation in the middle; or the session broke. The session is of no
    /// more use after either.
    pub(super) async fn converse(
        &mut self,
        out: &[u8],
        mut ready: usize,
        mut hear: impl FnMut(Message) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let (mut reader, mut writer) = self.stream.split();
        let inbox = &mut self.inbox;
        let mut reading = pin!(async {
            loop {
                while let Some(message) = Message::parse(inbox)? {
                    let is_ready = matches!(message, Message::ReadyForQuery(_));
                    hear(message)?;
                    if is_ready {
                        ready = ready.saturating_sub(1);
                        if ready == 0 {
                            return Ok(());
                        }
                    }
                }
                if reader.read_buf(inbox).await? == 0 {
                    return Err(Failure::from(io::Error::from(io::ErrorKind::UnexpectedEof)));
                }
            }
        });
        let mut writing = pin!(writer.write_all(out));
        tokio::select! {
            heard = &mut reading => return heard,
            // A failed write is no answer yet: the server may have said why before it hung up.
            _ = &mut writing => {}
        }
        reading.await
    }
}

fn begin_scram(body: &AuthenticationSaslBody, login: &Login) -> Result<ScramSha256, Failure> {
    let mut mechanisms = body.mechanisms();
    while let Some(mechanism) = mechanisms.next()? {
        if mechanism == sasl::SCRAM_SHA_256 {
            return Ok(ScramSha256::new(&login.password, ChannelBinding::unsupported()));
        }
    }
    Err(unexpected())
}

fn unexpected() -> Failure {
    Failure::Session("unexpected message from server".to_owned())
}
