//! Which scopes a token carries.

/// Scopes of OpenID Connect itself: they name claims of userinfo and offline use.
pub const OIDC: [&str; 6] = ["openid", "profile", "email", "address", "phone", "offline_access"];

/// What a fan may let a first-party client do with the fan's own data.
pub const FAN: [&str; 5] =
    ["identity.self", "profile.read", "profile.write", "consent.read", "consent.write"];

/// Whether it is OpenID Connect's.
pub fn is_oidc(scope: &str) -> bool {
    OIDC.contains(&scope)
}

/// Whether only a user who holds it may have it in a token: everything but OpenID Connect's scopes and the fans' at a
/// first-party client. An unknown scope is a staff scope, so that a new one is closed until somebody opens it.
pub fn is_staff(scope: &str, first_party: bool) -> bool {
    !is_oidc(scope) && (!first_party || !FAN.contains(&scope))
}

/// The scopes of a user's token: asked for, registered for the client, and, of staff scopes, held by the user.
pub fn of_user(asked: &[String], registered: &[String], first_party: bool, held: &[String]) -> Vec<String> {
    let granted = |scope: &&String| {
        registered.contains(scope) && (!is_staff(scope, first_party) || first_party && held.contains(scope))
    };
    asked.iter().filter(granted).cloned().collect()
}

/// The scopes of a client's own token: asked for (all, when nothing is) and registered; never those that need a user.
pub fn of_client(asked: Option<&[String]>, registered: &[String]) -> Vec<String> {
    let own = registered.iter().filter(|scope| !is_oidc(scope) && *scope != "identity.self");
    own.filter(|scope| asked.is_none_or(|asked| asked.contains(scope))).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn a_staff_scope_needs_a_user_who_holds_it() {
        let registered = list(&["openid", "profile.read", "segmentation.admin"]);
        let asked = list(&["openid", "profile.read", "segmentation.admin", "mailer.admin"]);
        assert_eq!(of_user(&asked, &registered, true, &[]), ["openid", "profile.read"]);
        let held = list(&["segmentation.admin", "mailer.admin"]);
        assert_eq!(
            of_user(&asked, &registered, true, &held),
            ["openid", "profile.read", "segmentation.admin"]
        );
    }

    #[test]
    fn a_partner_gets_no_reach_into_a_fans_data() {
        let registered = list(&["openid", "email", "profile.read"]);
        assert_eq!(of_user(&registered, &registered, false, &registered), ["openid", "email"]);
    }

    #[test]
    fn a_clients_own_token_has_no_scope_of_a_user() {
        let registered = list(&["openid", "identity.self", "profile.read", "mailer.transactional"]);
        assert_eq!(of_client(None, &registered), ["profile.read", "mailer.transactional"]);
        assert_eq!(of_client(Some(&list(&["profile.read", "openid", "x"])), &registered), ["profile.read"]);
    }
}
