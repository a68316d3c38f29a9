//! The connections of clients: how many there may be, and how long each may take over what it sends.
//!
//! A client that opens a connection and says nothing, or half of a request's head, costs memory and a file descriptor. It
//! is disconnected after a while, and at once if others need its place. The time for a request's body is the edge's
//! (`deputize_service::extract`), and that for its work the handler's.

use std::{
    collections::BTreeMap,
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use hyper::body::{Body, Frame, SizeHint};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::Notify,
    time::{Instant, sleep_until},
};

/// How many connections there may be, and how long one may take.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionLimits {
    /// How many there are at most. One more takes the place of the one that has been without a request for longest. If
    /// all have requests, it waits.
    pub most: usize,
    /// For a request's line and headers, from their first byte on.
    pub head: Duration,
    /// Between two requests, and before the first.
    pub idle: Duration,
    /// How long a client may take nothing of its answer.
    pub stalled: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            most: 512,
            head: Duration::from_secs(10),
            // Longer than the clients that are in use keep a connection, so that they are the ones who close it.
            idle: Duration::from_mins(2),
            stalled: Duration::from_mins(1),
        }
    }
}

/// All connections that are open.
#[derive(Debug)]
pub(crate) struct Connections {
    limits: ConnectionLimits,
    open: Mutex<BTreeMap<u64, Arc<Activity>>>,
    next: AtomicU64,
    /// One was closed, or is without a request now.
    place: Notify,
}

impl Connections {
    pub(crate) fn new(limits: ConnectionLimits) -> Arc<Self> {
        Arc::new(Self { limits, open: Mutex::default(), next: AtomicU64::new(0), place: Notify::new() })
    }

    /// Takes a place for a new connection, or waits for one.
    pub(crate) async fn enter(self: &Arc<Self>) -> Connection {
        loop {
            if let Some(connection) = self.try_enter() {
                return connection;
            }
            self.place.notified().await;
        }
    }

