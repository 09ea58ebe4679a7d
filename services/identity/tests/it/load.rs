//! Refreshes, redemptions and sign-outs that go on while something breaks, and what must be true of them afterwards.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use domain::TimeDelta;
use futures::future::join_all;
use reqwest::StatusCode;
use uuid::Uuid;

use crate::{
    browser::Person,
    process::catch_up,
    world::{ALICE, Answer, BOB, DEADLINE, Instance, World},
};

/// Sessions that do each of the three things.
const EACH: usize = 4;
/// So many refreshes lie between two beginnings of the others.
const PACE: usize = 6;
/// How long a client waits before it asks again.
const AGAIN: Duration = Duration::from_millis(20);
/// What is taken back anywhere is known everywhere after this.
const SOON: Duration = Duration::from_secs(1);

/// A person's session, in which there are tokens of the portal.
struct Visit {
    session_id: Uuid,
    cookies: String,
    portal: Answer,
    /// Of the shop, and not redeemed yet.
    code: String,
}

pub struct Load<'w> {
    world: &'w World,
    instances: Vec<Instance>,
    one_may_die: bool,
    refreshing: Vec<Visit>,
    /// With what the shop got before.
    leaving: Vec<(Visit, Answer)>,
    redeeming: Vec<Visit>,
    refreshes: Cell<usize>,
    over: Cell<bool>,
}

/// What clients hold in the end.
pub struct Held {
    refresh_tokens: Vec<String>,
    /// Nothing where the code was refused as shown twice.
    redeemed: Vec<Option<Answer>>,
}

async fn visit(world: &World, person: Person) -> Visit {
    catch_up(world);
    let (mut browser, _) = world.sign_in(person).await;
    // Without offline_access, so that a sign-out has families to revoke.
    let code = world.code(&mut browser, "portal", "openid").await;
    let portal = world.redeem("portal", &code).await;
    let id = world.read(portal.text("id_token"), "JWT", "portal").await;
    let session_id = id["sid"].as_str().unwrap().parse().unwrap();
    let code = world.code(&mut browser, "shop", "openid").await;
    let cookies: Vec<String> =
        browser.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
    Visit { session_id, cookies: cookies.join("; "), portal, code }
}

impl<'w> Load<'w> {
    /// After so many refreshes half of the redemptions and sign-outs have begun.
    pub const HALF: usize = PACE * EACH / 2;

    /// Alice and Bob sign up and in, at the world's own instance. The last one of `instances` is there at the end; the others
    /// may be gone where `one_may_die`.
    pub async fn prepare(world: &'w World, instances: Vec<Instance>, one_may_die: bool) -> Self {
        let (mut refreshing, mut leaving, mut redeeming) = (Vec::new(), Vec::new(), Vec::new());
        for n in 0..EACH {
            let person = if n % 2 == 0 { ALICE } else { BOB };
            refreshing.push(visit(world, person).await);
            let leaves = visit(world, person).await;
            let shop = world.redeem("shop", &leaves.code).await;
            leaving.push((leaves, shop));
        }
        // Codes live for a minute.
        for n in 0..EACH {
            redeeming.push(visit(world, if n % 2 == 0 { ALICE } else { BOB }).await);
        }
        let (refreshes, over) = (Cell::new(0), Cell::new(false));
        Self { world, instances, one_may_die, refreshing, leaving, redeeming, refreshes, over }
    }

    /// When there were so many refreshes in all.
    pub async fn reaches(&self, refreshes: usize) {
        testkit::eventually(2 * DEADLINE, || async { (self.refreshes.get() >= refreshes).then_some(()) })
            .await;
    }

    /// When refreshes go on after what happened.
    pub async fn goes_on(&self) {
        self.reaches(self.refreshes.get() + Self::HALF * 2).await;
    }

    /// Runs until the fault is through and everybody has an answer.
    pub async fn run(&self, fault: impl Future<Output = ()>) -> Held {
        let refreshing =
            join_all(self.refreshing.iter().enumerate().map(|(n, visit)| self.refresh(n, visit)));
        let redeeming = join_all(self.redeeming.iter().enumerate().map(|(n, visit)| self.redeem(n, visit)));
        let leaving =
            join_all(self.leaving.iter().enumerate().map(|(n, (visit, _))| self.sign_out(n, visit)));
        let others = async {
            let (redeemed, _, ()) = tokio::join!(redeeming, leaving, fault);
            self.over.set(true);
            redeemed
        };
        let (refresh_tokens, redeemed) = tokio::join!(refreshing, others);
        Held { refresh_tokens, redeemed }
    }

    async fn refresh(&self, begin: usize, visit: &Visit) -> String {
        let mut token = visit.portal.text("refresh_token").to_owned();
        let mut turn = begin;
        while !self.over.get() {
            let answer =
                self.insist(turn, async |instance: &Instance| instance.refresh("portal", &token).await).await;
            assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
            token = answer.text("refresh_token").to_owned();
            self.refreshes.set(self.refreshes.get() + 1);
            turn += 1;
        }
        token
    }

