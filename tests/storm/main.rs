//! Many callers at once, on a store that does everything that DynamoDB's documents allow. Nothing is lost, undone or
//! reported wrongly, thousands of times, each time in another order.
//!
//! | file | holds |
//! | --- | --- |
//! | `history` | what callers have been told, and the rules that it is checked by: the model |
//! | `changes` | callers who change things |
//! | `decisions` | callers who get tokens and call tools |
//! | `provider` | an authorization server that ends a token family when it sees a refresh token twice |
//! | `world` | the deployment: three processes whose clocks differ |
//! | [`deputize_tests::storm`] | the store |
//!
//! Three processes whose clocks differ serve about fifteen callers at once. The callers get tokens and call tools. They
//! delegate, share and toggle grants, refresh sessions, rotate signing keys and secrets, write policies, and are seen
//! for the first time. Some close their connection.
//!
//! The model knows only what callers were told, and when. It has three rules:
//!
//! 1. An acknowledged change has one event in the trail, and a refused one has none, ever.
//! 2. Nothing is decided by what had ended before the decision began.
//! 3. What is in force is found.
//!
//! Beside them it checks: there is one shared grant at most; no refresh token is sent twice; each newcomer is one user
//! with their email; no user's credentials are used for another.
//!
//! **What it proves:** of the interleavings that it has tried (it prints how many), none breaks a rule. **What it does
//! not prove:** that no other interleaving does; anything of API Gateway, KMS or MCP servers, which are not in it; that
//! DynamoDB keeps to its documents; processes that die between two steps. A caller that closes its connection leaves
//! its process alive; `tests/e2e` kills processes.
//!
//! `STORM_SEEDS=10000` runs as many. `STORM_SEED=17` runs one again and prints what its callers were told. It goes much
//! the same way, except for the order of lists: keys and ciphertexts are not drawn from the seed. Time is tokio's,
//! paused, so a seed takes a second or two.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test's helpers fail by panicking"
)]

mod changes;
mod decisions;
mod history;
mod provider;
mod world;

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use deputize_tests::storm::Passed;
use tokio::task::JoinSet;

use self::world::{Caller, World};

/// How many seeds are tried by default. `tests/run storm` sets it.
const SEEDS: u64 = 10;

/// The result of one seed.
struct Shown {
    passed: Passed,
    decisions: u64,
    refreshes: u64,
    broken: Vec<String>,
}

fn run(seed: u64) -> Shown {
    // The SDK's jitter and ours come from it.
    fastrand::seed(seed);
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(storm(seed))
}

async fn storm(seed: u64) -> Shown {
    let world = Arc::new(World::new(seed).await);
    world.history().is_told = std::env::var_os("STORM_SEED").is_some();
    let ticking = {
        let world = Arc::clone(&world);
        tokio::spawn(async move { world.tick().await })
    };
    let mut callers = JoinSet::new();
    let mut next = seed.wrapping_mul(1_000);
    let mut caller = || {
        next += 1;
        Caller::new(&world, next)
    };
    for _ in 0..4 {
        callers.spawn(decisions::calls(caller()));
    }
    callers.spawn(changes::delegates(caller(), world.carol.clone()));
    callers.spawn(changes::renews_secrets(caller()));
    callers.spawn(changes::writes_policies(caller(), 0));
    callers.spawn(changes::writes_policies(caller(), 1));
    callers.spawn(changes::rotates_keys(caller()));
    for user in [&world.bob, &world.carol, &world.dora] {
        callers.spawn(changes::shares(caller(), user.clone()));
    }
    callers.spawn(changes::flips(caller()));
    callers.spawn(changes::duels(caller()));
    callers.spawn(changes::appears(caller(), 0));
    callers.spawn(changes::appears(caller(), 1));
    callers.spawn(changes::keeps_books(caller()));
    while let Some(done) = callers.join_next().await {
        done.unwrap();
    }
    world.storm.calm();
    // Delayed requests arrive.
    tokio::time::sleep(Duration::from_secs(60)).await;
    ticking.abort();
    verdict(&world).await
}

/// Compares the final state with what the callers know.
async fn verdict(world: &World) -> Shown {
    let mut shared = HashSet::new();
    for user in [&world.bob, &world.carol, &world.dora] {
        let path = format!("/api/v1/agent-accounts/{}/session-grants?server_id=chat", world.bot.id);
        let grants = world.calm.get(path).as_user(user).await.ok().json();
        let active = grants.as_array().unwrap().iter().filter(|grant| grant["is_active"] == true);
        shared.extend(active.filter(|grant| grant["shared"] == true).map(|grant| grant["id"].to_string()));
    }
    let users = world.calm.get("/api/v1/users?limit=100").as_user(&world.alice).await.ok().json();
    let emails: Vec<&str> =
        users.as_array().unwrap().iter().filter_map(|user| user["email"].as_str()).collect();
    let mut history = world.history();
    if shared.len() > 1 {
        history.broken(format!("{} grants of one pair are shared", shared.len()));
    }
    if emails.iter().collect::<HashSet<_>>().len() < emails.len() {
        history.broken("two users have one email");
    }
    for account in world.provider.reused() {
        history.broken(format!("a refresh token of {account}'s was sent twice"));
    }
    history.hold_against(&world.calm.trail());
    Shown {
        passed: world.passed(),
        decisions: history.decisions,
        refreshes: world.provider.refreshes(),
        broken: history.all_broken().to_vec(),
    }
}

#[test]
fn whatever_the_store_does_nothing_is_lost_undone_or_said_wrongly() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let (first, last) = match number("STORM_SEED") {
        Some(seed) => (seed, seed),
        None => (1, number("STORM_SEEDS").unwrap_or(SEEDS)),
    };
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let next = AtomicU64::new(first);
    let all = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::SeqCst);
                    if seed > last {
                        return;
                    }
                    let shown = run(seed);
                    let mut all = all.lock().unwrap();
                    all.push((seed, shown));
                    if all.len().is_multiple_of(20) {
                        eprintln!("{} of {} seeds", all.len(), last - first + 1);
                    }
                }
            });
        }
    });
    let all = all.into_inner().unwrap();
    let total = |of: fn(&Shown) -> u64| all.iter().map(|(_, shown)| of(shown)).sum::<u64>();
    let interleavings: HashSet<u64> = all.iter().map(|(_, shown)| shown.passed.interleaving).collect();
    eprintln!(
        "{} interleavings, {} requests to the store, {} of them with a fault, {} decisions, {} refreshes",
        interleavings.len(),
        total(|shown| shown.passed.requests),
        total(|shown| shown.passed.faults),
        total(|shown| shown.decisions),
        total(|shown| shown.refreshes),
    );
    let broken: Vec<String> = all
        .iter()
        .flat_map(|(seed, shown)| shown.broken.iter().map(move |what| format!("STORM_SEED={seed}: {what}")))
        .collect();
    assert!(broken.is_empty(), "{} rules broken:\n{}", broken.len(), broken.join("\n"));
    assert_eq!(interleavings.len(), all.len(), "two seeds went the same way");
}
