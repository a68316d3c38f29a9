//! Callers who change things, each over and over. What one of them makes, no other of them ends, unless it says so.

use deputize_tests::{TestResponse, User};
use http::StatusCode;
use serde_json::{Value, json};

use crate::{
    history::{History, Moment, Told},
    world::{Caller, World},
};

/// How often each caller sends a request.
const TIMES: usize = 4;

fn field(answer: &TestResponse, name: &str) -> String {
    answer.json()[name].as_str().unwrap().to_owned()
}

/// A user delegates to the bot and revokes it.
pub(crate) async fn delegates(mut caller: Caller, user: User) {
    let world = caller.world.clone();
    let path = format!("/api/v1/agent-accounts/{}/delegations", world.bot.id);
    let mut held = world.calm.get(&path).as_user(&user).await.json()[0]["id"].as_str().map(str::to_owned);
    for _ in 0..TIMES {
        caller.rest().await;
        let app = &world.processes[caller.process()];
        match &held {
            Some(id) => {
                let (began, stood) = world.history().ending(format!("delegation {id}"));
                let answer = caller.ask(app.delete(format!("/api/v1/delegations/{id}")).as_user(&user)).await;
                let mut history = world.history();
                // Ending it again changes nothing.
                let told = if stood {
                    history.answered("ending a delegation", answer.as_ref())
                } else {
                    history.told("ending a delegation", answer.as_ref())
                };
                is_missed(&mut history, &format!("delegation {id}"), stood, answer.as_ref());
                history.ended(format!("delegation {id}"), began, told);
                if told == Told::Done {
                    held = None;
                }
            }
            None => {
                let answer = caller.ask(app.post(&path).as_user(&user)).await;
                let told = world.history().told("delegating", answer.as_ref());
                if let (Told::Done, Some(answer)) = (told, &answer) {
                    let id = field(answer, "id");
                    world.history().made(format!("delegation {id}"));
                    held = Some(id);
                }
            }
        }
    }
}

/// A thing that is not found and that no caller has ended was lost.
fn is_missed(history: &mut History, id: &str, stood: bool, answer: Option<&TestResponse>) {
    if stood && answer.is_some_and(|answer| answer.status == StatusCode::NOT_FOUND) {
        history.broken(format!("{id} is not there, though nobody has ended it"));
    }
}

/// Alice adds client secrets to the bot and revokes them.
pub(crate) async fn renews_secrets(mut caller: Caller) {
    let world = caller.world.clone();
    let path = format!("/api/v1/agent-accounts/{}/secrets", world.bot.id);
    for _ in 0..TIMES {
        caller.rest().await;
        let app = &world.processes[caller.process()];
        let known = world.history().standing("secret ");
        if known.len() < 2 {
            let answer = caller.ask(app.post(&path).as_user(&world.alice)).await;
            let told = world.history().answered("adding a secret", answer.as_ref());
            let Some(answer) = answer else { continue };
            if told == Told::Done {
                let id = field(&answer, "id");
                world.secrets.lock().unwrap().push((id.clone(), field(&answer, "client_secret")));
                world.history().made(format!("secret {id}"));
            } else if answer.status == StatusCode::CONFLICT {
                // One was made, but its answer was lost.
                let all = world.calm.get(&path).as_user(&world.alice).await.ok().json();
                for id in all.as_array().unwrap().iter().map(|secret| secret["id"].as_str().unwrap()) {
                    if !known.iter().any(|known| known == id) {
                        world.calm.delete(format!("{path}/{id}")).as_user(&world.alice).await;
                    }
                }
            }
        } else {
            let id = &known[0];
            let (began, stood) = world.history().ending(format!("secret {id}"));
            let answer = caller.ask(app.delete(format!("{path}/{id}")).as_user(&world.alice)).await;
            let mut history = world.history();
            let told = history.answered("revoking a secret", answer.as_ref());
            is_missed(&mut history, &format!("secret {id}"), stood, answer.as_ref());
            history.ended(format!("secret {id}"), began, told);
        }
    }
}

