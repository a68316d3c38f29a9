//! Erasing what was deleted, when it can be restored no more. Three ask for it, and it is the same for all of them: each
//! hour the rule of a deployment on AWS, each hour the local server, and an operator by `deputize erase`.
//!
//! What is erased twice, by two of them at once or after a crash, is erased once.

use std::time::{Duration, Instant};

use deputize_core::{
    Core, Error, Result,
    audit::RequestContext,
    deletion::{self, ErasedDue},
};
use serde_json::{Value, json};

/// A round that erases nothing and is over sooner than this gets nowhere, for now.
const STANDSTILL: Duration = Duration::from_secs(1);

/// [`erase`], for a schedule: that something could not be erased is a failure, which an alarm tells.
pub async fn scheduled(core: &Core, until: Option<Instant>) -> Result<Value> {
    all_done(erase(core, until, |_| {}).await?)
}

fn all_done(done: ErasedDue) -> Result<Value> {
    let ErasedDue { erased, failed, unfinished } = done;
    if failed > 0 {
        return Err(Error::internal(format!(
            "{failed} deleted things could not be erased: the log names each"
        )));
    }
    Ok(json!({ "erased": erased, "unfinished": unfinished }))
}

/// Erases what is due, round by round, until nothing is, or the time is over. What is left then is for the next time.
/// `told` hears of each round.
pub async fn erase(
    core: &Core,
    until: Option<Instant>,
    told: impl FnMut(ErasedDue) + Send,
) -> Result<ErasedDue> {
    let now = core.clock.now();
    let request = RequestContext {
        id: core.random.uuid_at(now)?,
        received_at: Some(now),
        work_until: until,
        in_flight: core.in_flight.clone(),
        ..RequestContext::default()
    };
    let mut sum = ErasedDue { unfinished: true, ..ErasedDue::default() };
    let done = rounds(until, &mut sum, told, || deletion::erase_due(core, &request)).await;
    let ErasedDue { erased, failed, unfinished } = sum;
    // Also of what was erased before a failure, which its caller tells.
    tracing::info!(request_id = %request.id, erased, failed, unfinished, "erased what can be restored no more");
    done.map(|()| sum)
}

async fn rounds<F>(
    until: Option<Instant>,
    sum: &mut ErasedDue,
    mut told: impl FnMut(ErasedDue) + Send,
    mut round: impl FnMut() -> F + Send,
) -> Result<()>
where
    F: Future<Output = Result<ErasedDue>> + Send,
{
    loop {
        let began = Instant::now();
        let done = round().await?;
        // Each round tries anew what the one before it could not erase.
        *sum = ErasedDue { erased: sum.erased + done.erased, ..done };
        told(done);
        let is_over = until.is_some_and(|until| Instant::now() >= until);
        let stands_still = done.erased == 0 && began.elapsed() < STANDSTILL;
        if !done.unfinished || is_over || stands_still {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use super::*;

    /// What these rounds come to, and how many were asked for.
    async fn after(
        until: Option<Instant>,
        rounds_of: Vec<Result<ErasedDue>>,
    ) -> (Result<()>, ErasedDue, usize) {
        let (mut sum, mut heard) = (ErasedDue { unfinished: true, ..ErasedDue::default() }, 0);
        let mut left = rounds_of.into_iter();
        let done = rounds(until, &mut sum, |_| heard += 1, || ready(left.next().unwrap())).await;
        (done, sum, heard)
    }

    fn some(erased: usize) -> ErasedDue {
        ErasedDue { erased, failed: 1, unfinished: true }
    }

    fn last(erased: usize) -> ErasedDue {
        ErasedDue { erased, failed: 2, unfinished: false }
    }

    #[tokio::test]
    async fn it_asks_again_until_nothing_is_due() {
        let (done, sum, rounds) = after(None, vec![Ok(some(3)), Ok(some(2)), Ok(last(0)), Ok(last(7))]).await;
        assert!(done.is_ok());
        assert_eq!((sum, rounds), (ErasedDue { erased: 5, failed: 2, unfinished: false }, 3));
    }

    #[tokio::test]
    async fn what_is_left_when_the_time_is_over_waits_for_the_next_hour() {
        let (done, sum, rounds) = after(Some(Instant::now()), vec![Ok(some(3)), Ok(last(1))]).await;
        assert!(done.is_ok());
        assert_eq!((sum, rounds), (ErasedDue { erased: 3, failed: 1, unfinished: true }, 1));
    }

    #[tokio::test]
    async fn a_round_that_gets_nowhere_is_the_last() {
        let (done, sum, rounds) = after(None, vec![Ok(some(3)), Ok(some(0)), Ok(last(1))]).await;
        assert!(done.is_ok());
        assert_eq!((sum, rounds), (ErasedDue { erased: 3, failed: 1, unfinished: true }, 2));
    }

    #[tokio::test]
    async fn what_was_erased_before_a_failure_is_counted() {
        let (done, sum, rounds) =
            after(None, vec![Ok(some(3)), Err(Error::internal("the table is gone"))]).await;
        assert!(done.is_err());
        assert_eq!((sum, rounds), (ErasedDue { erased: 3, failed: 1, unfinished: true }, 1));
    }

    #[test]
    fn what_could_not_be_erased_is_a_failure_whatever_was() {
        let done = ErasedDue { erased: 3, failed: 0, unfinished: true };
        assert_eq!(all_done(done).unwrap(), json!({ "erased": 3, "unfinished": true }));
        let why = all_done(ErasedDue { failed: 1, ..done }).unwrap_err();
        assert!(matches!(why, Error::Internal(_)), "{why}");
    }
}
