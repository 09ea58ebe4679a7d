//! Descriptors by hand of a service that `/proto` does not have, since prost-types drops the policy.

use prost::Message as _;

pub(crate) use proto::options::v1::Policy as Said;

pub(crate) const SERVICE: &str = "garden.v2.GardenService";

#[derive(prost::Message)]
struct Set {
    #[prost(message, repeated, tag = "1")]
    file: Vec<File>,
}

#[derive(prost::Message)]
struct File {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    package: String,
    #[prost(string, repeated, tag = "3")]
    dependency: Vec<String>,
    #[prost(message, repeated, tag = "6")]
    service: Vec<Service>,
    #[prost(string, tag = "12")]
    syntax: String,
}

#[derive(prost::Message)]
struct Service {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, repeated, tag = "2")]
    method: Vec<Method>,
}

#[derive(prost::Message)]
struct Method {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    input: String,
    #[prost(string, tag = "3")]
    output: String,
    #[prost(message, optional, tag = "4")]
    options: Option<Options>,
    #[prost(bool, tag = "6")]
    server_streaming: bool,
}

#[derive(prost::Message)]
pub(crate) struct Options {
    #[prost(int32, tag = "34")]
    pub(crate) idempotency_level: i32,
    #[prost(message, optional, tag = "50301")]
    pub(crate) policy: Option<Said>,
}

/// A file descriptor set with [`SERVICE`], whose one method `Plant` has these options.
pub(crate) fn set(options: Option<Options>) -> Vec<u8> {
    let message = ".google.protobuf.Timestamp".to_owned();
    let method = Method {
        name: "Plant".to_owned(),
        input: message.clone(),
        output: message,
        options,
        server_streaming: true,
    };
    let file = File {
        name: "planted.proto".to_owned(),
        package: "garden.v2".to_owned(),
        dependency: vec![
            "google/protobuf/timestamp.proto".to_owned(),
            "kotinos/options/v1/options.proto".to_owned(),
        ],
        service: vec![Service { name: "GardenService".to_owned(), method: vec![method] }],
        syntax: "proto3".to_owned(),
    };
    Set { file: vec![file] }.encode_to_vec()
}