    async fn redeem(&self, turn: usize, visit: &Visit) -> Option<Answer> {
        self.reaches(turn * PACE).await;
        let tries = Cell::new(0);
        let ask = async |instance: &Instance| {
            tries.set(tries.get() + 1);
            instance.redeem("shop", &visit.code).await
        };
        let answer = self.insist(turn, ask).await;
        if answer.status == StatusCode::OK {
            return Some(answer);
        }
        answer.refused_with(400, "invalid_grant");
        assert!(tries.get() > 1, "a code was refused that was shown once: {}", answer.body);
        None
    }

    async fn sign_out(&self, turn: usize, visit: &Visit) {
        self.reaches(turn * PACE).await;
        let path = format!("/logout?id_token_hint={}", visit.portal.text("id_token"));
        let headers = [("cookie", visit.cookies.as_str())];
        let answer = self.insist(turn, async |instance: &Instance| instance.get(&path, &headers).await).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    }

    /// Asks until one instance answers, beginning with the one whose turn it is. Meanwhile it hears nothing but that the time
    /// is bad, or that nobody is there.
    async fn insist(
        &self,
        mut turn: usize,
        ask: impl AsyncFn(&Instance) -> Result<Answer, reqwest::Error>,
    ) -> Answer {
        let begun = Instant::now();
        loop {
            match ask(&self.instances[turn % self.instances.len()]).await {
                Ok(answer) if answer.status == StatusCode::SERVICE_UNAVAILABLE => {
                    assert!(!answer.header("retry-after").is_empty(), "{}", answer.body);
                }
                Ok(answer) => return answer,
                Err(error) => assert!(self.one_may_die && !error.is_timeout(), "{error:?}"),
            }
            assert!(begun.elapsed() < DEADLINE, "no answer after {:?}", begun.elapsed());
            tokio::time::sleep(AGAIN).await;
            turn += 1;
        }
    }

    /// No token is valid that should not be, no sign-out is lost, nobody is stuck.
    pub async fn check(&self, held: &Held) {
        let survivor = self.instances.last().unwrap();
        for token in &held.refresh_tokens {
            let answer = survivor.refresh("portal", token).await.unwrap();
            assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        }
        for (visit, redeemed) in self.redeeming.iter().zip(&held.redeemed) {
            let live = self.live_families(visit.session_id, "shop").await;
            let Some(tokens) = redeemed else {
                assert_eq!(live, 0, "a code that was shown twice left tokens");
                continue;
            };
            assert_eq!(live, 1);
            assert!(survivor.is_active("shop", tokens.text("access_token")).await);
            let answer = survivor.refresh("shop", tokens.text("refresh_token")).await.unwrap();
            assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        }
        for (visit, shop) in &self.leaving {
            for (client_id, tokens) in [("portal", &visit.portal), ("shop", shop)] {
                let refused = survivor.refresh(client_id, tokens.text("refresh_token")).await.unwrap();
                refused.refused_with(400, "invalid_grant");
            }
            let access = shop.text("access_token");
            testkit::eventually(SOON, || async { (!survivor.is_active("shop", access).await).then_some(()) })
                .await;
        }
        self.check_sessions().await;
        self.check_people(survivor).await;
    }

    // Every sign-out is told, those of a dead process after its lease; and nobody else was signed out.
    async fn check_sessions(&self) {
        let left: Vec<Uuid> = self.leaving.iter().map(|(visit, _)| visit.session_id).collect();
        let stayed = self.refreshing.iter().chain(&self.redeeming);
        let stayed: Vec<Uuid> = stayed.map(|visit| visit.session_id).collect();
        catch_up(self.world);
        self.world.advance(TimeDelta::seconds(61));
        let all = i64::try_from(2 * EACH).unwrap();
        testkit::eventually(DEADLINE, || async {
            let sql = "select count(*), count(*) filter (where state = 'delivered')
                       from identity.logout_delivery
                       where session_id = any($1)";
            let counts: (i64, i64) =
                sqlx::query_as(sql).bind(&left).fetch_one(&self.world.app.pool).await.unwrap();
            assert_eq!(counts.0, all, "each sign-out has its two deliveries");
            (counts.1 == all).then_some(())
        })
        .await;
        for client_id in ["portal", "shop"] {
            assert!(self.world.relying_parties.told(client_id).len() >= EACH, "{client_id}");
        }
        let sql =
            "select count(*) from identity.browser_session where session_id = any($1) and ended_at is null";
        let live: i64 = sqlx::query_scalar(sql).bind(&stayed).fetch_one(&self.world.app.pool).await.unwrap();
        assert_eq!(live, all, "who did not sign out is signed in");
    }

    async fn check_people(&self, survivor: &Instance) {
        for person in [ALICE, BOB] {
            let (_, code) = self.world.sign_in(person).await;
            let tokens = self.world.redeem("portal", &code).await;
            let answer = survivor.refresh("portal", tokens.text("refresh_token")).await.unwrap();
            assert_eq!(answer.status, StatusCode::OK, "{}: {}", person.email, answer.body);
        }
    }

    async fn live_families(&self, session_id: Uuid, client_id: &str) -> i64 {
        sqlx::query_scalar(
            "select count(*) from identity.token_family
             where session_id = $1 and client_id = $2 and revoked_at is null",
        )
        .bind(session_id)
        .bind(client_id)
        .fetch_one(&self.world.app.pool)
        .await
        .unwrap()
    }
}
