use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};
use tonic::{Code, Status, body::Body};
use tracing::Span;

/// A peer's answer on its way in. The deadline holds to its end, and its status, which comes last, is noted on the span.
pub(super) struct Answer {
    body: Body,
    time: Option<Pin<Box<Sleep>>>,
    span: Span,
}

impl Answer {
    pub(super) fn new(body: Body, until: Option<Instant>, span: Span) -> Self {
        Self { body, time: until.map(|until| Box::pin(sleep_until(until))), span }
    }

    // Nothing comes after an error.
    fn fail(&mut self, status: Status) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.body = Body::empty();
        self.time = None;
        super::note(&self.span, status.code());
        Poll::Ready(Some(Err(status)))
    }
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        match Pin::new(&mut this.body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(code) = frame.trailers_ref().and_then(code) {
                    super::note(&this.span, code);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(status))) => this.fail(super::retry::lost(status)),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => {
                let is_late = this.time.as_mut().is_some_and(|time| time.as_mut().poll(cx).is_ready());
                if is_late { this.fail(late()) } else { Poll::Pending }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The status in headers or trailers, when it is there.
pub(super) fn code(headers: &HeaderMap) -> Option<Code> {
    headers.get(Status::GRPC_STATUS).map(|code| Code::from_bytes(code.as_bytes()))
}

pub(super) fn late() -> Status {
    Status::deadline_exceeded("the peer did not answer in time")
}