    fn try_enter(self: &Arc<Self>) -> Option<Connection> {
        let mut open = locked(&self.open);
        if open.len() >= self.limits.most {
            let waiting = open.iter().filter_map(|(id, activity)| Some((activity.waiting_since()?, *id)));
            let (_, longest) = waiting.min()?;
            if let Some(activity) = open.remove(&longest) {
                tracing::debug!("a connection without a request makes room for another");
                activity.make_room();
            }
        }
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let activity = Arc::new(Activity::begin(Arc::clone(self)));
        open.insert(id, Arc::clone(&activity));
        Some(Connection { id, activity })
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that holds it can panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A place among the open connections. It is given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Connection {
    id: u64,
    activity: Arc<Activity>,
}

impl Connection {
    pub(crate) fn activity(&self) -> Arc<Activity> {
        Arc::clone(&self.activity)
    }

    /// Resolves when the connection is to be closed, and says why.
    pub(crate) async fn overdue(&self) -> &'static str {
        loop {
            let changed = self.activity.changed.notified();
            match self.activity.due() {
                Due::Now(why) => return why,
                Due::At(time, why) => {
                    if time <= Instant::now() {
                        return why;
                    }
                    tokio::select! {
                        () = sleep_until(time) => {}
                        () = changed => {}
                    }
                }
                Due::Never => changed.await,
            }
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let connections = &self.activity.connections;
        locked(&connections.open).remove(&self.id);
        connections.place.notify_one();
    }
}

/// When a connection is to be closed.
enum Due {
    Now(&'static str),
    At(Instant, &'static str),
    Never,
}

/// What happens on a connection.
#[derive(Debug)]
pub(crate) struct Activity {
    connections: Arc<Connections>,
    state: Mutex<State>,
    /// There may be an earlier time at which it is to be closed.
    changed: Notify,
}

#[derive(Debug)]
struct State {
    /// Requests that are not answered to their end.
    requests: usize,
    /// Since when there is none.
    without_request: Instant,
    /// Since when bytes come that are not yet a request.
    head_since: Option<Instant>,
    /// Since when the client takes nothing of what is written.
    stalled_since: Option<Instant>,
    /// Whether requests come in frames: then bytes between them are no beginning of one.
    in_frames: bool,
    makes_room: bool,
}

impl Activity {
    fn begin(connections: Arc<Connections>) -> Self {
        let state = State {
            requests: 0,
            without_request: Instant::now(),
            head_since: None,
            stalled_since: None,
            in_frames: false,
            makes_room: false,
        };
        Self { connections, state: Mutex::new(state), changed: Notify::new() }
    }

    fn due(&self) -> Due {
        let limits = &self.connections.limits;
        let state = locked(&self.state);
        if state.makes_room {
            return Due::Now("another needs its place");
        }
        let stalled = state.stalled_since.map(|since| (since + limits.stalled, "its client takes no answer"));
        let waiting = (state.requests == 0).then(|| match state.head_since {
            Some(since) if !state.in_frames => (since + limits.head, "a request's head took too long"),
            _ => (state.without_request + limits.idle, "no request came"),
        });
        match stalled.into_iter().chain(waiting).min() {
            Some((time, why)) => Due::At(time, why),
            None => Due::Never,
        }
    }

    fn waiting_since(&self) -> Option<Instant> {
        let state = locked(&self.state);
        (state.requests == 0).then_some(state.without_request)
    }

    fn make_room(&self) {
        locked(&self.state).makes_room = true;
        self.changed.notify_one();
    }

    /// A request has come. It is over when what this returns is dropped.
    pub(crate) fn request(self: &Arc<Self>, in_frames: bool) -> UnderWay {
        let mut state = locked(&self.state);
        state.requests += 1;
        state.head_since = None;
        state.in_frames = in_frames;
        UnderWay(Arc::clone(self))
    }

    fn ended(&self) {
        let mut state = locked(&self.state);
        state.requests = state.requests.saturating_sub(1);
        if state.requests == 0 {
            state.without_request = Instant::now();
            state.head_since = None;
            drop(state);
            self.changed.notify_one();
            self.connections.place.notify_one();
        }
    }

    fn came(&self) {
        let mut state = locked(&self.state);
        if state.requests == 0 && state.head_since.is_none() {
            state.head_since = Some(Instant::now());
            drop(state);
            self.changed.notify_one();
        }
    }

    fn wrote<T>(&self, written: &Poll<T>) {
        let mut state = locked(&self.state);
        match written {
            Poll::Ready(_) => state.stalled_since = None,
            Poll::Pending if state.stalled_since.is_none() => {
                state.stalled_since = Some(Instant::now());
                drop(state);
                self.changed.notify_one();
            }
            Poll::Pending => {}
        }
    }
}

/// A request that is not answered to its end.
#[derive(Debug)]
pub(crate) struct UnderWay(Arc<Activity>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.ended();
    }
}

/// A body of an answer. When it is dropped, its request is over.
#[derive(Debug)]
pub(crate) struct AnswerBody<B> {
    pub(crate) body: B,
    pub(crate) _under_way: UnderWay,
}

impl<B: Body + Unpin> Body for AnswerBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A connection's bytes, with a note of when they come and when they are not taken.
#[derive(Debug)]
pub(crate) struct Watched<IO> {
    pub(crate) io: IO,
    pub(crate) activity: Arc<Activity>,
}

impl<IO: AsyncRead + Unpin> AsyncRead for Watched<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.io).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.activity.came();
        }
        read
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Watched<IO> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, buf);
        self.activity.wrote(&written);
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, parts);
        self.activity.wrote(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http_body_util::Full;
    use hyper::service::service_fn;
    use hyper_util::{
        rt::{TokioExecutor, TokioIo},
        server::conn::auto,
    };
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
        task::JoinHandle,
    };

    use super::*;

    const LIMITS: ConnectionLimits = ConnectionLimits {
        most: 2,
        head: Duration::from_secs(10),
        idle: Duration::from_secs(120),
        stalled: Duration::from_secs(60),
    };

    /// A connection on which every request is answered by `answer`, and why it was closed, if it was for its time.
    fn serve(connection: Connection, answer: Vec<u8>) -> (DuplexStream, JoinHandle<Option<&'static str>>) {
        let (client, ours) = duplex(1024);
        let activity = connection.activity();
        let io = TokioIo::new(Watched { io: ours, activity: Arc::clone(&activity) });
        let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
            let under_way = activity.request(request.version() >= http::Version::HTTP_2);
            let body = AnswerBody {
                body: Full::<hyper::body::Bytes>::new(answer.clone().into()),
                _under_way: under_way,
            };
            async { Ok::<_, Infallible>(hyper::Response::new(body)) }
        });
        let served = tokio::spawn(async move {
            let builder = auto::Builder::new(TokioExecutor::new());
            let serving = builder.serve_connection(io, service);
            tokio::select! {
                _ = serving => None,
                why = connection.overdue() => Some(why),
            }
        });
        (client, served)
    }

    async fn entered() -> Connection {
        Connections::new(LIMITS).enter().await
    }

    /// Why the connection is closed, and after how many seconds.
    async fn closed(served: JoinHandle<Option<&'static str>>) -> (Option<&'static str>, u64) {
        let begun = Instant::now();
        (served.await.unwrap(), begun.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn who_says_nothing_is_disconnected() {
        let (_client, served) = serve(entered().await, Vec::new());
        assert_eq!(closed(served).await, (Some("no request came"), 120));
    }

    #[tokio::test(start_paused = true)]
    async fn half_a_head_has_ten_seconds_however_slowly_it_drips() {
        for begun in ["P", "PRI * HTTP/2.0\r\n", "GET / HTTP/1.1\r\nhost: a\r\nx-"] {
            let (mut client, served) = serve(entered().await, Vec::new());
            client.write_all(begun.as_bytes()).await.unwrap();
            let dripping = tokio::spawn(async move {
                loop {
                    tokio::time::sleep(Duration::from_secs(3)).await;
                    if begun.len() < 30 || client.write_all(b"a").await.is_err() {
                        return client;
                    }
                }
            });
            assert_eq!(closed(served).await, (Some("a request's head took too long"), 10), "{begun}");
            drop(dripping.await);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_kept_between_requests_and_each_head_has_its_own_time() {
        let (mut client, served) = serve(entered().await, b"yes".to_vec());
        for _ in 0..3 {
            client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
            let mut answer = vec![0; 1024];
            let length = client.read(&mut answer).await.unwrap();
            assert!(answer[..length].ends_with(b"yes"));
            tokio::time::sleep(Duration::from_secs(100)).await;
        }
        client.write_all(b"GET /").await.unwrap();
        assert_eq!(closed(served).await, (Some("a request's head took too long"), 10));
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_nothing_of_an_answer_is_disconnected() {
        let (mut client, served) = serve(entered().await, vec![b'x'; 100_000]);
        client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        assert_eq!(closed(served).await, (Some("its client takes no answer"), 60));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_takes_its_time_is_not_cut() {
        let connections = Connections::new(LIMITS);
        let connection = connections.enter().await;
        let under_way = connection.activity().request(false);
        let overdue = tokio::time::timeout(Duration::from_hours(1), connection.overdue());
        assert!(overdue.await.is_err());
        drop(under_way);
        let begun = Instant::now();
        assert_eq!(connection.overdue().await, "no request came");
        assert_eq!(begun.elapsed(), LIMITS.idle);
    }

    #[tokio::test(start_paused = true)]
    async fn one_more_takes_the_place_of_the_one_that_waits_for_longest() {
        let connections = Connections::new(LIMITS);
        let first = connections.enter().await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let second = connections.enter().await;
        // The first has had a request since.
        tokio::time::sleep(Duration::from_secs(1)).await;
        drop(first.activity().request(false));
        let third = connections.enter().await;
        assert_eq!(second.overdue().await, "another needs its place");
        drop(second);
        assert_eq!(locked(&connections.open).len(), 2);
        drop((first, third));
        assert_eq!(locked(&connections.open).len(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn one_more_waits_while_all_have_requests() {
        let connections = Connections::new(LIMITS);
        let (first, second) = (connections.enter().await, connections.enter().await);
        let (one, _other) = (first.activity().request(false), second.activity().request(false));
        let waiting = tokio::spawn({
            let connections = Arc::clone(&connections);
            async move { drop(connections.enter().await) }
        });
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(!waiting.is_finished());
        drop(one);
        waiting.await.unwrap();
        assert_eq!(first.overdue().await, "another needs its place");
    }
}
