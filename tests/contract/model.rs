//! What session grants should do, as a few lines of sequential code: each grantor's grant, and who shares.

use std::collections::BTreeMap;

/// An action of a grantor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Create { shared: bool },
    Toggle,
    Revoke,
}

/// Its result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// A new grant.
    Made {
        shared: bool,
    },
    /// The existing grant, as it is now.
    Kept {
        shared: bool,
    },
    Revoked,
    NotFound,
}

/// One pair of an agent account and a server.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pair {
    /// The number of each grantor's active grant. Grants are numbered in the order in which they are made.
    active: BTreeMap<usize, usize>,
    sharing: Option<usize>,
    made: usize,
}

impl Pair {
    pub(crate) fn shares(&self, grantor: usize) -> bool {
        self.sharing == Some(grantor)
    }

    pub(crate) fn sharing(&self) -> Option<usize> {
        self.sharing
    }

    pub(crate) fn grant_of(&self, grantor: usize) -> Option<usize> {
        self.active.get(&grantor).copied()
    }

    /// Takes a step. The second part of the result says whether anything has changed.
    pub(crate) fn take(&mut self, grantor: usize, step: Step) -> (Outcome, bool) {
        let stands = self.active.contains_key(&grantor);
        match step {
            Step::Create { shared } if stands && self.shares(grantor) == shared => {
                (Outcome::Kept { shared }, false)
            }
            Step::Create { shared } => {
                if !stands {
                    self.active.insert(grantor, self.made);
                    self.made += 1;
                }
                self.set_shared(grantor, shared);
                (if stands { Outcome::Kept { shared } } else { Outcome::Made { shared } }, true)
            }
            Step::Toggle if stands => {
                let shared = !self.shares(grantor);
                self.set_shared(grantor, shared);
                (Outcome::Kept { shared }, true)
            }
            Step::Revoke if stands => {
                self.set_shared(grantor, false);
                self.active.remove(&grantor);
                (Outcome::Revoked, true)
            }
            Step::Toggle | Step::Revoke => (Outcome::NotFound, false),
        }
    }

    fn set_shared(&mut self, grantor: usize, shared: bool) {
        if shared {
            self.active.retain(|other, _| *other == grantor);
            self.sharing = Some(grantor);
        } else if self.shares(grantor) {
            self.sharing = None;
        }
    }
}
