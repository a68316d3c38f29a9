//! Whether arguments can be read in one way only, and are within bounds. Nothing of them is kept but, for a while, the
//! names of the objects that are being read: so a check takes a few times the memory of what it is about, and no more.

use std::{
    borrow::Cow,
    collections::{HashSet, hash_map::RandomState},
    fmt,
    hash::BuildHasher,
};

use deputize_api::reason::Reason;
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor},
};

use crate::error::{Error, Result, Told};

/// How many named values a call can have, and how many names an object can.
pub(super) const MAX_NAMES: usize = 1_000;
/// How deep values can nest.
pub(crate) const MAX_DEPTH: usize = 32;
/// The longest name in an object, in bytes.
const MAX_NAME: usize = 256;
/// The longest dotted name, in bytes.
pub(crate) const MAX_DOTTED_NAME: usize = 1_024;
/// The most bytes of all names together, without those in arrays.
const MAX_ALL_NAMES: usize = 64 * 1_024;

/// Refuses arguments that two readers could read differently, and arguments that are too large.
pub(super) fn check(text: &str) -> Result<()> {
    let mut tally = Tally::default();
    tally.read(text)?;
    // In one object, no two names are equal. So only names that contain dots can make two dotted names equal.
    if tally.has_dots {
        let mut tally = Tally { dotted: Some(Dotted::default()), ..Tally::default() };
        tally.read(text)?;
        if tally.dotted.is_some_and(|dotted| dotted.is_shared) {
            return Err(Error::Invalid(Told::of(
                Reason::ArgumentsRefused,
                "arguments: two values have the same dotted name",
            )));
        }
    }
    Ok(())
}

/// What has been read so far.
#[derive(Default)]
struct Tally {
    /// The number of names outside of arrays, and their bytes.
    names: usize,
    bytes: usize,
    /// Whether a name outside of arrays contains a dot.
    has_dots: bool,
    /// The dotted names, if they must be compared.
    dotted: Option<Dotted>,
}

/// Dotted names by their hashes. The names themselves would repeat their beginnings.
#[derive(Default)]
struct Dotted {
    hashes: HashSet<u64>,
    hasher: RandomState,
    /// The dotted name that is being read.
    name: String,
    is_shared: bool,
}

impl Tally {
    fn read(&mut self, text: &str) -> Result<()> {
        let mut json = serde_json::Deserializer::from_str(text);
        let read = Inside { tally: self, place: Some(Place::default()) }.deserialize(&mut json);
        read.and_then(|()| json.end()).map_err(super::unread)
    }

    /// Records a name at a place. Returns the place of what is inside its value.
    fn enter(&mut self, name: &str, at: Place) -> Result<Place, String> {
        let bytes = at.bytes + name.len() + 1;
        let inside = Place { depth: at.depth + 1, bytes };
        if bytes > MAX_DOTTED_NAME + 1 {
            return Err(format!("a dotted name is longer than {MAX_DOTTED_NAME} bytes"));
        }
        self.names += 1;
        self.bytes += name.len();
        if self.names > MAX_NAMES || inside.depth > MAX_DEPTH {
            return Err(format!("more than {MAX_NAMES} values, or nested deeper than {MAX_DEPTH}"));
        }
        if self.bytes > MAX_ALL_NAMES {
            return Err(format!("the names together are longer than {MAX_ALL_NAMES} bytes"));
        }
        self.has_dots = self.has_dots || name.contains('.');
        if let Some(dotted) = &mut self.dotted {
            if at.depth > 0 {
                dotted.name.push('.');
            }
            dotted.name.push_str(name);
            let hash = dotted.hasher.hash_one(&dotted.name);
            dotted.is_shared |= !dotted.hashes.insert(hash);
        }
        Ok(inside)
    }
}

/// The place of a value that is not inside an array.
#[derive(Clone, Copy, Default)]
struct Place {
    depth: usize,
    /// The bytes of its dotted name and one dot.
    bytes: usize,
}

/// Reads a value.
struct Inside<'t> {
    tally: &'t mut Tally,
    place: Option<Place>,
}

impl<'de> DeserializeSeed<'de> for Inside<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Inside<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while let Some(()) = seq.next_element_seed(Inside { tally: &mut *self.tally, place: None })? {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut names = Vec::new();
        while let Some(Name(name)) = map.next_key()? {
            if name.len() > MAX_NAME {
                return Err(A::Error::custom(format_args!("a name is longer than {MAX_NAME} bytes")));
            }
            if names.len() == MAX_NAMES {
                return Err(A::Error::custom(format_args!("more than {MAX_NAMES} names in one object")));
            }
            let before = self.tally.dotted.as_ref().map_or(0, |dotted| dotted.name.len());
            let place = self.place.map(|place| self.tally.enter(&name, place)).transpose();
            let place = place.map_err(A::Error::custom)?;
            map.next_value_seed(Inside { tally: &mut *self.tally, place })?;
            if let Some(dotted) = &mut self.tally.dotted {
                dotted.name.truncate(before);
            }
            names.push(name);
        }
        require_distinct(&mut names).map_err(A::Error::custom)
    }
}

/// A name, borrowed where it holds no escapes.
#[derive(Deserialize)]
pub(super) struct Name<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

/// Requires that no two names of an object are equal. Those that differ in case are for policies to judge.
fn require_distinct(names: &mut [Cow<'_, str>]) -> Result<(), &'static str> {
    names.sort_unstable();
    let twice = names.windows(2).any(|pair| pair[0] == pair[1]);
    if twice { Err("a name occurs twice in one object") } else { Ok(()) }
}
