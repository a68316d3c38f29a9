//! Any sequence of steps by any grantors does what the model does.

use std::collections::BTreeMap;

use deputize_tests::User;
use proptest::{prelude::*, test_runner::FileFailurePersistence};

use super::Connected;
use crate::model::{Outcome, Pair, Step};

fn steps() -> impl Strategy<Value = Vec<(usize, Step)>> {
    let step = prop_oneof![
        3 => any::<bool>().prop_map(|shared| Step::Create { shared }),
        3 => Just(Step::Toggle),
        1 => Just(Step::Revoke),
    ];
    prop::collection::vec((0..3_usize, step), 1..20)
}

/// The service and the model, and the service's id of each of the model's grants.
struct Pairing {
    it: Connected,
    model: Pair,
    ids: BTreeMap<usize, String>,
}

impl Pairing {
    fn user(&self, grantor: usize) -> &User {
        [&self.it.scenario.alice, &self.it.scenario.bob, &self.it.scenario.carol][grantor]
    }

    async fn take(&mut self, grantor: usize, step: Step) {
        let user = self.user(grantor).clone();
        let old = self.model.grant_of(grantor).map(|number| self.ids[&number].clone());
        let answer = match step {
            Step::Create { shared } => self.it.create(&user, shared).await,
            Step::Toggle => self.it.toggle(&user).await,
            // A user without a grant revokes one that never existed.
            Step::Revoke => {
                let nobodys = "00000000-0000-4000-8000-000000000001".to_owned();
                self.it.revoke(&user, old.as_ref().unwrap_or(&nobodys)).await
            }
        };
        let (expected, _) = self.model.take(grantor, step);
        let body = answer.json();
        let seen = match (answer.status.as_u16(), body["is_active"].as_bool()) {
            (404, _) => Outcome::NotFound,
            (200, Some(false)) => Outcome::Revoked,
            (200 | 201, Some(true)) => {
                let shared = body["shared"].as_bool().unwrap();
                if old.as_deref() == body["id"].as_str() {
                    Outcome::Kept { shared }
                } else {
                    Outcome::Made { shared }
                }
            }
            _ => panic!("{answer}"),
        };
        assert_eq!(seen, expected, "{answer}");
        if let Outcome::Made { .. } = seen {
            let id = body["id"].as_str().unwrap().to_owned();
            assert!(!self.ids.values().any(|known| *known == id), "an id is used twice");
            self.ids.insert(self.model.grant_of(grantor).unwrap(), id);
        }
    }

    /// Requires that these viewers see their own grant, the shared one, and no other.
    async fn compare(&self, viewers: impl IntoIterator<Item = usize>) {
        for viewer in viewers {
            let list = self.it.seen_by(self.user(viewer)).await;
            let mut expected = Vec::new();
            if self.model.grant_of(viewer).is_some() {
                let shared = if self.model.shares(viewer) { "shared" } else { "personal" };
                expected.push(format!("{} {shared} active", self.user(viewer).name));
            }
            expected.extend(
                self.model
                    .sharing()
                    .filter(|sharing| *sharing != viewer)
                    .map(|sharing| format!("{} shared active", self.user(sharing).name)),
            );
            // A user's own grant stays in the list after its end.
            let lines = list.lines().filter(|line| !line.ends_with("revoked")).collect::<Vec<_>>();
            assert_eq!(lines, expected);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 16,
        failure_persistence: Some(Box::new(FileFailurePersistence::Off)),
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_steps_do_what_the_model_does(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut pairing =
                Pairing { it: Connected::set().await, model: Pair::default(), ids: BTreeMap::new() };
            for (grantor, step) in steps {
                pairing.take(grantor, step).await;
                pairing.compare([(grantor + 1) % 3]).await;
            }
            pairing.compare(0..3).await;
        });
    }
}
