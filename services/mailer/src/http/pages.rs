use domain::Locale;

use crate::template::escape;

struct Words {
    title: &'static str,
    question: &'static str,
    button: &'static str,
    done: &'static str,
    unknown: &'static str,
}

const fn words(locale: Locale) -> Words {
    match locale {
        Locale::Ja => Words {
            title: "メール配信の停止",
            question: "このメールマガジンの配信を停止しますか。",
            button: "配信を停止する",
            done: "配信を停止しました。今後、このメールマガジンは届きません。",
            unknown: "このリンクは使えません。メールに記載のリンクをもう一度ご確認ください。",
        },
        Locale::En => Words {
            title: "Unsubscribe",
            question: "Do you want to stop receiving this newsletter?",
            button: "Unsubscribe",
            done: "You are unsubscribed. You will not receive this newsletter any more.",
            unknown: "This link cannot be used. Please check the link in the mail again.",
        },
        Locale::Fr => Words {
            title: "Désabonnement",
            question: "Voulez-vous ne plus recevoir cette lettre d’information ?",
            button: "Me désabonner",
            done: "Vous êtes désabonné. Vous ne recevrez plus cette lettre d’information.",
            unknown: "Ce lien ne peut pas être utilisé. Vérifiez le lien dans le message.",
        },
    }
}

/// Asks before anything happens.
pub fn form(locale: Locale, token: &str) -> String {
    let words = words(locale);
    let token = escape(token);
    let body = format!(
        "<p>{}</p><form method=\"post\" action=\"/u/{token}\"><button type=\"submit\">{}</button></form>",
        words.question, words.button
    );
    layout(locale, &body)
}

/// It has happened.
pub fn done(locale: Locale) -> String {
    layout(locale, &format!("<p role=\"status\">{}</p>", words(locale).done))
}

/// No such link.
pub fn unknown(locale: Locale) -> String {
    layout(locale, &format!("<p>{}</p>", words(locale).unknown))
}

fn layout(locale: Locale, body: &str) -> String {
    let (tag, title) = (locale.tag(), words(locale).title);
    format!(
        "<!DOCTYPE html><html lang=\"{tag}\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>{title}</title>\
         <style>body{{font-family:sans-serif;max-width:36rem;margin:3rem auto;padding:0 1rem;line-height:1.6;\
         color:#1a1a1a;background:#fff}}button{{font:inherit;padding:.6rem 1.2rem;color:#fff;background:#0b4f9c;\
         border:0;border-radius:.3rem}}button:focus{{outline:3px solid #f5a623}}</style></head>\
         <body><main><h1>{title}</h1>{body}</main></body></html>"
    )
}
