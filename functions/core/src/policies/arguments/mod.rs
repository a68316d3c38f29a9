//! A tool call's arguments as policies see them: names to texts and integers.
//!
//! The policies must judge what the server gets.
//!
//! - **Names that readers could resolve differently are refused** ([`unambiguous`]): a name that occurs twice in an object,
//!   or `{"a.b": 1}` beside `{"a": {"b": 2}}`, which would share a name. The policy could read one value and the server
//!   another. The answer is a 400.
//! - **Two names that differ in case** are two arguments to most servers (`PATH` and `Path` of an environment), and one
//!   to a server that ignores case, of which it takes either value. So they are two by one [`Reading`], and by the other
//!   a value that is [`Unreadable`]. Only a policy that comes to read it refuses the call.
//! - **Another way of writing a value changes nothing.** A number is judged by its digits: `11.0` and `1.1e1` are the
//!   integer 11, and the text `11`. Objects and arrays have a tag of their own name, so `hasTag("force")` is true of
//!   `{"force": {}}`.
//! - **A value in another type is [`Unreadable`].** A server may make an integer of `"11"`, take an element of an
//!   array, or parse JSON in a text. So a value is unreadable where a policy reads an integer and it is no integer of
//!   64 bits. It is also unreadable where a policy compares a text and it is an array, an object, text that holds one,
//!   or a number beyond 64 bits; and where a policy reads something in it and it is no object. A policy that comes to
//!   read such a value refuses the call (`policies::reads`).
//! - **Arguments that a server may read in two ways are judged by each [`Reading`],** and all must permit. One kind is
//!   an argument whose name differs from a policy's only in case (`Org` for `org`). The other is an integer that a
//!   floating-point number cannot hold (9007199254740993, of which JavaScript makes …992). One reading alone could be
//!   evaded: a ban on `org` by `Org` at a server that ignores case, a permission that depends on `org` by `Org` at a
//!   server that does not. A call with the policies' own names is judged once. [`crate::case_folding`] says which names count
//!   as one.
//! - **Only what policies read is kept** ([`Reads`]). Arguments are checked in one pass that keeps only the names of
//!   the objects that are open. So the memory for judging is a few times the body, which a fuzz target checks with an
//!   allocator that counts. Names are bounded, alone and together. A list is judged entry by entry, and other requests
//!   get their turn between two entries.

mod number;
mod unambiguous;

use std::{
    borrow::Cow,
    collections::{HashMap, hash_map::Entry},
    fmt,
};

use deputize_api::reason::Reason;
use serde::{
    Deserializer,
    de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor},
};
use serde_json::value::RawValue;

pub(crate) use self::unambiguous::{MAX_DEPTH, MAX_DOTTED_NAME};
use self::{number::Number, unambiguous::Name};
use crate::{
    case_folding::folded,
    error::{Error, Result, Told},
    policies::{Read, Reads, Uses},
    wording,
};

/// The arguments that policies read, with their values.
#[derive(Debug, Default)]
pub(crate) struct Arguments<'p> {
    found: Vec<MatchedArgument<'p>>,
}

/// An argument that policies read, or in which they read something.
#[derive(Debug)]
struct MatchedArgument<'p> {
    /// Its dotted name as the caller wrote it.
    name: String,
    read: &'p Read,
    value: Value,
    /// Whether it is alone with its name, in whatever case.
    twins: Twins,
}

/// Whether other arguments have the same name but for its case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Twins {
    None,
    /// It stands for all of them where case is ignored.
    First,
    /// Another one does.
    Other,
}

/// A way in which a server may read arguments. All readings must permit a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reading {
    /// Names match in any case.
    any_case: bool,
    /// Numbers are 64-bit floating-point numbers.
    floats: bool,
}

/// What policies can read, by one reading.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tags<'a> {
    pub(crate) texts: Vec<(&'a str, Cow<'a, str>)>,
    pub(crate) integers: Vec<(&'a str, i64)>,
    pub(crate) unreadable: Vec<Unreadable<'a>>,
}

