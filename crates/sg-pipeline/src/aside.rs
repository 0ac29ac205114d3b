//! Work that keeps a core busy for minutes, such as folding a log again: it has a thread of its own, so that requests do not
//! wait for it.

use std::pin::pin;

use opentelemetry::Context;
use opentelemetry::context::FutureExt as _;
use sg_core::ports::{ErrorKind, PortError};
use tokio::sync::{mpsc, oneshot};

/// What is said and not yet heard: more than any caller lists.
const UNHEARD_MAX: usize = 16_384;

/// Says what happens on the way; what nobody hears fast enough is not said.
pub(crate) type Say<S> = mpsc::Sender<S>;

/// Does work on a thread of that name, and hears what it says until it ends. It ends early when nobody waits for it any more.
///
/// # Errors
/// Those of the work; [`ErrorKind::Retry`] when there is no thread, or it ended by itself.
pub(crate) async fn run<T, S, W>(
    name: &str,
    work: impl FnOnce(Say<S>) -> W + Send + 'static,
    hear: impl Fn(S),
) -> Result<T, PortError>
where
    T: Send + 'static,
    S: Send + 'static,
    W: Future<Output = Result<T, PortError>>,
{
    let (say, mut said) = mpsc::channel(UNHEARD_MAX);
    let (told, ended) = oneshot::channel();
    let runtime = tokio::runtime::Handle::current();
    // Spans of the work stand below that of whoever asked for it.
    let context = Context::current();
    let thread = move || {
        // At the priority of the others: it asks the store for what is done behind the locks that flushes wait for.
        runtime.block_on(async {
            let is_left = say.clone();
            let work = pin!(work(say).with_context(context));
            tokio::select! {
                done = work => drop(told.send(done)),
                () = is_left.closed() => {}
            }
        });
    };
    let started = std::thread::Builder::new().name(name.to_owned()).spawn(thread);
    if let Err(error) = started {
        let doing = format!("starting a thread for a {name}");
        return Err(PortError::from_source(ErrorKind::Retry, doing, error));
    }
    while let Some(one) = said.recv().await {
        hear(one);
    }
    let lost = |_| PortError::new(ErrorKind::Retry, format!("the thread of a {name} ended by itself"));
    ended.await.map_err(lost)?
}
