//! Refresh tokens and codes under interleavings: against a model, and many at once.

use std::collections::BTreeMap;

use domain::{DateTime, TimeDelta, Utc};
use futures::future::join_all;
use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};
use reqwest::StatusCode;

use crate::world::{ALICE, Answer, World};

const GRACE: TimeDelta = TimeDelta::seconds(30);

/// One thing that happens to a grant.
#[derive(Debug, Clone)]
enum Step {
    /// Somebody shows the nth token, counted back from the current one.
    Use(u32),
    /// Several show the current one at once.
    Together(usize),
    /// Time goes on.
    Wait(i64),
    /// The client takes its grant back.
    Revoke,
}

/// What a reader of the README expects: no rows, no SQL.
struct Model {
    current: u32,
    superseded: BTreeMap<u32, DateTime<Utc>>,
    over: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Expected {
    Token(u32),
    Refused,
}

impl Model {
    const fn new() -> Self {
        Self { current: 0, superseded: BTreeMap::new(), over: false }
    }

    fn show(&mut self, n: u32, now: DateTime<Utc>) -> Expected {
        if self.over {
            return Expected::Refused;
        }
        if n == self.current {
            self.superseded.insert(n, now);
            self.current += 1;
            return Expected::Token(self.current);
        }
        // The last four, each for its time.
        let fresh = self.superseded.get(&n).is_some_and(|at| now < *at + GRACE);
        if fresh && n + 4 >= self.current {
            return Expected::Token(self.current);
        }
        self.over = true;
        Expected::Refused
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => Just(Step::Use(0)),
        4 => (1_u32..7).prop_map(Step::Use),
        2 => (2_usize..6).prop_map(Step::Together),
        4 => (1_i64..14).prop_map(Step::Wait),
        1 => (25_i64..40).prop_map(Step::Wait),
        1 => Just(Step::Revoke),
    ];
    prop::collection::vec(step, 4..24)
}

/// A grant at the real service and what the model says of it, side by side.
struct Duel<'w> {
    world: &'w World,
    model: Model,
    tokens: Vec<String>,
}

impl Duel<'_> {
    async fn play(&mut self, step: &Step) {
        match step {
            Step::Use(back) => {
                let Some(n) = self.model.current.checked_sub(*back) else { return };
                let expected = self.model.show(n, self.world.app.clock.now());
                let answer = self.world.refresh("portal", &self.tokens[n as usize]).await;
                self.check(&expected, &answer);
            }
            Step::Together(many) => {
                let n = self.model.current;
                let expected = self.model.show(n, self.world.app.clock.now());
                let token = self.tokens[n as usize].clone();
                for answer in join_all((0..*many).map(|_| self.world.refresh("portal", &token))).await {
                    self.check(&expected, &answer);
                }
            }
            Step::Wait(seconds) => self.world.advance(TimeDelta::seconds(*seconds)),
            Step::Revoke => {
                self.model.over = true;
                let form = [("token", self.tokens[0].as_str()), ("client_id", "portal")];
                assert_eq!(self.world.post("/oauth2/revoke", None, &form).await.status, StatusCode::OK);
            }
        }
    }

    fn check(&mut self, expected: &Expected, answer: &Answer) {
        match expected {
            Expected::Refused => answer.refused_with(400, "invalid_grant"),
            Expected::Token(n) => {
                assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
                let token = answer.text("refresh_token");
                match self.tokens.get(*n as usize) {
                    Some(known) => assert_eq!(known, token, "two successors"),
                    None => self.tokens.push(token.to_owned()),
                }
            }
        }
    }
}

async fn play_games(games: usize) {
    let world = World::start().await;
    let (mut browser, _) = world.sign_up(ALICE).await;
    let mut runner = TestRunner::deterministic();
    for game in 0..games {
        let code = world.code(&mut browser, "portal", crate::clients::PORTAL_SCOPE).await;
        let tokens = world.redeem("portal", &code).await;
        let mut duel = Duel {
            world: &world,
            model: Model::new(),
            tokens: vec![tokens.text("refresh_token").to_owned()],
        };
        let script = steps().new_tree(&mut runner).unwrap().current();
        for (at, step) in script.iter().enumerate() {
            duel.play(step).await;
            // The end of the grant is the end of its access tokens, too.
            if duel.model.over && at + 1 == script.len() {
                let userinfo = world.userinfo(tokens.text("access_token")).await;
                assert_eq!(userinfo.status, StatusCode::UNAUTHORIZED, "game {game}: {script:?}");
            }
        }
    }
}

#[tokio::test]
async fn no_interleaving_differs_from_the_model() {
    play_games(12).await;
}

