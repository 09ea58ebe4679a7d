use tonic::{Request, metadata::MetadataValue};

/// Somebody who calls and is traced: what is called is a child of this span, which nobody sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    pub trace_id: String,
    pub span_id: String,
}

impl Caller {
    pub fn new() -> Self {
        let hex = || domain::new_id().simple().to_string();
        // The second half of an id is chance alone.
        Self { trace_id: hex(), span_id: hex().split_off(16) }
    }

    /// As in W3C Trace Context, sampled.
    pub fn traceparent(&self) -> String {
        format!("00-{}-{}-01", self.trace_id, self.span_id)
    }

    /// A gRPC request that says whose it is.
    pub fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let traceparent: MetadataValue<_> = self.traceparent().parse().unwrap();
        request.metadata_mut().insert("traceparent", traceparent);
        request
    }
}