/// A value whose type is not the one that policies read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unreadable<'a> {
    /// The name that policies read.
    pub(crate) name: &'a str,
    pub(crate) wanted: Wanted,
    /// The argument's name as the caller wrote it, and the kind of its value.
    argument: &'a str,
    is: &'static str,
}

/// The type that policies read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    Text,
    Integer,
    /// An object that contains a text or an integer.
    Object,
}

impl Reading {
    pub(crate) const ALL: [Self; 4] = [
        Self { any_case: false, floats: false },
        Self { any_case: true, floats: false },
        Self { any_case: false, floats: true },
        Self { any_case: true, floats: true },
    ];

    /// The condition on which a denial by this reading depends.
    pub(crate) fn caveat(self) -> &'static str {
        match (self.any_case, self.floats) {
            (false, false) => "",
            (true, false) => ", if the server ignores the case of the arguments' names",
            (false, true) => ", if the server reads numbers as floating-point ones",
            (true, true) => {
                ", if the server ignores the case of the arguments' names and reads numbers as floating-point ones"
            }
        }
    }
}

impl<'p> Arguments<'p> {
    /// Reads arguments as they came: a JSON object, or `null` for none.
    pub(crate) fn read(raw: &RawValue, reads: &'p Reads) -> Result<Self> {
        unambiguous::check(raw.get())?;
        let mut arguments = Self::default();
        match Kind::of(raw) {
            Kind::Object if reads.is_empty() => {}
            Kind::Object => {
                Search { reads, path: &mut Path::default(), found: &mut arguments.found }.into(raw)?;
                arguments.find_twins();
            }
            Kind::Null => {}
            _ => {
                return Err(Error::Invalid(Told::of(
                    Reason::ArgumentsRefused,
                    "arguments must be an object",
                )));
            }
        }
        Ok(arguments)
    }

    /// Notes which arguments are called the same but for their case: policies' names have one [`Read`] for all cases.
    fn find_twins(&mut self) {
        let mut seen: HashMap<*const Read, usize> = HashMap::with_capacity(self.found.len());
        for at in 0..self.found.len() {
            match seen.entry(std::ptr::from_ref(self.found[at].read)) {
                Entry::Vacant(first) => _ = first.insert(at),
                Entry::Occupied(first) => {
                    self.found[*first.get()].twins = Twins::First;
                    self.found[at].twins = Twins::Other;
                }
            }
        }
    }

    /// What policies can read by this reading. `None` if it is the same as by [`Reading::default`].
    pub(crate) fn tags(&self, reading: Reading) -> Option<Tags<'_>> {
        let Reading { any_case, floats } = reading;
        if any_case && !self.found.iter().any(MatchedArgument::has_another_case)
            || floats && !self.found.iter().any(|found| found.value.rounded().is_some())
        {
            return None;
        }
        let mut tags = Tags::default();
        for found in &self.found {
            found.add_to(&mut tags, reading);
        }
        Some(tags)
    }
}

impl MatchedArgument<'_> {
    /// Whether its name differs in case from the name in a policy, or from the beginning of such a name.
    fn has_another_case(&self) -> bool {
        let is_other = |name: &&String| **name != self.name;
        self.read.names.keys().any(|name| is_other(&name))
            || self.read.inner.iter().any(|name| !self.leads_to(name))
    }

    /// Whether a dotted name begins with this name.
    fn leads_to(&self, name: &str) -> bool {
        name.strip_prefix(&*self.name).is_some_and(|rest| rest.starts_with('.'))
    }

    fn add_to<'a>(&'a self, tags: &mut Tags<'a>, reading: Reading) {
        match self.twins {
            Twins::First if reading.any_case => return self.add_as_unclear(tags),
            Twins::Other if reading.any_case => return,
            _ => {}
        }
        let rounded = if reading.floats { self.value.rounded() } else { None };
        let value = rounded.as_ref().unwrap_or(&self.value);
        let text = || match &rounded {
            Some(rounded) => rounded.text().map(|text| Cow::Owned(text.into_owned())),
            None => self.value.text(),
        };
        let unreadable =
            |name, wanted| Unreadable { name, wanted, argument: &self.name, is: value.kind_in_words() };
        let names = self.read.names.iter().filter(|(name, _)| reading.any_case || **name == self.name);
        for (name, Uses { as_text, as_integer }) in names {
            if *as_text {
                match text() {
                    Some(text) => tags.texts.push((name, text)),
                    // It exists, whatever its value is: `hasTag` is true.
                    None => {
                        tags.texts.push((name, Cow::Borrowed("")));
                        tags.unreadable.push(unreadable(name, Wanted::Text));
                    }
                }
            }
            if *as_integer {
                match value {
                    Value::Integer(integer) => tags.integers.push((name, *integer)),
                    _ => tags.unreadable.push(unreadable(name, Wanted::Integer)),
                }
            }
        }
        if !matches!(value, Value::Object) {
            let inner = self.read.inner.iter().filter(|name| reading.any_case || self.leads_to(name));
            tags.unreadable.extend(inner.map(|name| unreadable(name, Wanted::Object)));
        }
    }
}

