//! Callers for whom it is decided: agents that get tokens and call tools.

use deputize_core::{
    Error,
    access::{self, PolicyContext, UpstreamCredentials},
    audit::{Action, Event, RequestContext},
    policies::{Decision, Operation},
};
use deputize_tests::{jwt, request::USER_ID};

use crate::{history::Told, world::Caller};

/// How often each caller calls.
const TIMES: usize = 16;

/// The bot gets tokens with any secret that it knows, and calls with them.
pub(crate) async fn calls(mut caller: Caller) {
    for _ in 0..TIMES {
        caller.rest().await;
        match caller.random.u8(0..4) {
            0 => get_token(&mut caller).await,
            1 => Box::pin(call_chat(&mut caller)).await,
            _ => call_tool(&mut caller).await,
        }
    }
}

async fn get_token(caller: &mut Caller) {
    let world = caller.world.clone();
    let secrets = world.secrets.lock().unwrap().clone();
    let (secret_id, secret) = secrets[caller.random.usize(0..secrets.len())].clone();
    let bot = deputize_tests::Agent { secret, ..world.bot.clone() };
    let user = [None, Some(&world.bob), Some(&world.carol)][caller.random.usize(0..3)];
    let app = &world.processes[caller.process()];
    let began = world.history().now();
    let id = user.map(|user| user.id.to_string()).unwrap_or_default();
    let fields = [("actor_token", &*id), ("actor_token_type", USER_ID)];
    let ask = app.token_for(&bot, if user.is_some() { &fields } else { &[] });
    let Some(answer) = caller.ask(ask).await else { return };
    let told = world.history().told("asking for a token", Some(&answer));
    match told {
        Told::Done => {
            let token = answer.access_token();
            world.history().allowed("a token", began, &rests_on(&token));
            world.tokens.lock().unwrap().push(token);
        }
        Told::Nothing if answer.status != 503 && user.is_none_or(|user| user.id == world.bob.id) => {
            world.history().refused("a token", answer.refusal(), began, &[format!("secret {secret_id}")]);
        }
        _ => {}
    }
}

/// What a token rests on, by its claims.
fn rests_on(token: &str) -> Vec<String> {
    let claims = jwt::claims(token);
    let mut things = vec![
        format!("key {}", jwt::header(token)["kid"].as_str().unwrap()),
        format!("secret {}", claims["client_secret_id"].as_str().unwrap()),
    ];
    things.extend(claims["delegation_id"].as_str().map(|id| format!("delegation {id}")));
    things
}

fn some_token(caller: &mut Caller) -> String {
    let tokens = caller.world.tokens.lock().unwrap();
    // Mostly a new one.
    let at = if caller.random.bool() { tokens.len() - 1 } else { caller.random.usize(0..tokens.len()) };
    tokens[at].clone()
}

/// Whether the store failed, and not a rule refused.
fn is_down(error: &Error) -> bool {
    matches!(error, Error::Unavailable { .. } | Error::Undecided { .. } | Error::ProviderUnavailable { .. })
}

async fn call_tool(caller: &mut Caller) {
    let world = caller.world.clone();
    let tool = ["open", "t0", "t1"][caller.random.usize(0..3)];
    let token = some_token(caller);
    let process = caller.process();
    let core = &world.processes[process].core;
    let began = world.history().now();
    let decided = async {
        let presented = core.read_credential(Some(&token), None).await?;
        let request = RequestContext::default();
        let mut event = Event::new(core, &request, Action::ToolCall)?;
        let server = "demo".parse().unwrap();
        let access = access::admit(core, presented, &server, &request, &mut event).await?;
        access.permits(Operation::CallTool(tool), None, PolicyContext::default())
    };
    let decided: Result<Decision, Error> = decided.await;
    let mut rests_on = rests_on(&token);
    let mut history = world.history();
    match decided {
        Ok(Decision::Permitted(policies)) => {
            rests_on.extend(policies.iter().map(|id| format!("policy {id}")));
            history.allowed(format!("a call of {tool}"), began, &rests_on);
            let forbids = history.standing("forbid ");
            if tool == "open"
                && let Some(id) = forbids.iter().find(|id| history.stands(format!("forbid {id}"), began))
            {
                history.broken(format!("a call was permitted that {id} forbids"));
            }
        }
        Ok(Decision::Denied(denial)) => {
            let permits = history.standing(&format!("permit {tool} ")).into_iter();
            let permit = permits.map(|id| format!("permit {tool} {id}")).find(|id| history.stands(id, began));
            if let Some(permit) = permit {
                history.refused(format!("a call of {tool}"), &denial.reason, began, &[permit]);
            }
        }
        Err(error) if is_down(&error) => {}
        Err(error) => history.refused("a token", error, began, &rests_on),
    }
}

async fn call_chat(caller: &mut Caller) {
    let world = caller.world.clone();
    let token = some_token(caller);
    let process = caller.process();
    let core = &world.processes[process].core;
    let own = jwt::claims(&token)["act"].is_object().then(|| {
        let sub = jwt::claims(&token)["sub"].as_str().unwrap().to_owned();
        [&world.bob, &world.carol].into_iter().find(|user| user.id.to_string() == sub).unwrap().clone()
    });
    let patience = std::time::Duration::from_millis(if caller.random.u8(0..10) == 0 {
        caller.random.u64(0..3_000)
    } else {
        600_000
    });
    let began = world.history().now();
    let used = async {
        let presented = core.read_credential(Some(&token), None).await?;
        let request = RequestContext::default();
        let mut event = Event::new(core, &request, Action::ToolCall)?;
        let server = "chat".parse().unwrap();
        let access = access::admit(core, presented, &server, &request, &mut event).await?;
        access.credentials(core, &request).await
    };
    let Ok(used) = tokio::time::timeout(patience, Box::pin(used)).await else { return };
    let mut rests_on = rests_on(&token);
    let mut history = world.history();
    match used {
        Ok(UpstreamCredentials::Session(session)) => {
            use secrecy::ExposeSecret;
            rests_on.extend(session.grant.map(|id| format!("grant {id}")));
            history.allowed("a call of chat", began, &rests_on);
            let account = world.provider.account_of(session.access_token.expose_secret());
            let of = [&world.bob, &world.carol, &world.dora]
                .into_iter()
                .find(|user| user.id == session.of)
                .unwrap();
            if account != of.name {
                history.broken(format!("the credentials of {account} were used for {}", of.name));
            }
        }
        Ok(other) => history.broken(format!("chat was called with {other:?}")),
        Err(Error::NoCredentials) => {
            if let Some(own) = own {
                let kind = format!("grant of {} ", own.name);
                let own_grants = history.standing(&kind).into_iter().map(|id| format!("{kind}{id}"));
                let lasting = own_grants.filter(|id| !history.may_be_displaced(&own.name, id));
                for id in lasting.collect::<Vec<_>>() {
                    history.refused("a call of chat", "no credentials", began, &[id]);
                }
            }
        }
        Err(error @ (Error::SessionExpired | Error::SessionInterrupted | Error::SessionNotFound)) => {
            history.broken(format!("a session that nobody ended is of no use: {error}"));
        }
        Err(error) if is_down(&error) => {}
        Err(error) => history.refused("a token", error, began, &rests_on),
    }
}
