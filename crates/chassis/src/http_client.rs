use std::time::Duration;

use bytes::{Bytes, BytesMut};

use crate::StartError;

const CONNECT: Duration = Duration::from_secs(2);
const WHOLE: Duration = Duration::from_secs(5);

/// For requests with short answers: no redirects, 5 seconds in all.
pub(crate) fn short() -> Result<reqwest::Client, StartError> {
    Ok(builder().timeout(WHOLE).build()?)
}

/// For long answers: no redirects, no limit of time once connected.
pub(crate) fn streaming() -> Result<reqwest::Client, StartError> {
    Ok(builder().build()?)
}

fn builder() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT)
        .user_agent("kotinos")
        .no_proxy()
}

/// The body of an answer, as long as it has at most `most` bytes.
///
/// # Errors
/// A longer body, or one that breaks off.
pub async fn read_bounded(answer: reqwest::Response, most: usize) -> Result<Bytes, StartError> {
    let mut answer = answer;
    let mut body = BytesMut::new();
    while let Some(chunk) = answer.chunk().await? {
        if body.len() + chunk.len() > most {
            return Err(format!("an answer of more than {most} bytes").into());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}
