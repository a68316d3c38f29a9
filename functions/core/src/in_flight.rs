//! How many bytes of bodies a process holds at the same time, of requests and of MCP servers' answers.
//!
//! Each body has a bound of its own. Without one for all of them together, many callers at once could take all of a
//! machine's memory. What comes beyond the bound is refused, not made to wait: those who wait hold what they have sent so
//! far, so that all could wait for each other.
//!
//! Only bytes that have come count. An announced length does not: a caller could announce much, send nothing, and so keep
//! all others out.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;

/// The most bytes in flight, unless a process is told another number: 256 bodies of the largest size.
pub const MAX_IN_FLIGHT: usize = 1024 * 1024 * 1024;

/// The room for bodies that a process has. Clones are the same room.
#[derive(Clone, Debug)]
pub struct InFlight(Arc<Room>);

#[derive(Debug)]
struct Room {
    most: usize,
    taken: AtomicUsize,
}

impl Default for InFlight {
    fn default() -> Self {
        Self::at_most(MAX_IN_FLIGHT)
    }
}

/// There is no room for more bytes now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("more bytes are in flight than there is room for")]
pub struct NoRoom;

impl InFlight {
    /// Room for this many bytes.
    pub fn at_most(most: usize) -> Self {
        Self(Arc::new(Room { most, taken: AtomicUsize::new(0) }))
    }

    /// How many bytes are in flight now.
    pub fn taken(&self) -> usize {
        self.0.taken.load(Ordering::Relaxed)
    }

    /// Whether so many more bytes would have room now.
    pub fn has_room_for(&self, bytes: usize) -> bool {
        self.taken().checked_add(bytes).is_some_and(|taken| taken <= self.0.most)
    }

    /// The room that one body takes: none yet.
    pub fn of_one_body(&self) -> TakenRoom {
        TakenRoom { room: self.clone(), bytes: 0 }
    }

    fn take(&self, bytes: usize) -> Result<(), NoRoom> {
        let taken = self.0.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |taken| {
            taken.checked_add(bytes).filter(|taken| *taken <= self.0.most)
        });
        taken.map(drop).map_err(|_| NoRoom)
    }
}

/// The room that a body takes. It is given back when this is dropped.
#[derive(Debug)]
pub struct TakenRoom {
    room: InFlight,
    bytes: usize,
}

impl TakenRoom {
    /// Takes room for more bytes.
    pub fn grow(&mut self, bytes: usize) -> Result<(), NoRoom> {
        self.room.take(bytes)?;
        self.bytes += bytes;
        Ok(())
    }

    /// The whole body. It takes its room until the last part of it is dropped.
    pub fn filled_by(self, body: impl AsRef<[u8]> + Send + 'static) -> Bytes {
        Bytes::from_owner(Held { body, _room: self })
    }
}

impl Drop for TakenRoom {
    fn drop(&mut self) {
        self.room.0.taken.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A body in the room that it takes.
struct Held<B> {
    body: B,
    _room: TakenRoom,
}

impl<B: AsRef<[u8]>> AsRef<[u8]> for Held<B> {
    fn as_ref(&self) -> &[u8] {
        self.body.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_takes_its_room_until_its_last_part_is_dropped() {
        let in_flight = InFlight::at_most(10);
        let mut room = in_flight.of_one_body();
        room.grow(4).unwrap();
        room.grow(2).unwrap();
        let body = room.filled_by("abcdef");
        let part = body.slice(1..2);
        drop(body);
        assert_eq!((in_flight.taken(), &*part), (6, &b"b"[..]));
        drop(part);
        assert_eq!(in_flight.taken(), 0);
    }

    #[test]
    fn what_finds_no_room_takes_none() {
        let in_flight = InFlight::at_most(10);
        let (mut one, mut other) = (in_flight.of_one_body(), in_flight.of_one_body());
        one.grow(6).unwrap();
        assert_eq!(other.grow(5), Err(NoRoom));
        assert_eq!(other.grow(usize::MAX), Err(NoRoom));
        assert_eq!(
            (in_flight.taken(), in_flight.has_room_for(4), in_flight.has_room_for(5)),
            (6, true, false)
        );
        drop(one);
        other.grow(10).unwrap();
        drop(other);
        assert_eq!(in_flight.taken(), 0);
    }
}