/// Alice makes policies and deletes them. Each permits the bot one tool, or forbids everyone the tool `open`.
pub(crate) async fn writes_policies(mut caller: Caller, who: usize) {
    let world = caller.world.clone();
    for n in 0..TIMES {
        caller.rest().await;
        let app = &world.processes[caller.process()];
        let forbids = caller.random.bool();
        let tool = format!("t{who}");
        let text = if forbids {
            r#"forbid(principal, action, resource == Tool::"demo/open");"#.to_owned()
        } else {
            format!(r#"permit(principal, action, resource == Tool::"demo/{tool}");"#)
        };
        let body = json!({ "name": format!("{who} {n}"), "text": text });
        let answer = caller.ask(app.post("/api/v1/policies").as_user(&world.alice).json(&body)).await;
        let told = world.history().answered("making a policy", answer.as_ref());
        let (Told::Done, Some(answer)) = (told, answer) else { continue };
        let id = field(&answer, "id");
        let operation = if forbids { format!("forbid {id}") } else { format!("permit {tool} {id}") };
        {
            let mut history = world.history();
            history.made(format!("policy {id}"));
            history.made(&operation);
        }
        caller.rest().await;
        let app = &world.processes[caller.process()];
        let (began, stood) = world.history().ending(format!("policy {id}"));
        let (of_tool, _) = world.history().ending(&operation);
        let delete = app.delete(format!("/api/v1/policies/{id}")).as_user(&world.alice);
        let answer = caller.ask(delete).await;
        let mut history = world.history();
        let told = history.answered("deleting a policy", answer.as_ref());
        is_missed(&mut history, &format!("policy {id}"), stood, answer.as_ref());
        history.ended(format!("policy {id}"), began, told);
        history.ended(&operation, of_tool, told);
    }
}

/// Alice rotates the signing keys and deletes some.
pub(crate) async fn rotates_keys(mut caller: Caller) {
    let world = caller.world.clone();
    for _ in 0..TIMES / 2 {
        caller.rest().await;
        let app = &world.processes[caller.process()];
        let answer = caller.ask(app.post("/api/v1/signing-keys").as_user(&world.alice)).await;
        let told = world.history().answered("rotating the keys", answer.as_ref());
        if let (Told::Done, Some(answer)) = (told, &answer) {
            world.history().made(format!("key {}", field(answer, "kid")));
        }
        caller.rest().await;
        let Some(kid) = world.history().standing("key ").into_iter().next() else { continue };
        let app = &world.processes[caller.process()];
        let (began, stood) = world.history().ending(format!("key {kid}"));
        let delete = app.delete(format!("/api/v1/signing-keys/{kid}")).as_user(&world.alice);
        let answer = caller.ask(delete).await;
        let mut history = world.history();
        let told = history.answered("deleting a key", answer.as_ref());
        is_missed(&mut history, &format!("key {kid}"), stood, answer.as_ref());
        history.ended(format!("key {kid}"), began, told);
    }
}

/// A user grants the bot their session at `chat`, shares it, and revokes it. Other users do so at the same
/// time.
pub(crate) async fn shares(mut caller: Caller, user: User) {
    let world = caller.world.clone();
    let path = format!("/api/v1/agent-accounts/{}/session-grants", world.bot.id);
    let kind = format!("grant of {} ", user.name);
    for _ in 0..TIMES {
        caller.rest().await;
        let app = &world.processes[caller.process()];
        let mine = world.history().standing(&kind).into_iter().next();
        let began = world.history().now();
        match (caller.random.u8(0..3), mine) {
            (0, Some(id)) => {
                let (began, _) = world.history().ending(format!("{kind}{id}"));
                let answer =
                    caller.ask(app.delete(format!("/api/v1/session-grants/{id}")).as_user(&user)).await;
                let mut history = world.history();
                let told = history.told("revoking a grant", answer.as_ref());
                history.ended(format!("{kind}{id}"), began, told);
                history.ended(format!("grant {id}"), began, told);
            }
            (1, Some(_)) => {
                let body = json!({ "server_id": "chat" });
                let promotion = world.history().promotes(&user.name);
                let answer = caller.ask(app.post(format!("{path}/toggle")).as_user(&user).json(&body)).await;
                let told = world.history().answered("toggling a grant", answer.as_ref());
                world.history().promoted(promotion, told);
                displaces(&world, &user, began, told, answer.as_ref());
            }
            _ => {
                let body = json!({ "server_id": "chat", "shared": caller.random.u8(0..4) == 0 });
                let promotion = (body["shared"] == true).then(|| world.history().promotes(&user.name));
                let answer = caller.ask(app.post(&path).as_user(&user).json(&body)).await;
                let told = world.history().told("granting", answer.as_ref());
                if let Some(promotion) = promotion {
                    world.history().promoted(promotion, told);
                }
                if let (Told::Done, Some(answer)) = (told, &answer) {
                    let id = field(answer, "id");
                    let mut history = world.history();
                    history.made(format!("{kind}{id}"));
                    history.made(format!("grant {id}"));
                    history.asked_for(format!("{kind}{id}"), began);
                }
                if body["shared"] == true {
                    // It changes nothing if theirs is the shared one already.
                    let told = if told == Told::Done { Told::Unknown } else { told };
                    displaces(&world, &user, began, told, answer.as_ref());
                }
            }
        }
    }
}

/// A shared grant ends all other grants of its pair that existed before.
fn displaces(world: &World, user: &User, began: Moment, told: Told, answer: Option<&TestResponse>) {
    if told == Told::Nothing || answer.is_some_and(|answer| answer.json()["shared"] == false) {
        return;
    }
    let mut history = world.history();
    for other in [&world.bob, &world.carol, &world.dora] {
        if other.id == user.id {
            continue;
        }
        let kind = format!("grant of {} ", other.name);
        for id in history.standing(&kind) {
            // A grant that was made in the meantime may have come later.
            let told = if history.stands(format!("grant {id}"), began) { told } else { Told::Unknown };
            history.ended(format!("{kind}{id}"), began, told);
            history.ended(format!("grant {id}"), began, told);
        }
    }
}

/// Dora toggles the only grant at an agent account where no other user has one.
pub(crate) async fn flips(mut caller: Caller) {
    let world = caller.world.clone();
    let path = format!("/api/v1/agent-accounts/{}/session-grants/toggle", world.flipper.id);
    let mut shared = Some(false);
    for _ in 0..TIMES * 2 {
        caller.rest().await;
        let app = &world.processes[caller.process()];
        let body = json!({ "server_id": "chat" });
        let answer = caller.ask(app.post(&path).as_user(&world.dora).json(&body)).await;
        let mut history = world.history();
        match history.answered("flipping a grant", answer.as_ref()) {
            Told::Done => {
                let now = answer.unwrap().json()["shared"].as_bool().unwrap();
                if shared.is_some_and(|was| was == now) {
                    history.broken(format!("a grant that was shared={now} was flipped, and is shared={now}"));
                }
                shared = Some(now);
            }
            Told::Nothing => {}
            Told::Unknown => shared = None,
        }
    }
}

/// Two admins demote each other at the same time, again and again. One admin is left each time. Alice makes
/// both admins again.
pub(crate) async fn duels(mut caller: Caller) {
    let world = caller.world.clone();
    let path = |user: &User| format!("/api/v1/users/{}", user.id);
    let [erin, frank] = &world.admins;
    for _ in 0..TIMES {
        caller.rest().await;
        let [one, other] = [(erin, frank), (frank, erin)].map(|(by, whom)| {
            let app = &world.processes[caller.process()];
            app.patch(path(whom)).as_user(by).json(&json!({ "role": "user" }))
        });
        let (one, other) = tokio::join!(one, other);
        for answer in [one, other] {
            world.history().answered("demoting an admin", Some(&answer));
        }
        let mut left = 0;
        for user in [erin, frank] {
            let role = field(&world.calm.get(path(user)).as_user(&world.alice).await.ok(), "role");
            left += usize::from(role == "admin");
        }
        if left == 0 {
            world.history().broken("two admins have demoted each other");
        }
        for user in [erin, frank] {
            let promote =
                world.calm.patch(path(user)).as_user(&world.alice).json(&json!({ "role": "admin" }));
            promote.await.ok();
        }
    }
}

/// A subject is seen for the first time, at two processes at the same time.
pub(crate) async fn appears(mut caller: Caller, who: usize) {
    let world = caller.world.clone();
    let name = format!("new{who}");
    let mut id: Option<Value> = None;
    for _ in 0..3 {
        let token = world.calm.login.token(&name);
        let asks = [caller.process(), caller.process()]
            .map(|process| world.processes[process].get("/api/v1/me").bearer(&token));
        let [one, other] = asks;
        let (one, other) = tokio::join!(one, other);
        for answer in [one, other] {
            let mut history = world.history();
            if history.told("being seen first", Some(&answer)) == Told::Done {
                let body = answer.json();
                if id.get_or_insert_with(|| body["id"].clone()) != &body["id"] {
                    history.broken(format!("{name} is two users"));
                }
                if body["email"] != format!("{name}@example.com") {
                    history.broken(format!("{name} has the email {}", body["email"]));
                }
            }
        }
        caller.rest().await;
    }
}

/// Alice makes users and API keys with unique names.
pub(crate) async fn keeps_books(mut caller: Caller) {
    let world = caller.world.clone();
    for n in 0..TIMES {
        caller.rest().await;
        let app = &world.processes[caller.process()];
        let answer = if caller.random.bool() {
            let body = json!({ "email": format!("clerk{n}@example.com") });
            caller.ask(app.post("/api/v1/users").as_user(&world.alice).json(&body)).await
        } else {
            let body = json!({ "name": format!("key {n}") });
            caller.ask(app.post("/api/v1/api-keys").as_user(&world.alice).json(&body)).await
        };
        let mut history = world.history();
        history.answered("making a user or a key", answer.as_ref());
        // Each name is new, so nothing conflicts.
        if let Some(answer) = answer.filter(|answer| answer.status.is_client_error()) {
            history.broken(format!("a new user or key was refused: {answer}"));
        }
    }
}
