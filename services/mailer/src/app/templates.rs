use aws_lc_rs::digest::{SHA256, digest};
use domain::Uuid;

use super::App;
use crate::{Error, store, template::Source};

impl App {
    /// Makes a template without versions.
    pub async fn create_template(&self, key: &str, name: &str) -> Result<Uuid, Error> {
        let template_id = domain::new_id();
        store::insert_template(&self.db, template_id, key, name, self.now()).await?;
        Ok(template_id)
    }

    /// Saves the next version, after it was compiled and tried. What equals the newest one makes no new one.
    pub async fn save_template_version(
        &self,
        template_id: Uuid,
        source: &Source,
    ) -> Result<(u32, Vec<u8>), Error> {
        source.compile()?;
        let bytes = serde_json::to_vec(source).map_err(|_| Error::Stored { what: "template" })?;
        let sha256 = digest(&SHA256, &bytes).as_ref().to_vec();
        let mut tx = chassis::begin(&self.db).await?;
        if !store::template_exists(&mut tx, template_id).await? {
            return Err(Error::NotFound("template"));
        }
        let newest = store::newest_version(&mut tx, template_id).await?;
        if let Some((version, held)) = &newest
            && *held == sha256
        {
            return Ok((*version, sha256));
        }
        let version = newest.map_or(0, |(version, _)| version) + 1;
        store::insert_version(&mut tx, template_id, version, source, &sha256, self.now()).await?;
        tx.commit().await?;
        Ok((version, sha256))
    }

    /// Lets campaigns use a version; repeats change nothing.
    pub async fn publish_template_version(&self, template_id: Uuid, version: u32) -> Result<(), Error> {
        let stored = store::load_version(&self.db, template_id, version).await?;
        let stored = stored.ok_or(Error::NotFound("template version"))?;
        if !stored.source.has_fallback() {
            return Err(Error::NoFallback);
        }
        store::publish_version(&self.db, template_id, version, self.now()).await
    }
}
