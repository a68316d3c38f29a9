//! A root that is asked over the network, with its answers remembered for a while: not every call of a tool costs a
//! request to it.
//!
//! It keeps up to 1,000 unwrapped data keys, by item and wrapped key, each for five minutes. Callers that need the same
//! missing key at once share a request. The price: after the key is taken away from a process, it can still use its
//! recent data keys for five minutes.

use std::{fmt, sync::Arc, time::Duration};

use quick_cache::sync::Cache;

use super::{DataKey, KeyBytes, RootKey, VaultFuture};
use crate::{
    clock::{Clock, Timestamp},
    error::{Error, Result},
    table::Key,
};

/// How many data keys are kept.
const CAPACITY: usize = 1000;

/// How long a data key is used after the root gave it out. If the process loses its access to the root, it
/// loses the keys no later than that.
const USED_FOR: Duration = Duration::from_secs(300);

/// How long a request waits for another one's answer. The root's own limit is shorter, but after a failure
/// the waiting requests ask one after the other.
const WAITS_FOR: Duration = Duration::from_secs(5);

/// Data keys by item and wrapped key. A wrapped key that was moved to another item is not found here, and the
/// root refuses it.
type DataKeyCache = Cache<(Key, String), KeptKey>;

#[derive(Clone)]
struct KeptKey {
    /// Behind a pointer, so that moving the entry leaves no copy of the key in memory.
    plain: Arc<KeyBytes>,
    at: Timestamp,
}

impl KeptKey {
    fn is_fresh(&self, now: Timestamp) -> bool {
        // If the clock was set back, the key does not become fresher.
        self.at <= now && now < self.at.plus(USED_FOR)
    }
}

/// A root that remembers up to 1,000 data keys. Each is used for up to 5 minutes.
pub struct Cached<R> {
    root: R,
    clock: Clock,
    kept: DataKeyCache,
}

impl<R: fmt::Debug> fmt::Debug for Cached<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cached").field("root", &self.root).finish_non_exhaustive()
    }
}

impl<R: RootKey> Cached<R> {
    pub fn new(root: R, clock: Clock) -> Self {
        Self { root, clock, kept: Cache::new(CAPACITY) }
    }

    async fn make(&self, item: &Key) -> Result<DataKey> {
        let at = self.clock.now();
        let made = self.root.new_data_key(item).await?;
        // A value is often opened soon after it was sealed.
        let plain = Arc::new(made.plain.clone());
        self.kept.insert((item.clone(), made.wrapped.clone()), KeptKey { plain, at });
        Ok(made)
    }

    async fn unwrap(&self, item: &Key, wrapped: &str) -> Result<KeyBytes> {
        let asked = (item.clone(), wrapped.to_owned());
        let at = self.clock.now();
        if let Some(kept) = self.kept.get(&asked).filter(|kept| kept.is_fresh(at)) {
            return Ok(KeyBytes::clone(&kept.plain));
        }
        // This costs little beside the request, and removes old keys even if they are never asked for again.
        self.kept.retain(|_, kept| kept.is_fresh(at));
        let answer = tokio::time::timeout(WAITS_FOR, self.kept.get_value_or_guard_async(&asked));
        match answer.await {
            Ok(Ok(kept)) => Ok(KeyBytes::clone(&kept.plain)),
            Ok(Err(asking)) => {
                let plain = Arc::new(self.root.unwrap_data_key(item, wrapped).await?);
                asking.insert(KeptKey { plain: Arc::clone(&plain), at }).ok();
                Ok(KeyBytes::clone(&plain))
            }
            Err(_) => Err(Error::unavailable("the root key does not answer those who ask for a data key")),
        }
    }
}

impl<R: RootKey> RootKey for Cached<R> {
    fn id(&self) -> &str {
        self.root.id()
    }

    fn new_data_key<'a>(&'a self, item: &'a Key) -> VaultFuture<'a, DataKey> {
        Box::pin(self.make(item))
    }

