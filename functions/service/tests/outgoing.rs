//! Outgoing connections, to real servers: which addresses are connected to, and which certificates are believed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test's helpers fail by panicking"
)]

use std::{
    collections::VecDeque,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use deputize_core::network::{Http, HttpError, MaxBytes};
use deputize_service::{
    address::{AddressPolicy, AddressRefusal, Encryption, GuardedResolver, refusal_in},
    authorities::Authorities,
    lazy::GuardedClient,
    outbound::{Outbound, Times},
    private_upstreams::PrivateUpstreams,
};
use http::Request;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

/// A server at 127.0.0.1 that gives each connection one answer, and counts those that were asked for.
struct Server {
    port: u16,
    asked: Arc<AtomicUsize>,
}

impl Server {
    async fn start(answer: &'static str, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                match &tls {
                    None => talk(connection, answer, &count).await,
                    Some(tls) => {
                        if let Ok(connection) = tls.accept(connection).await {
                            talk(connection, answer, &count).await;
                        }
                    }
                }
            }
        });
        Self { port, asked }
    }

    async fn plain(answer: &'static str) -> Self {
        Self::start(answer, None).await
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

async fn talk(mut connection: impl AsyncRead + AsyncWrite + Unpin, answer: &str, asked: &AtomicUsize) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match connection.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    asked.fetch_add(1, Ordering::SeqCst);
    connection.write_all(answer.as_bytes()).await.unwrap();
    connection.shutdown().await.ok();
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";

/// A resolver whose answers are given, one after another.
#[derive(Clone, Default)]
struct Answers(Arc<Mutex<VecDeque<IpAddr>>>);

impl Answers {
    fn new<const N: usize>(answers: [&str; N]) -> Self {
        Self(Arc::new(Mutex::new(answers.into_iter().map(|address| address.parse().unwrap()).collect())))
    }

    fn left(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

impl Resolve for Answers {
    fn resolve(&self, _: Name) -> Resolving {
        let found = SocketAddr::new(self.0.lock().unwrap().pop_front().unwrap(), 0);
        Box::pin(async move { Ok(Box::new(std::iter::once(found)) as Addrs) })
    }
}

/// A client for plain `http`, where names have these addresses.
fn client(policy: &AddressPolicy, names: &Answers) -> GuardedClient {
    let (addresses, names) = (policy.clone(), names.clone());
    GuardedClient::new(policy, Authorities::default(), move |client| {
        let resolver = GuardedResolver::new(addresses.clone(), Encryption::None, names.clone());
        client.dns_resolver(Arc::new(resolver))
    })
}

async fn get(client: &GuardedClient, url: &str) -> Result<String, Option<AddressRefusal>> {
    let url = url.parse().unwrap();
    let answer = client.for_url(&url).unwrap().get(url).send().await;
    Ok(answer.map_err(|error| refusal_in(&error))?.text().await.unwrap())
}

fn listed(list: &str) -> AddressPolicy {
    AddressPolicy::listed(PrivateUpstreams::parse(list).unwrap())
}

#[tokio::test]
async fn a_name_whose_address_changes_after_the_check_is_connected_to_at_the_checked_one() {
    let server = Server::plain(OK).await;
    let names = Answers::new(["127.0.0.1", "169.254.169.254", "10.20.1.1"]);
    let client = client(&listed(".corp.example").and_this_machine(), &names);
    let url = format!("http://rebound.example:{}/", server.port);
    assert_eq!(get(&client, &url).await.unwrap(), "ok");
    assert_eq!(names.left(), 2, "it was looked up once, for the check and the connection");
    // The next connection is checked anew.
    assert_eq!(get(&client, &url).await, Err(Some(AddressRefusal::LinkLocal)));
    assert_eq!(get(&client, &url).await, Err(Some(AddressRefusal::Private)));
    assert_eq!(server.asked(), 1);
}

#[tokio::test]
async fn a_name_outside_of_the_list_does_not_reach_what_a_listed_name_reaches() {
    let server = Server::plain(OK).await;
    for name in ["evil.example", "evilcorp.example", "mcp.corp.example.evil.example", "mcp.corp.example"] {
        let names = Answers::new(["127.0.0.1"]);
        let client = client(&listed("10.20.0.0/16,.corp.example"), &names);
        let refused = get(&client, &format!("http://{name}:{}/", server.port)).await;
        // As on Lambda: not even a listed name reaches the machine itself.
        assert_eq!(refused, Err(Some(AddressRefusal::Loopback)), "{name}");
    }
    for name in ["evil.example", "evilcorp.example", "mcp.corp.example.evil.example"] {
        let names = Answers::new(["10.99.1.1"]);
        let client = client(&listed("10.20.0.0/16,.corp.example"), &names);
        let refused = get(&client, &format!("http://{name}:{}/", server.port)).await;
        assert_eq!(refused, Err(Some(AddressRefusal::Private)), "{name}");
    }
    assert_eq!(server.asked(), 0);
}

#[tokio::test]
async fn a_redirect_from_a_listed_host_leads_nowhere() {
    let metadata = "HTTP/1.1 307 Temporary Redirect\r\nlocation: http://169.254.169.254/latest/meta-data/\r\n\
                    content-length: 0\r\nconnection: close\r\n\r\n";
    let server = Server::plain(metadata).await;
    let names = Answers::new(["127.0.0.1", "127.0.0.1"]);
    let client = client(&AddressPolicy::local(), &names);
    let url: url::Url = format!("http://mcp.corp.example:{}/", server.port).parse().unwrap();
    let answer = client.for_url(&url).unwrap().get(url).send().await.unwrap();
    assert_eq!(answer.status(), 307);
    assert_eq!((names.left(), server.asked()), (1, 1));
}

#[tokio::test]
async fn a_url_is_requested_only_by_the_client_for_its_scheme() {
    let server = Server::plain(OK).await;
    let client = client(&AddressPolicy::local(), &Answers::default());
    let plain = format!("http://127.0.0.1:{}/", server.port);
    assert_eq!(get(&client, &plain).await.unwrap(), "ok");
    let encrypted = client.for_url(&"https://mcp.example/".parse().unwrap()).unwrap();
    assert!(encrypted.get(&plain).send().await.unwrap_err().is_builder());
    assert_eq!(server.asked(), 1);
}

/// An authority of one's own, and a server with a certificate of it.
async fn vouched_for() -> (String, Server) {
    let mut parameters = rcgen::CertificateParams::default();
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let authority = parameters.self_signed(&authority_key).unwrap().pem();
    let issuer = rcgen::Issuer::new(parameters, authority_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    let certificate = certificate.signed_by(&key, &issuer).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    (authority, Server::start(OK, Some(TlsAcceptor::from(Arc::new(tls)))).await)
}

#[tokio::test]
async fn a_server_with_a_certificate_of_ones_own_authority_is_believed_with_its_bundle_and_not_without() {
    let (bundle, server) = vouched_for().await;
    let (anothers, _) = vouched_for().await;
    let ask = async |authorities: Authorities| {
        let outbound = Outbound::trusting(AddressPolicy::local(), authorities, Times::default());
        let request = Request::get(format!("https://127.0.0.1:{}/", server.port)).body(Vec::new()).unwrap();
        outbound.send(request).await
    };
    let of = |pem: &str| Authorities::of_pem(pem.as_bytes()).unwrap();
    for others in [Authorities::default(), of(&anothers)] {
        let refused = ask(others).await.unwrap_err();
        assert!(matches!(&refused, HttpError::Unreachable(_)), "{refused:?}");
    }
    assert_eq!(server.asked(), 0);
    // Beside another, and whatever else is in the file.
    let answer = ask(of(&format!("# our own\n{anothers}{bundle}"))).await.unwrap();
    assert_eq!(answer.body(), b"ok");
    assert_eq!(server.asked(), 1);
}

/// A metadata document or a set of keys is at an address that an app names, so its host answers as it likes.
#[tokio::test]
async fn an_answer_that_never_ends_is_given_up_in_its_time_and_one_without_end_at_its_size() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((mut connection, _)) = listener.accept().await {
            let mut asked = [0; 1024];
            let read = connection.read(&mut asked).await.unwrap();
            connection
                .write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n")
                .await
                .unwrap();
            if asked[..read].starts_with(b"GET /endless") {
                let part = format!("400\r\n{}\r\n", "x".repeat(1024));
                tokio::spawn(async move { while connection.write_all(part.as_bytes()).await.is_ok() {} });
            } else {
                // It says nothing more, and does not hang up.
                open.push(connection);
            }
        }
    });
    let times = Times { total: Duration::from_millis(200), ..Times::default() };
    let ask = async |path: &str, times: Times| {
        let request = Request::get(format!("{url}{path}")).extension(MaxBytes(5 * 1024)).body(Vec::new());
        Outbound::new(AddressPolicy::local(), times).send(request.unwrap()).await.unwrap_err()
    };
    assert!(matches!(ask("silent", times).await, HttpError::TimedOut));
    assert!(matches!(ask("endless", Times::default()).await, HttpError::TooLarge(5120)));
}
