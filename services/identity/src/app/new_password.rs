use domain::EmailAddress;

use super::App;
use crate::{
    error::Error,
    password::{InvalidPassword, Password},
};

impl App {
    /// Judges a password that somebody chooses for the user of this address.
    ///
    /// # Errors
    /// It cannot be judged now.
    #[expect(clippy::unused_async, reason = "whether it is known from a breach stands in a file")]
    pub async fn new_password(
        &self,
        text: &str,
        address: &EmailAddress,
    ) -> Result<Result<Password, InvalidPassword>, Error> {
        Ok(Password::new(text, address.as_str().unwrap_or_default()))
    }
}