    fn unwrap_data_key<'a>(&'a self, item: &'a Key, wrapped: &'a str) -> VaultFuture<'a, KeyBytes> {
        Box::pin(self.unwrap(item, wrapped))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    use zeroize::Zeroizing;

    use super::*;
    use crate::{
        ids::UserId,
        vault::{KEY_BYTES, LocalRoot, Vault},
    };

    /// A root that counts its requests, takes time, and fails on demand.
    #[derive(Debug)]
    struct Counting {
        root: LocalRoot,
        made: AtomicU64,
        unwrapped: AtomicU64,
        is_gone: AtomicBool,
    }

    impl Counting {
        fn new() -> Arc<Self> {
            let root = LocalRoot::new(&Zeroizing::new([1; KEY_BYTES])).unwrap();
            Arc::new(Self {
                root,
                made: AtomicU64::new(0),
                unwrapped: AtomicU64::new(0),
                is_gone: AtomicBool::new(false),
            })
        }

        fn counts(&self) -> (u64, u64) {
            (self.made.load(Ordering::SeqCst), self.unwrapped.load(Ordering::SeqCst))
        }
    }

    impl RootKey for Arc<Counting> {
        fn id(&self) -> &str {
            self.root.id()
        }

        fn new_data_key<'a>(&'a self, item: &'a Key) -> VaultFuture<'a, DataKey> {
            self.made.fetch_add(1, Ordering::SeqCst);
            self.root.new_data_key(item)
        }

        fn unwrap_data_key<'a>(&'a self, item: &'a Key, wrapped: &'a str) -> VaultFuture<'a, KeyBytes> {
            Box::pin(async move {
                self.unwrapped.fetch_add(1, Ordering::SeqCst);
                tokio::task::yield_now().await;
                if self.is_gone.load(Ordering::SeqCst) {
                    return Err(Error::unavailable("gone"));
                }
                self.root.unwrap_data_key(item, wrapped).await
            })
        }
    }

    fn item(n: u128) -> Key {
        Key::user(UserId(uuid::Uuid::from_u128(n)))
    }

    struct Scenario {
        root: Arc<Counting>,
        clock: Clock,
        vault: Vault,
    }

    impl Scenario {
        fn set() -> Self {
            let (root, clock) = (Counting::new(), Clock::manual(Timestamp::from_seconds(1_000_000)));
            Self { vault: Self::process(&root, &clock), root, clock }
        }

        /// Another process with the same root.
        fn process(root: &Arc<Counting>, clock: &Clock) -> Vault {
            Vault::new(Arc::new(Cached::new(Arc::clone(root), clock.clone())), Vec::new())
        }
    }

    #[tokio::test]
    async fn a_value_that_is_opened_often_costs_one_request() {
        let Scenario { root, clock, vault } = Scenario::set();
        let sealed = vault.seal(&item(1), b"token").await.unwrap();
        let elsewhere = Scenario::process(&root, &clock);
        for _ in 0..10 {
            assert_eq!(&**elsewhere.open(&item(1), &sealed).await.unwrap().value, b"token");
        }
        assert_eq!(root.counts(), (1, 1));
    }

    #[tokio::test]
    async fn a_value_opens_without_a_request_where_it_was_sealed() {
        let Scenario { root, vault, .. } = Scenario::set();
        let sealed = vault.seal(&item(1), b"token").await.unwrap();
        vault.open(&item(1), &sealed).await.unwrap();
        assert_eq!(root.counts(), (1, 0));
    }

    #[tokio::test]
    async fn after_five_minutes_the_root_is_asked_again() {
        let Scenario { root, clock, vault } = Scenario::set();
        let sealed = vault.seal(&item(1), b"token").await.unwrap();
        clock.advance(Duration::from_millis(299_999));
        vault.open(&item(1), &sealed).await.unwrap();
        assert_eq!(root.counts(), (1, 0));
        clock.advance(Duration::from_millis(1));
        vault.open(&item(1), &sealed).await.unwrap();
        vault.open(&item(1), &sealed).await.unwrap();
        assert_eq!(root.counts(), (1, 1));
    }

    #[tokio::test]
    async fn a_root_that_is_taken_away_opens_nothing_after_five_minutes() {
        let Scenario { root, clock, vault } = Scenario::set();
        let sealed = vault.seal(&item(1), b"token").await.unwrap();
        root.is_gone.store(true, Ordering::SeqCst);
        vault.open(&item(1), &sealed).await.unwrap();
        clock.advance(USED_FOR);
        let refused = vault.open(&item(1), &sealed).await;
        assert!(matches!(refused, Err(Error::Unavailable { .. })), "{refused:?}");
        root.is_gone.store(false, Ordering::SeqCst);
        vault.open(&item(1), &sealed).await.unwrap();
    }

    #[tokio::test]
    async fn a_kept_data_key_does_not_open_a_value_that_was_moved_to_another_item() {
        let Scenario { vault, .. } = Scenario::set();
        let sealed = vault.seal(&item(1), b"token").await.unwrap();
        vault.open(&item(1), &sealed).await.unwrap();
        assert!(vault.open(&item(2), &sealed).await.is_err());
    }

    #[tokio::test]
    async fn those_who_miss_a_key_at_once_make_one_request() {
        let Scenario { root, clock, vault } = Scenario::set();
        let sealed = vault.seal(&item(1), b"token").await.unwrap();
        let elsewhere = Scenario::process(&root, &clock);
        let opened = futures::future::join_all((0..10).map(|_| async {
            let item = item(1);
            elsewhere.open(&item, &sealed).await.unwrap().value
        }));
        assert!(opened.await.iter().all(|value| &***value == b"token"));
        assert_eq!(root.counts(), (1, 1));
    }

    #[tokio::test]
    async fn one_who_gives_up_leaves_the_request_to_those_who_wait() {
        let Scenario { root, clock, vault } = Scenario::set();
        let sealed = vault.seal(&item(1), b"token").await.unwrap();
        let elsewhere = Scenario::process(&root, &clock);
        let key = item(1);
        let mut first = Box::pin(elsewhere.open(&key, &sealed));
        let mut second = Box::pin(elsewhere.open(&key, &sealed));
        assert!(futures::poll!(&mut first).is_pending() && futures::poll!(&mut second).is_pending());
        drop(first);
        assert_eq!(&**second.await.unwrap().value, b"token");
        assert_eq!(root.counts(), (1, 2));
    }

    #[tokio::test]
    async fn keys_that_nobody_uses_any_more_do_not_stay_in_memory() {
        let clock = Clock::manual(Timestamp::from_seconds(1_000_000));
        let cached = Cached::new(Counting::new(), clock.clone());
        let wrapped = cached.new_data_key(&item(1)).await.unwrap().wrapped;
        for n in 2..50 {
            cached.new_data_key(&item(n)).await.unwrap();
        }
        assert_eq!(cached.kept.len(), 49);
        clock.advance(USED_FOR);
        cached.unwrap_data_key(&item(1), &wrapped).await.unwrap();
        assert_eq!(cached.kept.len(), 1);
    }

    #[tokio::test]
    async fn the_memory_is_bounded() {
        let cached = Cached::new(Counting::new(), Clock::System);
        for n in 0..5 * CAPACITY as u128 {
            cached.new_data_key(&item(n)).await.unwrap();
        }
        assert!(cached.kept.len() <= CAPACITY, "{}", cached.kept.len());
    }
}