#[tokio::test]
#[ignore = "minutes of random interleavings: run by make faults"]
async fn no_interleaving_of_many_differs_from_the_model() {
    play_games(600).await;
}

#[tokio::test]
async fn a_hundred_uses_at_two_instances_have_one_successor() {
    let world = World::start().await;
    let there = world.beside().await;
    let (_, first) = world.tokens(ALICE).await;
    let form = [
        ("grant_type", "refresh_token"),
        ("refresh_token", first.text("refresh_token")),
        ("client_id", "portal"),
    ];
    let uses = (0..100).map(|at| {
        let app = if at % 2 == 0 { &world.app } else { &there };
        let request = app.http().post(app.http_url("/oauth2/token")).form(&form);
        async { crate::world::answer(request.send().await.unwrap()).await }
    });
    let answers = join_all(uses).await;
    let successor = answers[0].text("refresh_token").to_owned();
    for answer in &answers {
        assert_eq!((answer.status, answer.text("refresh_token")), (StatusCode::OK, successor.as_str()));
    }
    let seq: i32 =
        sqlx::query_scalar("select seq from identity.token_family").fetch_one(&world.app.pool).await.unwrap();
    assert_eq!(seq, 1);
    // After the grace the first one is in the hands of somebody else, and takes all of them along.
    world.advance(GRACE);
    world.refresh("portal", first.text("refresh_token")).await.refused_with(400, "invalid_grant");
    world.refresh("portal", &successor).await.refused_with(400, "invalid_grant");
}

#[tokio::test]
async fn two_tabs_that_share_a_chain_are_no_theft() {
    let world = World::start().await;
    let (_, first) = world.tokens(ALICE).await;
    let mut tabs = [first.text("refresh_token").to_owned(), first.text("refresh_token").to_owned()];
    for turn in 0..12 {
        let mine = turn % 2;
        let answer = world.refresh("portal", &tabs[mine]).await;
        assert_eq!(answer.status, StatusCode::OK, "turn {turn}: {}", answer.body);
        tabs[mine] = answer.text("refresh_token").to_owned();
        world.advance(TimeDelta::seconds(7));
    }
}

#[tokio::test]
async fn a_code_shown_again_takes_back_what_it_gave_everywhere() {
    let world = World::start().await;
    let there = world.beside().await;
    let (mut browser, _) = world.sign_up(ALICE).await;
    let code = world.code(&mut browser, "vault", "openid offline_access").await;
    let answers = join_all((0..10).map(|_| world.redeem("vault", &code))).await;
    let given: Vec<&Answer> = answers.iter().filter(|answer| answer.status == StatusCode::OK).collect();
    assert_eq!(given.len(), 1);
    world.refresh("vault", given[0].text("refresh_token")).await.refused_with(400, "invalid_grant");
    for app in [&world.app, &there] {
        testkit::eventually(std::time::Duration::from_secs(1), || async {
            let form = [("token", given[0].text("access_token"))];
            let request = app.http().post(app.http_url("/oauth2/introspect")).form(&form);
            let basic = crate::world::basic("vault").unwrap();
            let answer =
                crate::world::answer(request.header("authorization", basic).send().await.unwrap()).await;
            (answer.body["active"] == serde_json::json!(false)).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn without_grace_a_second_use_is_theft() {
    let world = World::start().await;
    let (mut browser, _) = world.sign_up(ALICE).await;
    let code = world.code(&mut browser, "vault", "openid offline_access").await;
    let first = world.redeem("vault", &code).await;
    let second = world.refresh("vault", first.text("refresh_token")).await;
    assert_eq!(second.status, StatusCode::OK);
    world.refresh("vault", first.text("refresh_token")).await.refused_with(400, "invalid_grant");
    world.refresh("vault", second.text("refresh_token")).await.refused_with(400, "invalid_grant");
}

#[tokio::test]
async fn a_sign_out_beside_a_redemption_leaves_no_token() {
    let world = World::start().await;
    world.sign_up(ALICE).await;
    for _ in 0..12 {
        let (mut browser, code) = world.sign_in(ALICE).await;
        let tokens = world.redeem("portal", &code).await;
        let code = world.code(&mut browser, "shop", "openid").await;
        let logout = format!("/logout?id_token_hint={}", tokens.text("id_token"));
        let (redeemed, _) = tokio::join!(world.redeem("shop", &code), browser.open(&logout));
        if redeemed.status == StatusCode::OK {
            world.refresh("shop", redeemed.text("refresh_token")).await.refused_with(400, "invalid_grant");
            assert_eq!(world.userinfo(redeemed.text("access_token")).await.status, StatusCode::UNAUTHORIZED);
        } else {
            redeemed.refused_with(400, "invalid_grant");
        }
    }
}