impl MatchedArgument<'_> {
    /// For a server that ignores case, it has one of several values: it is there, and nothing can be read of it or in it.
    fn add_as_unclear<'a>(&'a self, tags: &mut Tags<'a>) {
        let unreadable = |name, wanted| Unreadable { name, wanted, argument: &self.name, is: UNCLEAR };
        for (name, Uses { as_text, as_integer }) in &self.read.names {
            if *as_text {
                tags.texts.push((name, Cow::Borrowed("")));
                tags.unreadable.push(unreadable(name, Wanted::Text));
            }
            if *as_integer {
                tags.unreadable.push(unreadable(name, Wanted::Integer));
            }
        }
        tags.unreadable.extend(self.read.inner.iter().map(|name| unreadable(name, Wanted::Object)));
    }
}

/// What an argument is that has twins.
const UNCLEAR: &str = "one of several whose names differ only in case";

impl fmt::Display for Unreadable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, wanted, argument, is } = self;
        match wanted {
            Wanted::Text => write!(f, "compares the argument `{argument}` as text, but it is {is}"),
            Wanted::Integer => write!(f, "reads the argument `{argument}` as an integer, but it is {is}"),
            Wanted::Object if *is == UNCLEAR => {
                write!(f, "reads `{name}`, but the argument `{argument}` is {is}")
            }
            Wanted::Object => {
                write!(f, "reads `{name}`, but the argument `{argument}` is {is} and no object")
            }
        }
    }
}

/// A value, as far as policies can distinguish it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    Text(String),
    Integer(i64),
    /// Its text.
    Fraction(String),
    /// A number that does not fit into 64 bits.
    Beyond,
    Bool(bool),
    Null,
    Array,
    Object,
}

impl Value {
    fn of(raw: &RawValue) -> Result<Self> {
        Ok(match Kind::of(raw) {
            Kind::Text => Self::Text(serde_json::from_str(raw.get()).map_err(unread)?),
            Kind::Number => match Number::of(raw.get()) {
                Number::Integer(integer) => Self::Integer(integer),
                Number::Fraction(text) => Self::Fraction(text),
                Number::Beyond => Self::Beyond,
            },
            Kind::Bool(value) => Self::Bool(value),
            Kind::Null => Self::Null,
            Kind::Array => Self::Array,
            Kind::Object => Self::Object,
        })
    }

    /// What a reader of floating-point numbers sees, if that differs.
    fn rounded(&self) -> Option<Self> {
        let Self::Integer(integer) = self else { return None };
        match Number::rounded(*integer) {
            Number::Integer(same) if same == *integer => None,
            Number::Integer(other) => Some(Self::Integer(other)),
            Number::Fraction(_) | Number::Beyond => Some(Self::Beyond),
        }
    }

