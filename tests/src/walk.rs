use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use domain::Service;

use crate::{Fan, Staff, Suite, steps};

/// What Chie, who runs campaigns, may do; the bootstrap file grants it to her address.
const CHIE: (&str, &[&str]) = (
    "chie@staff.example",
    &[
        "segmentation.read",
        "segmentation.write",
        "segmentation.members",
        "mailer.template",
        "mailer.campaign",
        "mailer.send",
        "mailer.report",
        "mailer.admin",
        "crmsync.agreement",
    ],
);
/// What Daniel, who runs operations, may do.
const DANIEL: (&str, &[&str]) = (
    "daniel@staff.example",
    &[
        "identity.support",
        "profile.read",
        "profile.search",
        "consent.read",
        "consent.admin",
        "crmsync.read",
        "crmsync.plan",
        "crmsync.apply",
        "crmsync.ledger",
        "crmsync.admin",
        "crmsync.agreement",
        "results.read",
        "results.admin",
    ],
);

/// One step that was made, with what was seen.
#[derive(Debug, Clone)]
pub struct Step {
    /// 0 for what comes before the first one.
    pub number: u8,
    /// What it shows.
    pub title: &'static str,
    /// A line each.
    pub evidence: Vec<String>,
    /// How long it took.
    pub took: Duration,
}

/// A place in the journey where something is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Step 2: Alice has saved her profile; her consents are to come.
    ProfileSaved,
    /// Step 2: her consents are recorded; other services do not know them yet.
    ConsentsGiven,
    /// Step 3: the segment is made and being filled.
    SegmentCreated,
    /// Step 4: the campaign is scheduled; its mail is on its way.
    CampaignScheduled,
    /// Step 5: the load is applied; its job is on its way.
    LoadApplied,
    /// Step 6: the final is running, a partner and a page follow it.
    RaceOn,
    /// Step 6: the first three are in.
    PodiumIn,
    /// Step 6: the official result is protested against; the decision is to come.
    Protested,
}

/// A service to kill, and when.
#[derive(Debug, Clone, Copy)]
pub struct Interruption {
    /// When.
    pub moment: Moment,
    /// Which.
    pub service: Service,
}

/// Ids that earlier steps found for later ones.
#[derive(Debug, Clone, Default)]
pub struct Ids {
    /// Alice's profile (step 2).
    pub alice: String,
    /// Bob's profile (step 2).
    pub bob: String,
    /// Tokyo's friends of Athletics (step 3).
    pub segment: String,
    /// Template and version (step 4).
    pub template: (String, u32),
    /// The first campaign (step 4).
    pub campaign: String,
    /// The IOC's CRM (step 5).
    pub destination: String,
    /// The trace of Alice's edit (before step 7).
    pub trace: String,
}

/// One fan's whole way through the suite, and those who make it possible.
#[derive(Debug)]
pub struct Walk<'s> {
    /// What is walked through.
    pub suite: &'s Suite,
    /// A fan in Tokyo.
    pub alice: Fan,
    /// A fan in Paris.
    pub bob: Fan,
    /// Runs campaigns.
    pub chie: Staff,
    /// Runs operations.
    pub daniel: Staff,
    /// Found on the way.
    pub ids: Ids,
    interruptions: Vec<Interruption>,
}

impl<'s> Walk<'s> {
    /// Signs up the staff and publishes the notices: what a site does before fans come.
    ///
    /// # Errors
    /// Something is not as expected.
    pub async fn begin(suite: &'s Suite, tell: &mut dyn FnMut(&Step)) -> Result<Self> {
        let started = Instant::now();
        let chie = Staff::sign_up(suite, CHIE.0, CHIE.1).await.context("chie signs up")?;
        let daniel = Staff::sign_up(suite, DANIEL.0, DANIEL.1).await.context("daniel signs up")?;
        let mut evidence = vec![
            format!("{} has {} scopes, user {}", chie.address, CHIE.1.len(), chie.user_id),
            format!("{} has {} scopes, user {}", daniel.address, DANIEL.1.len(), daniel.user_id),
        ];
        let (alice, bob) = (Fan::alice()?, Fan::bob()?);
        let walk = Self { suite, alice, bob, chie, daniel, ids: Ids::default(), interruptions: Vec::new() };
        evidence.push(steps::notices::publish(&walk).await.context("daniel publishes the notices")?);
        tell(&Step {
            number: 0,
            title: "Staff sign up, notices are published",
            evidence,
            took: started.elapsed(),
        });
        Ok(walk)
    }

    /// Kills services on the way, each at its moment, and starts them again.
    #[must_use]
    pub fn interrupted(mut self, interruptions: &[Interruption]) -> Self {
        self.interruptions = interruptions.to_vec();
        self
    }

    /// Whether a mail may have been handed over twice: its sender was killed on the way.
    #[must_use]
    pub fn is_interrupted(&self) -> bool {
        !self.interruptions.is_empty()
    }

    /// Goes all nine steps.
    ///
    /// # Errors
    /// The first thing that is not as expected, with its step.
    pub async fn go(&mut self, tell: &mut dyn FnMut(&Step)) -> Result<()> {
        self.sign_up(tell).await?;
        self.step(2, "Profile and consents", tell, async |walk| steps::profile::go(walk).await).await?;
        self.step(3, "A segment", tell, async |walk| steps::segment::go(walk).await).await?;
        self.step(4, "A campaign", tell, async |walk| steps::campaign::go(walk).await).await?;
        self.step(5, "The IOC's CRM", tell, async |walk| steps::crm::go(walk).await).await?;
        self.step(6, "Live results", tell, async |walk| steps::results::go(walk).await).await?;
        steps::final_state(self).await.context("after step 6")?;
        steps::trace::begin(self).await.context("step 9, which begins before step 7")?;
        self.step(7, "Withdrawal", tell, async |walk| steps::withdrawal::go(walk).await).await?;
        self.step(8, "Sign-out", tell, async |walk| steps::sign_out::go(walk).await).await?;
        self.step(9, "One trace", tell, async |walk| steps::trace::go(walk).await).await
    }

    /// The first step alone: afterwards there are people who can sign in.
    ///
    /// # Errors
    /// Something is not as expected.
    pub async fn sign_up(&mut self, tell: &mut dyn FnMut(&Step)) -> Result<()> {
        self.step(1, "Sign-up and sign-in", tell, async |walk| steps::sign_up::go(walk).await).await
    }

    /// Kills what is to be killed at this moment, and waits until it is ready again.
    pub(crate) async fn at(&self, moment: Moment) -> Result<()> {
        for interruption in self.interruptions.iter().filter(|interruption| interruption.moment == moment) {
            self.suite.kill(interruption.service).await?;
            self.suite.restart(interruption.service).await?;
        }
        Ok(())
    }

    async fn step(
        &mut self,
        number: u8,
        title: &'static str,
        tell: &mut dyn FnMut(&Step),
        go: impl AsyncFnOnce(&mut Self) -> Result<Vec<String>>,
    ) -> Result<()> {
        let started = Instant::now();
        let evidence = go(self).await.with_context(|| format!("step {number}, {title}"))?;
        tell(&Step { number, title, evidence, took: started.elapsed() });
        Ok(())
    }
}
