//! Requests that no HTTP client would make, byte by byte.

use std::time::Duration;

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// An answer as it came.
#[derive(Debug)]
pub struct RawReply {
    /// The status; `None` if the connection was closed without an answer.
    pub status: Option<u16>,
    /// The head, in lower case.
    pub head: String,
    /// The body, if it is JSON.
    pub json: Option<Value>,
}

/// Sends these bytes on a connection of their own, closes the sending side, and reads all that comes back. `url` is a
/// base URL such as `http://127.0.0.1:8787`.
pub async fn raw(url: &str, bytes: &[u8]) -> RawReply {
    let exchange = async {
        let address = url
            .strip_prefix("http://")
            .expect("the Worker's URL begins with http://");
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(bytes).await?;
        stream.shutdown().await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    // A connection that is reset is an answer too: none.
    let answer = tokio::time::timeout(Duration::from_secs(20), exchange).await;
    let answer = answer.unwrap_or_else(|_| panic!("no end of the answer to {:?}", String::from_utf8_lossy(bytes)));
    let answer = String::from_utf8_lossy(&answer.unwrap_or_default()).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let head = head.to_lowercase();
    let status = head
        .strip_prefix("http/1.1 ")
        .and_then(|rest| rest.get(..3))
        .and_then(|code| code.parse().ok());
    let body = if head.contains("transfer-encoding: chunked") {
        unchunked(body)
    } else {
        body.to_owned()
    };
    RawReply {
        status,
        json: serde_json::from_str(&body).ok(),
        head,
    }
}

fn unchunked(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
        let Some(piece) = rest.get(..size).filter(|piece| !piece.is_empty()) else {
            break;
        };
        whole.push_str(piece);
        body = rest.get(size + 2..).unwrap_or_default();
    }
    whole
}
