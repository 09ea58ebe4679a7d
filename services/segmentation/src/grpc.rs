//! gRPC in: parse, one call of a use case, answer.

mod freezes;
mod parse;
pub mod peers;
mod queries;
mod segments;
mod watch;

pub use freezes::Freezes;
pub use queries::Queries;
pub use segments::Segments;
pub use watch::Watch;

use proto::segmentation::v1::{PartitionOffset, Watermark};

fn watermark(watermark: &crate::freeze::Watermark) -> Watermark {
    let offset = |(topic, partition, next_offset): &(String, i32, i64)| PartitionOffset {
        topic: topic.clone(),
        partition: *partition,
        next_offset: *next_offset,
    };
    Watermark { offsets: watermark.iter().map(offset).collect() }
}
