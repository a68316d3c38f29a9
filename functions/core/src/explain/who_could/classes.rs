//! Principals that the policies cannot tell apart, and what is decided of them.

use std::{collections::HashMap, hash::Hash};

use crate::{
    ids::PolicyId,
    policies::{Condition, Decision, Possibility},
};

/// Things, each once and by a number.
#[derive(Debug)]
pub(super) struct Numbered<K, V>(HashMap<K, usize>, Vec<V>);

impl<K, V> Default for Numbered<K, V> {
    fn default() -> Self {
        Self(HashMap::new(), Vec::new())
    }
}

impl<K: Eq + Hash, V> Numbered<K, V> {
    /// The number of what has this key. What is not there yet is made.
    pub(super) fn number(&mut self, key: K, make: impl FnOnce() -> V) -> usize {
        let Self(numbers, all) = self;
        *numbers.entry(key).or_insert_with(|| {
            all.push(make());
            all.len() - 1
        })
    }

    pub(super) fn all(&self) -> &[V] {
        &self.1
    }
}

/// That a call could be made. What is denied is no answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// By these policies, whatever the arguments.
    Permitted(Vec<PolicyId>),
    /// With some arguments.
    Depends(Vec<Condition>),
}

impl Answer {
    pub(super) fn of(possibility: Possibility) -> Option<Self> {
        match possibility {
            Possibility::Decided(Decision::Permitted(policies)) => Some(Self::Permitted(policies)),
            Possibility::Decided(Decision::Denied(_)) => None,
            Possibility::Depends(conditions) => Some(Self::Depends(conditions)),
        }
    }

    /// That of an agent and that of the user for whom it acts.
    pub(super) fn and(&self, user: &Self) -> Self {
        match (self, user) {
            (Self::Permitted(agent), Self::Permitted(user)) => {
                let mut policies = [&**agent, user].concat();
                policies.sort_unstable();
                policies.dedup();
                Self::Permitted(policies)
            }
            (Self::Permitted(_), Self::Depends(conditions))
            | (Self::Depends(conditions), Self::Permitted(_)) => Self::Depends(conditions.clone()),
            (Self::Depends(agent), Self::Depends(user)) => Self::Depends([&**agent, user].concat()),
        }
    }
}
