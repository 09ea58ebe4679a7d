//! What the operator of all-in-one asks identity, by the program beside the one that serves.

use anyhow::{Result, ensure};
use domain::Service;
use e2e::{Shape, Suite};

/// A verb, a field of each line that it lists, and how many a journey leaves at least.
const LISTS: [(&str, &str, usize); 3] =
    [("users", "\"user_id\"", 4), ("clients", "\"client_id\"", 8), ("keys", "\"kid\"", 1)];

/// Lists what identity has, and reads the help.
pub async fn are_answered(suite: &Suite) -> Result<()> {
    if suite.shape != Shape::AllInOne {
        return Ok(());
    }
    let all_in_one = Service::AllInOne;
    for (verb, field, least) in LISTS {
        let words = [verb, "list", "--service", "identity", "--operator", "olga", "--json"];
        let said = suite.verb(all_in_one, &words).await?;
        let count = said.lines().filter(|line| line.contains(field)).count();
        ensure!(count >= least, "{verb}: at least {least} are there, {all_in_one} says {said}");
        let help = suite.verb(all_in_one, &[verb, "--help"]).await?;
        let teaches = help.contains("Example: identity ") && help.contains("--service");
        ensure!(teaches, "{verb} is not taught: {help}");
        println!("   {all_in_one} listed {count} {verb} of identity");
    }
    Ok(())
}
