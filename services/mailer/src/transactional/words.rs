use domain::Locale;

use super::Template;

/// The words of one template in one language.
pub struct Words {
    pub subject: &'static str,
    pub intro: &'static str,
    pub action: &'static str,
    pub code: &'static str,
    /// `{}` stands for the minutes.
    pub expiry: &'static str,
    pub outro: &'static str,
}

/// The words of a template in a language.
pub const fn of(template: Template, locale: Locale) -> Words {
    match locale {
        Locale::Ja => japanese(template),
        Locale::En => english(template),
        Locale::Fr => french(template),
    }
}

const fn japanese(template: Template) -> Words {
    let (subject, intro, action, outro) = match template {
        Template::VerifyEmail => (
            "メールアドレスの確認",
            "ご登録ありがとうございます。次のリンクを開いて、メールアドレスを確認してください。",
            "メールアドレスを確認する",
            "お心当たりがない場合は、このメールを破棄してください。",
        ),
        Template::AddressTaken => (
            "ご登録済みのメールアドレスです",
            "このメールアドレスで新規登録の申し込みがありましたが、すでにご登録いただいています。次のリンクからサインインできます。",
            "サインインする",
            "お心当たりがない場合は、このメールを破棄してください。ご登録内容は変わっていません。",
        ),
        Template::Recover => (
            "パスワードの再設定",
            "パスワードの再設定を受け付けました。次のリンクから手続きを進めてください。",
            "パスワードを再設定する",
            "お心当たりがない場合は、このメールを破棄してください。パスワードは変わりません。",
        ),
        Template::PasswordChanged => (
            "パスワードが変更されました",
            "パスワードが変更されました。",
            "登録内容を確認する",
            "お心当たりがない場合は、すぐにパスワードを再設定してください。",
        ),
        Template::SignInChanged => (
            "サインイン方法が変更されました",
            "サインイン方法が変更されました。",
            "サインイン方法を確認する",
            "お心当たりがない場合は、すぐにパスワードを再設定し、サインイン方法をご確認ください。",
        ),
    };
    Words { subject, intro, action, code: "確認コード:", expiry: "有効期間は{}分です。", outro }
}

const fn english(template: Template) -> Words {
    let (subject, intro, action, outro) = match template {
        Template::VerifyEmail => (
            "Confirm your e-mail address",
            "Thank you for registering. Open this link to confirm your e-mail address.",
            "Confirm the address",
            "If you did not register, ignore this mail.",
        ),
        Template::AddressTaken => (
            "You are already registered",
            "Somebody tried to register with this e-mail address, which is already yours. You can sign in here.",
            "Sign in",
            "If it was not you, ignore this mail. Nothing has changed.",
        ),
        Template::Recover => (
            "Set a new password",
            "You asked for a new password. Open this link to go on.",
            "Set a new password",
            "If you did not ask for it, ignore this mail. Your password stays as it is.",
        ),
        Template::PasswordChanged => (
            "Your password was changed",
            "Your password was changed.",
            "Look at your account",
            "If it was not you, set a new password at once.",
        ),
        Template::SignInChanged => (
            "Your ways to sign in were changed",
            "Your ways to sign in were changed.",
            "Look at your ways to sign in",
            "If it was not you, set a new password at once, and look at your ways to sign in.",
        ),
    };
    Words { subject, intro, action, code: "Your code:", expiry: "It is valid for {} minutes.", outro }
}

const fn french(template: Template) -> Words {
    let (subject, intro, action, outro) = match template {
        Template::VerifyEmail => (
            "Confirmez votre adresse e-mail",
            "Merci de votre inscription. Ouvrez ce lien pour confirmer votre adresse e-mail.",
            "Confirmer l’adresse",
            "Si vous ne vous êtes pas inscrit, ignorez ce message.",
        ),
        Template::AddressTaken => (
            "Vous êtes déjà inscrit",
            "Une inscription a été demandée avec cette adresse e-mail, qui est déjà la vôtre. Vous pouvez vous connecter ici.",
            "Se connecter",
            "Si ce n’était pas vous, ignorez ce message. Rien n’a changé.",
        ),
        Template::Recover => (
            "Choisissez un nouveau mot de passe",
            "Vous avez demandé un nouveau mot de passe. Ouvrez ce lien pour continuer.",
            "Choisir un nouveau mot de passe",
            "Si vous n’avez rien demandé, ignorez ce message. Votre mot de passe reste le même.",
        ),
        Template::PasswordChanged => (
            "Votre mot de passe a été modifié",
            "Votre mot de passe a été modifié.",
            "Voir votre compte",
            "Si ce n’était pas vous, choisissez aussitôt un nouveau mot de passe.",
        ),
        Template::SignInChanged => (
            "Vos moyens de connexion ont été modifiés",
            "Vos moyens de connexion ont été modifiés.",
            "Voir vos moyens de connexion",
            "Si ce n’était pas vous, choisissez aussitôt un nouveau mot de passe et vérifiez vos moyens de connexion.",
        ),
    };
    Words { subject, intro, action, code: "Votre code :", expiry: "Il est valable {} minutes.", outro }
}
