//! One deployment: three processes in a storm, whose clocks differ, and one in calm to set up and to look afterwards.

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use deputize_core::clock::{Clock, Random, Timestamp};
use deputize_tests::{
    Agent, TestApp, TestRequest, TestResponse, User, jwt,
    storm::{FaultRates, Passed, Storm},
};
use serde_json::json;

use crate::{
    history::History,
    provider::{MCP_URL, Provider},
};

/// How many milliseconds the processes' clocks are wrong.
const SKEWS: [i64; 3] = [-900, 0, 900];

pub(crate) struct World {
    pub(crate) calm: TestApp,
    pub(crate) processes: Vec<TestApp>,
    pub(crate) storm: Storm,
    pub(crate) provider: Provider,
    pub(crate) alice: User,
    pub(crate) bob: User,
    pub(crate) carol: User,
    pub(crate) dora: User,
    /// Admins in addition to Alice.
    pub(crate) admins: [User; 2],
    pub(crate) bot: Agent,
    /// An agent account at which only Dora has a grant.
    pub(crate) flipper: Agent,
    pub(crate) history: Mutex<History>,
    /// The bot's known client secrets, by their ids.
    pub(crate) secrets: Mutex<Vec<(String, String)>>,
    /// The agent tokens that were issued.
    pub(crate) tokens: Mutex<Vec<String>>,
}

impl World {
    pub(crate) async fn new(seed: u64) -> Self {
        let app = TestApp::start().await;
        let start = app.core.clock.clone();
        let provider = Provider::new(seed);
        let storm = Storm::on(&app.store, FaultRates::STORM, seed);
        let process = |n: usize, skew: i64, store| {
            let clock = Clock::manual(Timestamp::from_millis(start.now().as_millis() + skew));
            let random = Random::seeded(seed.wrapping_mul(31).wrapping_add(n as u64));
            app.process(store, (clock, random), Arc::new(provider.clone()))
        };
        let processes: Vec<TestApp> =
            (0..SKEWS.len()).map(|n| process(n, SKEWS[n], storm.client())).collect();
        let calm = process(SKEWS.len(), 0, app.store.client());
        let alice = calm.user("alice").admin().await;
        let [bob, carol, dora] = [calm.user("bob").await, calm.user("carol").await, calm.user("dora").await];
        let admins = [calm.user("erin").admin().await, calm.user("frank").admin().await];
        let (bot, flipper) = (calm.agent("bot", &alice).await, calm.agent("flipper", &alice).await);
        calm.server("demo").await;
        calm.server("chat").at(MCP_URL).oauth().await;
        calm.policy("open", r#"permit(principal, action, resource) when { resource in Server::"chat" || resource == Tool::"demo/open" };"#).await;
        calm.policy("users", "permit(principal is User, action, resource);").await;
        let mut history = History::default();
        for user in [&bob, &carol] {
            history.made(format!("delegation {}", calm.delegate(&bot, user).await));
        }
        let first = calm.m2m(&bot).await;
        let secret = jwt::claims(&first)["client_secret_id"].as_str().unwrap().to_owned();
        history.made(format!("secret {secret}"));
        history.made(format!("key {}", jwt::header(&first)["kid"].as_str().unwrap()));
        let world = Self {
            calm,
            processes,
            storm,
            provider,
            alice,
            bob,
            carol,
            dora,
            admins,
            flipper,
            secrets: Mutex::new(vec![(secret, bot.secret.clone())]),
            tokens: Mutex::new(vec![first]),
            bot,
            history: Mutex::new(history),
        };
        for user in [&world.bob, &world.carol, &world.dora] {
            world.connect(user).await;
        }
        let path = format!("/api/v1/agent-accounts/{}/session-grants", world.flipper.id);
        world.calm.post(path).as_user(&world.dora).json(&json!({ "server_id": "chat" })).await.ok();
        world
    }

    /// Connects a user to `chat`, without faults.
    async fn connect(&self, user: &User) {
        let begun = self.calm.post("/api/v1/servers/chat/connect").as_user(user).await.ok();
        let back = Provider::consent(&begun.field("authorization_url"), &user.name);
        let cookie = begun.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
        self.calm.get(back).header("cookie", &cookie).await.ok();
    }

    pub(crate) fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap()
    }

    /// Moves all clocks until it is dropped.
    pub(crate) async fn tick(&self) {
        const STEP: Duration = Duration::from_millis(20);
        loop {
            tokio::time::sleep(STEP).await;
            for app in self.processes.iter().chain([&self.calm]) {
                app.pass(STEP);
            }
        }
    }

    pub(crate) fn passed(&self) -> Passed {
        self.storm.passed()
    }
}

/// A caller that sends requests to any process, and sometimes disconnects.
pub(crate) struct Caller {
    pub(crate) world: Arc<World>,
    pub(crate) random: fastrand::Rng,
}

impl Caller {
    pub(crate) fn new(world: &Arc<World>, seed: u64) -> Self {
        Self { world: Arc::clone(world), random: fastrand::Rng::with_seed(seed) }
    }

    pub(crate) fn process(&mut self) -> usize {
        self.random.usize(0..SKEWS.len())
    }

    /// The answer, if the caller waits for it.
    pub(crate) async fn ask(&mut self, ask: TestRequest) -> Option<TestResponse> {
        let patience = if self.random.u8(0..20) == 0 { self.random.u64(0..400) } else { 60_000 };
        tokio::time::timeout(Duration::from_millis(patience), ask).await.ok()
    }

    pub(crate) async fn rest(&mut self) {
        tokio::time::sleep(Duration::from_millis(self.random.u64(0..700))).await;
    }
}
