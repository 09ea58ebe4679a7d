//! What operators do on the command line: `results-feed <verb> ...`.

mod generate;
mod sending;

use std::sync::LazyLock;

use chassis::Verb;

static OWN: [Verb; 1] = [Verb {
    command: generate::command,
    run: |matches, operator| Box::pin(generate::run(matches, operator)),
}];

/// Those of the outbox, then ours, for [`chassis::run`], and for [`chassis::run_all`] beside other services.
pub static VERBS: LazyLock<Vec<Verb>> = LazyLock::new(|| {
    let all = outbox::VERBS.iter().chain(&OWN).map(|verb| Verb { command: verb.command, run: verb.run });
    all.collect()
});
