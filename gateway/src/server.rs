//! Connections: how many, how long each may take, and how they end.

use crate::error::GatewayError;
use crate::routes::router;
use crate::settings::GatewaySettings;
use crate::socket::Socket;
use crate::state::GatewayState;
use crate::telemetry;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use pipeline::Edge;
use schemas::Codec;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

/// Pause after a connection could not be accepted, as when the process has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A gateway that listens and does not answer yet.
pub struct Bound {
    listener: TcpListener,
    address: SocketAddr,
    state: Arc<GatewayState>,
}

/// Listens and answers until told to stop; then answers what is under way, within its deadline.
pub async fn serve(
    settings: GatewaySettings,
    edge: Arc<dyn Edge>,
    codec: Arc<Codec>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), GatewayError> {
    bind(settings, edge, codec).await?.run(shutdown).await;
    Ok(())
}

/// Listens, so that the address is known, and begins to follow the decisions.
pub async fn bind(
    settings: GatewaySettings,
    edge: Arc<dyn Edge>,
    codec: Arc<Codec>,
) -> Result<Bound, GatewayError> {
    let listen_error = |source| GatewayError::Listen { address: settings.listen, source };
    let listener = TcpListener::bind(settings.listen).await.map_err(listen_error)?;
    let address = listener.local_addr().map_err(listen_error)?;
    // The log is opened here, which may take a round trip to the brokers.
    let open = move || GatewayState::open(settings, edge, codec);
    let opened = tokio::task::spawn_blocking(open).await;
    let state = opened.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))?;
    Ok(Bound { listener, address, state })
}

impl Bound {
    /// Returns where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns what all its requests share.
    pub fn state(&self) -> &Arc<GatewayState> {
        &self.state
    }

    /// Answers until told to stop.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let Self { listener, address, state } = self;
        telemetry::listening(address);
        let permits = state.settings.connections_max.clamp(1, Semaphore::MAX_PERMITS);
        let mut server = Server {
            service: TowerToHyperService::new(router(Arc::clone(&state))),
            http: http(&state.settings),
            send_wait_max: state.settings.send_wait_max,
            permits: Arc::new(Semaphore::new(permits)),
            graceful: GracefulShutdown::new(),
            connections: JoinSet::new(),
        };
        let mut shutdown = pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                (stream, permit) = accept(&listener, &server.permits) => server.start(stream, permit),
                Some(_) = server.connections.join_next() => {}
            }
        }
        // Who connects now goes to another process at once.
        drop(listener);
        state.close();
        let in_time = server.drain(state.settings.drain_wait_max).await;
        // The publisher's thread ends with the state, after what is queued is safe.
        let ended = tokio::task::spawn_blocking(move || drop(state)).await;
        telemetry::stopped(in_time && ended.is_ok());
    }
}

fn http(settings: &GatewaySettings) -> http1::Builder {
    /// The least that the library allows.
    const HEAD_BYTES_MIN: usize = 8 << 10;
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(settings.head_wait_max)
        .max_buf_size(settings.head_bytes_max.max(HEAD_BYTES_MIN))
        .keep_alive(true)
        .half_close(false);
    http
}

struct Server {
    service: TowerToHyperService<axum::Router>,
    http: http1::Builder,
    send_wait_max: Duration,
    permits: Arc<Semaphore>,
    graceful: GracefulShutdown,
    connections: JoinSet<()>,
}

/// Returns the next connection, once one of those that are open may be added to.
async fn accept(listener: &TcpListener, permits: &Arc<Semaphore>) -> (TcpStream, OwnedSemaphorePermit) {
    loop {
        let Ok(permit) = Arc::clone(permits).acquire_owned().await else {
            unreachable!("the semaphore is never closed")
        };
        match listener.accept().await {
            Ok((stream, _)) => return (stream, permit),
            Err(error) => {
                telemetry::accept_failed(&error);
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

impl Server {
    fn start(&mut self, stream: TcpStream, permit: OwnedSemaphorePermit) {
        // An answer is one small write, which must not wait for more to come. Where this fails, the client has gone.
        let _ = stream.set_nodelay(true);
        let socket = TokioIo::new(Socket::new(stream, self.send_wait_max));
        let connection = self.graceful.watch(self.http.serve_connection(socket, self.service.clone()));
        self.connections.spawn(async move {
            // A connection that breaks is the client's affair; what it asked for was counted by the routes.
            let _ = connection.await;
            drop(permit);
        });
    }

    /// Waits for the requests under way, and tells whether they ended in time.
    async fn drain(mut self, drain_wait_max: Duration) -> bool {
        let in_time = tokio::time::timeout(drain_wait_max, self.graceful.shutdown()).await.is_ok();
        self.connections.shutdown().await;
        in_time
    }
}
