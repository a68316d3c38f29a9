//! Fills a data directory for the benchmark with a requested number of delegations and grants, written as the service
//! itself would have written them. Half of them belong to the demo's own agent account, so that a call finds its items
//! in a large partition. [`second_day`] has people and an audit trail.
//!
//! It does not use the SDK but the engine's bulk loading: a million items in minutes.

pub mod second_day;

use std::{collections::HashMap, time::Instant};

use aws_sdk_dynamodb::types::AttributeValue;
use deputize_core::{
    Error,
    delegations::Delegation,
    error::{Cause, because},
    ids::{AgentAccountId, DelegationId, GrantId, ServerId, UserId},
    session_grants::Grant,
    table::{Entity, Item, Key, to_item},
};
use dynoxide::{ImportOptions, types::AttributeValue as Loaded};
use uuid::Uuid;

use crate::{
    StartError,
    server::{Options, Server},
};

/// How many items the engine gets at a time.
const CHUNK: usize = 10_000;

/// Adds `count` delegations and `count` grants, and reports the progress.
pub async fn fill(options: &Options, count: u32) -> Result<(), StartError> {
    let server = Server::start(options.clone()).await?;
    let organization = server.organization().ok_or_else(|| StartError::new("--seed needs the demo"))?;
    let (agent, server_id) = (organization.agent_account_id, "demo-oauth".parse::<ServerId>());
    let server_id = server_id.map_err(StartError::new)?;
    let others: Vec<AgentAccountId> = (0..100).map(|_| AgentAccountId(Uuid::now_v7())).collect();
    let started = Instant::now();
    let mut items = Vec::with_capacity(CHUNK);
    for n in 0..count {
        let account = if n % 2 == 0 { agent } else { others[n as usize / 2 % others.len()] };
        let [delegation, grant] = pair(account, &server_id)?;
        items.push(delegation);
        items.push(grant);
        if items.len() >= CHUNK || n + 1 == count {
            load(&server, &items)?;
            items.clear();
            if n % 100_000 < 5_000 {
                eprintln!("{} of {count} in {:.0?}", n + 1, started.elapsed());
            }
        }
    }
    Ok(())
}

/// A new user's delegation to an account, and their grant for it.
fn pair(agent: AgentAccountId, server: &ServerId) -> Result<[Item; 2], Error> {
    let user = UserId(Uuid::new_v4());
    let now = deputize_core::clock::Clock::System.now();
    let delegation = Delegation {
        id: DelegationId(Uuid::new_v4()),
        agent_account_id: agent,
        delegator_user_id: user,
        user_epoch: None,
        server_ids: None,
        expires_at: None,
        made_by: None,
        created_at: now,
        revoked_at: None,
    };
    let grant = Grant {
        id: GrantId(Uuid::new_v4()),
        agent_account_id: agent,
        server_id: server.clone(),
        grantor_user_id: user,
        user_epoch: None,
        generation: 0,
        made_by: None,
        created_at: now,
        updated_at: now,
        revoked_at: None,
    };
    Ok([item(Key::delegation(agent, user), &delegation)?, item(Key::grant(agent, server, user), &grant)?])
}

fn item<T: Entity>(key: Key, value: &T) -> Result<Item, Error> {
    to_item(key, value, 1, None)
}

fn load(server: &Server, items: &[Item]) -> Result<(), StartError> {
    let failed = |error: Cause| StartError::new(because("loading failed", error));
    let items =
        items.iter().map(|item| item.iter().map(|(name, value)| (name.clone(), loaded(value))).collect());
    let table = server.core().table.name();
    server
        .store()?
        .database()
        .import_items(table, items.collect(), ImportOptions::default())
        .map(drop)
        .map_err(|error| failed(error.into()))
}

/// An attribute as the engine has it. Seeded items contain no bytes and no sets.
fn loaded(value: &AttributeValue) -> Loaded {
    match value {
        AttributeValue::N(number) => Loaded::N(number.clone()),
        AttributeValue::S(text) => Loaded::S(text.clone()),
        AttributeValue::Bool(is) => Loaded::BOOL(*is),
        AttributeValue::L(values) => Loaded::L(values.iter().map(loaded).collect()),
        AttributeValue::M(fields) => {
            let fields: HashMap<String, Loaded> =
                fields.iter().map(|(name, value)| (name.clone(), loaded(value))).collect();
            Loaded::M(fields)
        }
        _ => Loaded::NULL(true),
    }
}
