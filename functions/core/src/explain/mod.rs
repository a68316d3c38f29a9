//! Questions about decisions, without a call: what a call would say, what a change of the policies would change, and who
//! could have made a call.
//!
//! | file | holds |
//! | --- | --- |
//! | `target` | what is called: a tool, a resource or a prompt |
//! | `as_of` | the state at an earlier time |
//! | `check` | what a call would say, step by step |
//! | `drafts` | policies that are not in force, to be judged in place of those that are |
//! | `dry_run` | what a change of a policy would change, for the last calls |
//! | `lent` | whose credentials agents would use for a person |
//! | `who_could` | all who could make a call |
//!
//! Nothing is decided here. Each step asks what a call asks: [`crate::access`], [`crate::policies`],
//! [`crate::app_standing`], and what a delegation or a session says of itself. Nothing is stored.

mod as_of;
mod check;
mod drafts;
mod dry_run;
mod lent;
mod target;
mod who_could;

pub use self::{
    check::{CheckRequest, Explanation, Outcome, Refusal, Step, StepName, Verdict, check},
    drafts::{Draft, DraftPolicy},
    dry_run::{ChangedCall, DryRun, PolicyChange, dry_run},
    lent::{Lender, Lent, lent},
    target::{CallDetails, Target},
    who_could::{Answer, Group, Member, Page, Section, WhoCould, WhoCouldRequest, who_could},
};
