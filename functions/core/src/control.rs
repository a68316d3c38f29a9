//! The control item: version numbers of what processes keep in memory.
//!
//! It says which version of the policies and of the signing keys is in force. Every call reads it together with
//! everything else. What is in memory is used only if it is not older, so it is never staler than the process's last
//! read.
//!
//! One partition would limit the whole deployment to 3,000 calls a second. So there are 16 copies: a change writes all
//! of them in one transaction, and a call reads any one.
//!
//! With each version comes a digest of everything that is in force by it, independent of order. DynamoDB shows the
//! items of a transaction under way one by one, and a query is no snapshot. Without the digest, a process could read
//! old policies, take them for the new version, and keep them until the next one. So a process uses what it has read
//! only if the digest matches; otherwise it reads again. If the digest still differs after 2 s, nothing is decided by
//! it: the answer is 503, until a change puts in force what is there.
//!
//! A process that starts reads the policies and the signing keys in one round trip each, since the call has already
//! seen their versions and digests.

use std::{fmt, time::Duration};

use aws_lc_rs::digest::{Context, SHA256};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use tokio::time::{Instant, sleep};

use crate::{
    Core,
    error::{Error, Result},
    table::{Backoff, Change, CommitError, Entity, Key, Stored},
};

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Control {
    /// Increased by every change of a policy.
    pub policies_version: u64,
    /// How many policies there are.
    pub policies: usize,
    /// The digest of the policies of this version. Absent if they were last changed before digests existed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policies_digest: Option<Digest>,
    /// The digest of those of this version that are in mode `log`. Absent if they were last changed by a process that
    /// did not know the mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logged_policies_digest: Option<Digest>,
    /// Increased by every change of the signing keys.
    pub keys_version: u64,
    /// The digest of the signing keys of this version; absent likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys_digest: Option<Digest>,
}

impl Entity for Control {
    const KIND: &'static str = "control versions";
}

impl Control {
    /// The key of a randomly chosen copy, to spread the reads.
    pub fn any_key(core: &Core) -> Result<Key> {
        Ok(Key::control(core.random.bytes::<1>()?[0]))
    }

    pub async fn read(core: &Core) -> Result<Stored<Self>> {
        core.table.read_one(Key::control(0)).await?.ok_or_else(missing)
    }

    pub(crate) fn version_of_policies(&self) -> Version {
        let (digest, aside) = (self.policies_digest, self.logged_policies_digest);
        Version { number: self.policies_version, digest, aside }
    }

    pub(crate) fn version_of_keys(&self) -> Version {
        Version { number: self.keys_version, digest: self.keys_digest, aside: None }
    }

    /// The next version of the policies, with their new number and digest. Those in mode `log` stay as they are.
    #[must_use]
    pub fn with_policies(&self, policies: usize, digest: Option<Digest>) -> Self {
        let policies_version = self.policies_version + 1;
        Self { policies_version, policies, policies_digest: digest, ..self.clone() }
    }

    /// The next version of the policies: these.
    #[must_use]
    pub(crate) fn with_all_policies<T: InForce>(&self, all: &[T]) -> Self {
        let digest = |decide: bool| Digest::of(all.iter().filter(|policy| policy.decides() == decide));
        let next = self.with_policies(all.len(), Some(digest(true)));
        Self { logged_policies_digest: Some(digest(false)), ..next }
    }

    /// The next version of the signing keys, with their new digest.
    #[must_use]
    pub fn with_keys(&self, digest: Digest) -> Self {
        Self { keys_version: self.keys_version + 1, keys_digest: Some(digest), ..self.clone() }
    }

    /// Adds to a change the writing of all copies, if they are as they were read.
    pub fn replace(&self, change: &mut Change, read_at: u64) -> Result<()> {
        for copy in 0..Key::CONTROL_COPIES {
            change.replace(Key::control(copy), self, read_at)?;
        }
        Ok(())
    }

    /// Adds to a change the creation of all copies.
    pub fn create(&self, change: &mut Change) -> Result<()> {
        for copy in 0..Key::CONTROL_COPIES {
            change.create(Key::control(copy), self)?;
        }
        Ok(())
    }
}

/// A digest of everything in force: the XOR of its parts' SHA-256 hashes, so it does not depend on their
/// order.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of one part, over all fields that matter.
    pub(crate) fn of_part(fields: &[&[u8]]) -> Self {
        let mut context = Context::new(&SHA256);
        for field in fields {
            context.update(&(field.len() as u64).to_be_bytes());
            context.update(field);
        }
        let mut digest = [0; 32];
        digest.copy_from_slice(context.finish().as_ref());
        Self(digest)
    }

    pub(crate) fn of<'a, T: InForce + 'a>(all: impl IntoIterator<Item = &'a T>) -> Self {
        all.into_iter().fold(Self::default(), |sum, part| sum.flip(part.digest()))
    }

    /// The digests of what decides and of what does not.
    fn of_both<T: InForce>(all: &[Stored<T>]) -> (Self, Self) {
        let of =
            |decide: bool| Self::of(all.iter().map(|part| &**part).filter(|part| part.decides() == decide));
        (of(true), of(false))
    }

    /// Adds this part if it was not included, and removes it if it was.
    #[must_use]
    pub(crate) fn flip(self, part: Self) -> Self {
        let mut sum = self.0;
        for (to, from) in sum.iter_mut().zip(part.0) {
            *to ^= from;
        }
        Self(sum)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut digest = [0; 32];
        let mut digits = text.as_bytes().chunks_exact(2);
        for byte in &mut digest {
            let pair = digits.next().and_then(|pair| std::str::from_utf8(pair).ok());
            let pair = pair.and_then(|pair| u8::from_str_radix(pair, 16).ok());
            *byte = pair.ok_or_else(|| de::Error::custom("not 64 hexadecimal digits"))?;
        }
        if text.len() == 64 { Ok(Self(digest)) } else { Err(de::Error::custom("not 64 hexadecimal digits")) }
    }
}

