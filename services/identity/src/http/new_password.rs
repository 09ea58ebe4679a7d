use domain::{EmailAddress, Locale};

use super::{page::Failure, sign_in::wrong, visitor::Visitor};
use crate::{
    pages::FieldError,
    params::Params,
    password::{InvalidPassword, Password},
};

/// The new password of a form with the fields `password` and `password_again`, or what is wrong with it.
///
/// # Errors
/// It cannot be judged now.
pub async fn read(
    visitor: &Visitor,
    fields: &Params,
    address: &EmailAddress,
    locale: Locale,
) -> Result<Result<Password, FieldError>, Failure> {
    let text = fields.get("password").unwrap_or_default();
    let judged = visitor.app().new_password(text, address).await?;
    Ok(match judged {
        Ok(_) if fields.get("password_again") != Some(text) => {
            Err(wrong(locale, "password_again", "password_differs"))
        }
        Ok(password) => Ok(password),
        Err(error) => Err(wrong(locale, "password", words(error))),
    })
}

const fn words(error: InvalidPassword) -> &'static str {
    match error {
        InvalidPassword::TooShort => "password_short",
        InvalidPassword::TooLong => "password_long",
        InvalidPassword::TooEasy => "password_easy",
        InvalidPassword::Breached => "password_breached",
    }
}
