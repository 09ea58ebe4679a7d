use domain::EmailAddress;
use tokio::task;
use zeroize::Zeroizing;

use super::App;
use crate::{
    error::Error,
    password::{InvalidPassword, Password},
};

impl App {
    /// Judges a password that somebody chooses for the user of this address: by its rules, and by what is known from
    /// breaches. A list that cannot be read now refuses nobody.
    ///
    /// # Errors
    /// It cannot be judged now.
    pub async fn new_password(
        &self,
        text: &str,
        address: &EmailAddress,
    ) -> Result<Result<Password, InvalidPassword>, Error> {
        let (text, address) = (Zeroizing::new(text.to_owned()), address.clone());
        let breached = self.settings.breached.clone();
        // Guessing at it as an attacker would takes milliseconds, and the list stands in a file.
        let judged = task::spawn_blocking(move || {
            let password = Password::new(&text, address.as_str().unwrap_or_default())?;
            match breached.map(|list| list.has(password.as_str())) {
                Some(Ok(true)) => return Err(InvalidPassword::Breached),
                Some(Err(error)) => {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "breached passwords cannot be read"
                    );
                }
                Some(Ok(false)) | None => {}
            }
            Ok(password)
        });
        // The runtime ends.
        judged.await.map_err(|_| Error::Busy)
    }
}