/// A version of what is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    pub(crate) number: u64,
    digest: Option<Digest>,
    /// The digest of what does not decide.
    aside: Option<Digest>,
}

/// What a version puts in force. Processes keep all of it in memory.
pub(crate) trait InForce: Sized {
    const WHAT: &'static str;

    fn digest(&self) -> Digest;

    /// Whether it decides anything. What does not is kept by the same version, under a digest of its own: processes that
    /// do not know of it compare the other one.
    fn decides(&self) -> bool {
        true
    }

    fn version(control: &Control) -> Version;

    /// All items, as DynamoDB shows them.
    fn all(core: &Core) -> impl Future<Output = Result<Vec<Stored<Self>>>> + Send;
}

/// All items in force, as they were read.
struct LoadedVersion<T> {
    version: Version,
    all: Vec<Stored<T>>,
    /// Whether they are known to be those of the version.
    is_certain: bool,
}

/// How long to wait for one transaction that is under way, and for several, one after the other.
const UNDER_WAY: Duration = Duration::from_secs(2);
const ONE_AFTER_THE_OTHER: Duration = Duration::from_secs(10);

/// Reads all items in force by the version that was seen, or by a newer one. The digest decides. The control
/// item is read again only if its digest differs from that of the items. Without a digest, the version must
/// be the same before and after.
async fn find<T: InForce>(core: &Core, seen: Version) -> Result<LoadedVersion<T>> {
    let mut version = seen;
    let started = Instant::now();
    let mut since = started;
    let mut backoff = Backoff::for_contention();
    loop {
        let all = T::all(core).await?;
        let (digest, aside) = Digest::of_both(&all);
        let has_all_aside = |version: Version| version.aside.is_none_or(|said| said == aside);
        if version.digest == Some(digest) && has_all_aside(version) {
            return Ok(LoadedVersion { version, all, is_certain: true });
        }
        let now = T::version(&*Control::read(core).await?);
        let is_certain = match now.digest {
            Some(said) => said == digest,
            None => now.number == version.number,
        };
        if now.number != version.number {
            since = Instant::now();
        }
        let is_over = since.elapsed() > UNDER_WAY || started.elapsed() > ONE_AFTER_THE_OTHER;
        // What does not decide is no reason to decide nothing.
        if is_over || (is_certain && has_all_aside(now)) {
            return Ok(LoadedVersion { version: now, all, is_certain });
        }
        version = now;
        sleep(backoff.next()?.unwrap_or(UNDER_WAY)).await;
    }
}

/// Reads all items in force by the version that was seen, or by a newer one, and requires that they are
/// certain.
pub(crate) async fn in_force<T: InForce>(core: &Core, seen: Version) -> Result<(u64, Vec<Stored<T>>)> {
    let LoadedVersion { version, all, is_certain } = find::<T>(core, seen).await?;
    if is_certain {
        return Ok((version.number, all));
    }
    // Items that no change has put in force must not decide.
    tracing::error!(
        version = version.number,
        "the {} in the table are not those that the control item speaks of, so none is used: were they changed by \
         hand? A change of one by the API puts in force what is there",
        T::WHAT
    );
    Err(Error::unavailable(format!("the {} are not those of their version", T::WHAT)))
}

/// The control item and all items in force by it, in order to change them.
pub(crate) async fn to_change<T: InForce>(
    core: &Core,
) -> Result<(Stored<Control>, Vec<Stored<T>>), CommitError> {
    let control = Control::read(core).await?;
    let LoadedVersion { version, all, is_certain } = find::<T>(core, T::version(&control)).await?;
    if version.number != T::version(&control).number {
        return Err(CommitError::ConditionFailed);
    }
    if !is_certain {
        tracing::warn!(
            version = version.number,
            "the {} in the table are not those that the control item speaks of; what is there is put in force",
            T::WHAT
        );
    }
    Ok((control, all))
}

pub(crate) fn missing() -> Error {
    Error::NotBootstrapped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(text: &str) -> Digest {
        Digest::of_part(&[text.as_bytes(), b"x"])
    }

    #[test]
    fn a_digest_has_no_order_and_loses_what_is_taken_out() {
        let both = Digest::default().flip(part("a")).flip(part("b"));
        assert_eq!(both, Digest::default().flip(part("b")).flip(part("a")));
        assert_eq!(both.flip(part("a")), Digest::default().flip(part("b")));
        assert_ne!(both, Digest::default());
    }

    #[test]
    fn what_is_one_field_is_not_two() {
        assert_ne!(Digest::of_part(&[b"ab", b"c"]), Digest::of_part(&[b"a", b"bc"]));
    }

    #[test]
    fn a_digest_reads_back_what_it_writes_and_nothing_else() {
        let text = serde_json::to_string(&part("a")).unwrap();
        assert_eq!(serde_json::from_str::<Digest>(&text).unwrap(), part("a"));
        for wrong in ["", "0", &"0".repeat(63), &"0".repeat(66), &"g".repeat(64), &"é".repeat(32)] {
            assert!(serde_json::from_str::<Digest>(&format!("\"{wrong}\"")).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_control_item_from_before_digests_is_one_without() {
        let old: Control =
            serde_json::from_str(r#"{"policies_version":3,"policies":2,"keys_version":1}"#).unwrap();
        assert_eq!(old.version_of_policies(), Version { number: 3, digest: None, aside: None });
        assert_eq!(
            serde_json::to_string(&old).unwrap(),
            r#"{"policies_version":3,"policies":2,"keys_version":1}"#
        );
    }
}
