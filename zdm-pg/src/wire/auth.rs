//! The login: what the server asks for, and what we answer.
//!
//! <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-START-UP>

use fallible_iterator::FallibleIterator;
use postgres_protocol::authentication::{md5_hash, sasl};
use postgres_protocol::message::backend::{AuthenticationSaslBody, Message};
use postgres_protocol::message::frontend;
use tokio::io::{AsyncRead, AsyncWrite};
use zdm_core::{Error, ErrorKind, Result};

use super::channel::Channel;
use crate::config::{ChannelBinding, PgConfig, Secret};
use crate::error;

/// Answers the server until it lets us in. `end_point` is what SCRAM can be
/// bound to, if the channel is encrypted.
pub(super) async fn login<S: AsyncRead + AsyncWrite + Unpin>(
    channel: &mut Channel<S>,
    config: &PgConfig,
    end_point: Option<&[u8]>,
) -> Result<()> {
    match channel.message().await? {
        Message::AuthenticationOk => return unbound_is_fine(config),
        Message::AuthenticationCleartextPassword => {
            unbound_is_fine(config)?;
            send_password(channel, password(config)?.expose().as_bytes()).await?;
        }
        Message::AuthenticationMd5Password(body) => {
            unbound_is_fine(config)?;
            let password = password(config)?.expose().as_bytes();
            let hash = md5_hash(config.user().as_bytes(), password, body.salt());
            send_password(channel, hash.as_bytes()).await?;
        }
        Message::AuthenticationSasl(body) => scram(channel, config, end_point, &body).await?,
        Message::ErrorResponse(body) => return Err(error::from_fields(body.fields())),
        Message::AuthenticationGss | Message::AuthenticationSspi => return Err(unsupported("GSSAPI")),
        Message::AuthenticationKerberosV5 => return Err(unsupported("Kerberos 5")),
        Message::AuthenticationScmCredential => return Err(unsupported("SCM credentials")),
        _ => return Err(out_of_turn()),
    }
    match channel.message().await? {
        Message::AuthenticationOk => Ok(()),
        Message::ErrorResponse(body) => Err(error::from_fields(body.fields())),
        _ => Err(out_of_turn()),
    }
}

/// SCRAM-SHA-256, bound to the channel where both sides can.
async fn scram<S: AsyncRead + AsyncWrite + Unpin>(
    channel: &mut Channel<S>,
    config: &PgConfig,
    end_point: Option<&[u8]>,
    offer: &AuthenticationSaslBody,
) -> Result<()> {
    let (mut plain, mut plus) = (false, false);
    let mut mechanisms = offer.mechanisms();
    while let Some(mechanism) = mechanisms.next().map_err(error::io)? {
        plain |= mechanism == sasl::SCRAM_SHA_256;
        plus |= mechanism == sasl::SCRAM_SHA_256_PLUS;
    }
    let end_point = end_point.filter(|_| config.channel_binding() != ChannelBinding::Disable);
    let (mechanism, binding) = match end_point {
        Some(hash) if plus => {
            (sasl::SCRAM_SHA_256_PLUS, sasl::ChannelBinding::tls_server_end_point(hash.to_vec()))
        }
        // "y": we could, but you do not offer it. If somebody in between took
        // the offer out, the server notices.
        Some(_) if plain => (sasl::SCRAM_SHA_256, sasl::ChannelBinding::unrequested()),
        None if plain => (sasl::SCRAM_SHA_256, sasl::ChannelBinding::unsupported()),
        _ => return Err(unsupported("a SASL mechanism other than SCRAM-SHA-256")),
    };
    if mechanism != sasl::SCRAM_SHA_256_PLUS {
        unbound_is_fine(config)?;
    }
    let mut scram = sasl::ScramSha256::new(password(config)?.expose().as_bytes(), binding);
    frontend::sasl_initial_response(mechanism, scram.message(), &mut channel.output).map_err(error::io)?;
    channel.send().await?;
    match channel.message().await? {
        Message::AuthenticationSaslContinue(body) => scram.update(body.data()).map_err(broken_scram)?,
        Message::ErrorResponse(body) => return Err(error::from_fields(body.fields())),
        _ => return Err(out_of_turn()),
    }
    frontend::sasl_response(scram.message(), &mut channel.output).map_err(error::io)?;
    channel.send().await?;
    // The server must prove itself *before* it may say that all is well.
    match channel.message().await? {
        Message::AuthenticationSaslFinal(body) => scram.finish(body.data()).map_err(broken_scram),
        Message::ErrorResponse(body) => Err(error::from_fields(body.fields())),
        _ => Err(out_of_turn()),
    }
}

async fn send_password<S: AsyncRead + AsyncWrite + Unpin>(
    channel: &mut Channel<S>,
    password: &[u8],
) -> Result<()> {
    frontend::password_message(password, &mut channel.output).map_err(error::io)?;
    channel.send().await
}

fn password(config: &PgConfig) -> Result<&Secret> {
    config.password().ok_or_else(|| {
        Error::new(
            ErrorKind::Authentication,
            "the server asks for a password and none is known: give one, or put it in ~/.pgpass with mode 0600",
        )
    })
}

fn unbound_is_fine(config: &PgConfig) -> Result<()> {
    match config.channel_binding() {
        ChannelBinding::Require => Err(Error::new(
            ErrorKind::Authentication,
            "channel_binding=require, and the login cannot be bound: it needs tls, SCRAM, and a certificate \
             signed with SHA-256 or SHA-384",
        )),
        ChannelBinding::Disable | ChannelBinding::Prefer => Ok(()),
    }
}

fn unsupported(method: &str) -> Error {
    Error::new(
        ErrorKind::Unsupported,
        format!("the server asks for {method}: allow scram-sha-256 for this user in pg_hba.conf"),
    )
}

fn broken_scram(cause: std::io::Error) -> Error {
    Error::new(ErrorKind::Authentication, "the server did not prove that it knows the password")
        .caused_by(cause)
}

fn out_of_turn() -> Error {
    error::protocol("the server answered the login with a message out of turn")
}
