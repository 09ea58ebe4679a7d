use super::App;
use crate::{
    Error,
    entitlement::{Facts, Rights, Subject},
    rsc::Prefix,
    store::{self, SerialGap, VersionGap},
    stream_name::StreamName,
};

/// What never came.
#[derive(Debug, Clone, Default)]
pub struct Gaps {
    /// Serials of sources, on the first page only.
    pub serials: Vec<SerialGap>,
    /// Versions of documents that the reader may see.
    pub versions: Vec<VersionGap>,
    /// Handle behind which the next page begins.
    pub next: Option<i64>,
}

impl App {
    /// A page of what never came. Serials say nothing of a code, so they are for those who may see a table of every code.
    pub async fn list_gaps(
        &self,
        rights: &Rights,
        stream: StreamName,
        prefixes: &[Prefix],
        after: i64,
        limit: i64,
    ) -> Result<Gaps, Error> {
        let feed_flag = stream.feed_flag();
        let stream_id = self.hub(stream).stream_id();
        let sees_serials = "DT_CODES".parse().is_ok_and(|document_type| {
            let facts = Facts::plain(self.clock.now());
            rights.permit(&Subject { code: "", document_type, status: None, feed_flag, facts: &facts })
        });
        let serials = if after == 0 && sees_serials {
            store::list_serial_gaps(&self.db, stream_id).await?
        } else {
            Vec::new()
        };
        let (mut versions, next) =
            store::list_version_gaps(&self.db, stream_id, prefixes, after, limit).await?;
        versions.retain(|gap| {
            let (code, document_type, status) =
                (gap.key.document_code.as_str(), gap.document_type, gap.status);
            rights.permit(&Subject { code, document_type, status, feed_flag, facts: &gap.facts })
        });
        Ok(Gaps { serials, versions, next })
    }
}