    /// The text that policies compare it as.
    fn text(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Text(text) if holds_json(text) => None,
            Self::Text(text) | Self::Fraction(text) => Some(text.into()),
            Self::Integer(integer) => Some(integer.to_string().into()),
            Self::Bool(value) => Some(if *value { "true" } else { "false" }.into()),
            Self::Null => Some("null".into()),
            Self::Beyond | Self::Array | Self::Object => None,
        }
    }

    fn kind_in_words(&self) -> &'static str {
        match self {
            Self::Text(text) if holds_json(text) => "text with JSON in it",
            Self::Text(_) => "text",
            Self::Integer(_) => "a number",
            Self::Fraction(_) => "a number with a fraction",
            Self::Beyond => "a number beyond 64 bits",
            Self::Bool(_) => "true or false",
            Self::Null => "null",
            Self::Array => "an array",
            Self::Object => "an object",
        }
    }
}

/// Whether a server that reads JSON in text (FastMCP does) would see an array or an object. Such readers
/// accept more than JSON, so brackets are enough.
pub(crate) fn holds_json(text: &str) -> bool {
    let text = text.trim_matches(|letter: char| letter.is_whitespace() || letter == '\u{feff}');
    text.starts_with('[') && text.ends_with(']') || text.starts_with('{') && text.ends_with('}')
}

/// The kind of a JSON text. Its first character tells it.
enum Kind {
    Text,
    Number,
    Bool(bool),
    Null,
    Array,
    Object,
}

impl Kind {
    fn of(raw: &RawValue) -> Self {
        // A raw value has no white space around it.
        match raw.get().as_bytes().first() {
            Some(b'"') => Self::Text,
            Some(b't') => Self::Bool(true),
            Some(b'f') => Self::Bool(false),
            Some(b'[') => Self::Array,
            Some(b'{') => Self::Object,
            Some(b'n') | None => Self::Null,
            Some(_) => Self::Number,
        }
    }
}

/// The dotted name of the object that is being searched.
#[derive(Default)]
struct Path {
    written: String,
    folded: String,
    depth: usize,
}

impl Path {
    /// Appends a name in the object. The two lengths restore the path.
    fn enter(&mut self, name: &str) -> (usize, usize) {
        let back = (self.written.len(), self.folded.len());
        if self.depth > 0 {
            self.written.push('.');
            self.folded.push('.');
        }
        self.written.push_str(name);
        self.folded.push_str(&folded(name));
        self.depth += 1;
        back
    }

    fn leave(&mut self, (written, folded): (usize, usize)) {
        self.written.truncate(written);
        self.folded.truncate(folded);
        self.depth -= 1;
    }
}

/// Searches an object for what policies read. Enters only the objects in which policies read something.
struct Search<'s, 'p> {
    reads: &'p Reads,
    path: &'s mut Path,
    found: &'s mut Vec<MatchedArgument<'p>>,
}

impl Search<'_, '_> {
    fn into(self, raw: &RawValue) -> Result<()> {
        self.deserialize(&mut serde_json::Deserializer::from_str(raw.get())).map_err(unread)
    }
}

impl<'de> DeserializeSeed<'de> for Search<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Search<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { reads, path, found } = self;
        while let Some(Name(name)) = map.next_key()? {
            let back = path.enter(&name);
            match reads.of(&path.folded) {
                Some(read) => {
                    let raw = map.next_value::<&RawValue>()?;
                    let value = Value::of(raw).map_err(serde::de::Error::custom)?;
                    let is_object = value == Value::Object;
                    let (name, twins) = (path.written.clone(), Twins::None);
                    found.push(MatchedArgument { name, read, value, twins });
                    if is_object && !read.inner.is_empty() {
                        let inner = Search { reads, path: &mut *path, found: &mut *found };
                        inner.into(raw).map_err(serde::de::Error::custom)?;
                    }
                }
                None => drop(map.next_value::<IgnoredAny>()?),
            }
            path.leave(back);
        }
        Ok(())
    }
}

/// That it can be read has been checked.
fn unread(error: serde_json::Error) -> Error {
    Error::Invalid(Told::of(Reason::ArgumentsRefused, wording::of_json("arguments", &error)).because(error))
}

#[cfg(test)]
mod tests;
