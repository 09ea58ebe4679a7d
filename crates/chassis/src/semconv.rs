//! Names of span attributes and metrics, in one place: dashboards and alerts are written against them. Attributes follow
//! OpenTelemetry's semantic conventions (HTTP stable; RPC since 1.38, where `rpc.method` is the full method); metrics
//! are the same names in the spelling of Prometheus.

/// Which service of the process a span belongs to; in a process of one service that is `service.name` too.
pub(crate) const SERVICE: &str = "kotinos.service";
pub(crate) const ERROR_TYPE: &str = "error.type";
pub(crate) const RPC_SYSTEM_NAME: &str = "rpc.system.name";
pub(crate) const RPC_METHOD: &str = "rpc.method";
pub(crate) const RPC_RESPONSE_STATUS_CODE: &str = "rpc.response.status_code";
pub(crate) const HTTP_REQUEST_METHOD: &str = "http.request.method";
pub(crate) const HTTP_ROUTE: &str = "http.route";
pub(crate) const HTTP_RESPONSE_STATUS_CODE: &str = "http.response.status_code";

pub(crate) const RPC_SERVER_CALL_DURATION: &str = "rpc_server_call_duration_seconds";
pub(crate) const HTTP_SERVER_REQUEST_DURATION: &str = "http_server_request_duration_seconds";
pub(crate) const REQUESTS_SHED: &str = "kotinos_requests_shed";
pub(crate) const CALLS_LIMIT: &str = "kotinos_calls_limit";
pub(crate) const REQUESTS_OVER_QUOTA: &str = "kotinos_requests_over_quota";
pub(crate) const HANDLER_PANICS: &str = "kotinos_handler_panics";

/// In the place of a method that no policy knows: a label's values must be few, and callers choose paths.
pub(crate) const UNKNOWN_METHOD: &str = "unknown";
/// In the place of a route when none matched.
pub(crate) const UNMATCHED_ROUTE: &str = "unmatched";
/// In the place of an HTTP method that is not one of RFC 9110 or RFC 5789.
pub(crate) const OTHER_HTTP_METHOD: &str = "_OTHER";

/// A gRPC status code as the conventions spell it.
pub(crate) const fn grpc_code(code: tonic::Code) -> &'static str {
    match code {
        tonic::Code::Ok => "OK",
        tonic::Code::Cancelled => "CANCELLED",
        tonic::Code::Unknown => "UNKNOWN",
        tonic::Code::InvalidArgument => "INVALID_ARGUMENT",
        tonic::Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        tonic::Code::NotFound => "NOT_FOUND",
        tonic::Code::AlreadyExists => "ALREADY_EXISTS",
        tonic::Code::PermissionDenied => "PERMISSION_DENIED",
        tonic::Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        tonic::Code::FailedPrecondition => "FAILED_PRECONDITION",
        tonic::Code::Aborted => "ABORTED",
        tonic::Code::OutOfRange => "OUT_OF_RANGE",
        tonic::Code::Unimplemented => "UNIMPLEMENTED",
        tonic::Code::Internal => "INTERNAL",
        tonic::Code::Unavailable => "UNAVAILABLE",
        tonic::Code::DataLoss => "DATA_LOSS",
        tonic::Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

/// Whether an answer with this code is the server's failure. What a caller did wrong is none.
pub(crate) const fn is_failure(code: tonic::Code) -> bool {
    matches!(
        code,
        tonic::Code::Internal
            | tonic::Code::Unavailable
            | tonic::Code::Unknown
            | tonic::Code::DataLoss
            | tonic::Code::DeadlineExceeded
    )
}

/// An HTTP method as a label.
pub(crate) fn http_method(method: &http::Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        "CONNECT" => "CONNECT",
        "TRACE" => "TRACE",
        _ => OTHER_HTTP_METHOD,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // A change here breaks dashboards and alerts: change them together.
    #[test]
    fn names_stay_as_dashboards_know_them() {
        let names = [
            SERVICE,
            ERROR_TYPE,
            RPC_SYSTEM_NAME,
            RPC_METHOD,
            RPC_RESPONSE_STATUS_CODE,
            HTTP_REQUEST_METHOD,
            HTTP_ROUTE,
            HTTP_RESPONSE_STATUS_CODE,
            RPC_SERVER_CALL_DURATION,
            HTTP_SERVER_REQUEST_DURATION,
            REQUESTS_SHED,
            CALLS_LIMIT,
            REQUESTS_OVER_QUOTA,
            HANDLER_PANICS,
        ];
        assert_eq!(
            names.join(" "),
            "kotinos.service error.type rpc.system.name rpc.method rpc.response.status_code http.request.method \
             http.route http.response.status_code rpc_server_call_duration_seconds \
             http_server_request_duration_seconds kotinos_requests_shed kotinos_calls_limit \
             kotinos_requests_over_quota kotinos_handler_panics"
        );
    }

    #[test]
    fn every_grpc_code_has_its_name() {
        let names: Vec<_> = (0..=16).map(|code| grpc_code(tonic::Code::from_i32(code))).collect();
        assert_eq!(names[0], "OK");
        assert_eq!(names[4], "DEADLINE_EXCEEDED");
        assert_eq!(names[16], "UNAUTHENTICATED");
        let failures: Vec<_> = (0..=16).filter(|code| is_failure(tonic::Code::from_i32(*code))).collect();
        assert_eq!(failures, [2, 4, 13, 14, 15]);
    }

    #[test]
    fn a_made_up_http_method_makes_no_label() {
        assert_eq!(http_method(&http::Method::PATCH), "PATCH");
        assert_eq!(http_method(&http::Method::from_bytes(b"BREW").unwrap()), OTHER_HTTP_METHOD);
    }
}
