use bytes::{Bytes, BytesMut};
use futures::{StreamExt as _, stream};
use http_body::Frame;
use http_body_util::{BodyExt as _, BodyStream, Full, StreamBody};
use tonic::{Status, body::Body};

/// Larger requests are sent once.
const LARGEST: usize = 1024 * 1024;

/// What a request carries.
pub(super) enum Payload {
    /// All of it, to be sent as often as needed.
    Whole(Bytes),
    /// What can be sent once.
    Once(Option<Body>),
}

impl Payload {
    /// Reads a request of one message.
    pub(super) async fn read(mut body: Body) -> Result<Self, Status> {
        let (mut read, mut size) = (Vec::new(), 0);
        while let Some(frame) = body.frame().await {
            // Requests have no trailers.
            let Ok(part) = frame?.into_data() else { continue };
            size += part.len();
            read.push(part);
            if size > LARGEST {
                let read = stream::iter(read.into_iter().map(|part| Ok(Frame::data(part))));
                let all = read.chain(BodyStream::new(body));
                return Ok(Self::Once(Some(Body::new(StreamBody::new(all)))));
            }
        }
        Ok(Self::Whole(whole(read)))
    }

    pub(super) const fn is_repeatable(&self) -> bool {
        matches!(self, Self::Whole(_))
    }

    /// What the next attempt sends; empty after the only one.
    pub(super) fn body(&mut self) -> Body {
        match self {
            Self::Whole(bytes) => Body::new(Full::new(bytes.clone())),
            Self::Once(body) => body.take().unwrap_or_default(),
        }
    }
}

fn whole(mut parts: Vec<Bytes>) -> Bytes {
    if parts.len() == 1 {
        return parts.remove(0);
    }
    let mut whole = BytesMut::new();
    for part in parts {
        whole.extend_from_slice(&part);
    }
    whole.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(parts: &[usize]) -> Body {
        let frames: Vec<_> =
            parts.iter().map(|size| Ok::<_, Status>(Frame::data(Bytes::from(vec![7; *size])))).collect();
        Body::new(StreamBody::new(stream::iter(frames)))
    }

    async fn sent(payload: &mut Payload) -> usize {
        payload.body().collect().await.unwrap().to_bytes().len()
    }

    #[tokio::test]
    async fn a_small_request_can_be_sent_again() {
        for parts in [&[][..], &[5], &[5, 6], &[LARGEST]] {
            let mut payload = Payload::read(body(parts)).await.unwrap();
            assert!(payload.is_repeatable());
            let size: usize = parts.iter().sum();
            assert_eq!((sent(&mut payload).await, sent(&mut payload).await), (size, size));
        }
    }

    #[tokio::test]
    async fn a_large_request_is_sent_once_and_whole() {
        let mut payload = Payload::read(body(&[LARGEST, 1, 3])).await.unwrap();
        assert!(!payload.is_repeatable());
        assert_eq!((sent(&mut payload).await, sent(&mut payload).await), (LARGEST + 4, 0));
    }
}
