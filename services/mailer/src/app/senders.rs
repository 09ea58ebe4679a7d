use super::App;
use crate::{Error, sender::Sender, store};

impl App {
    /// Writes a new sender.
    pub async fn create_sender(&self, sender: &Sender) -> Result<(), Error> {
        store::insert_sender(&self.db, sender, self.now()).await
    }

    /// A sender by its key.
    pub async fn get_sender(&self, key: &str) -> Result<Sender, Error> {
        store::load_sender(&self.db, key).await?.ok_or(Error::NotFound("sender"))
    }
}
