//! A thread for a lane. What a batch allocates and drops is then used by the lane's next one; where threads take turns at
//! lanes, each keeps enough for all of them.
//!
//! It is made before anything is consumed: a process that may have no more threads must not be handed commands again and
//! again that nobody will look at.

use std::io;

use tokio::runtime::Builder;
use tokio::sync::oneshot;

use crate::desk::Desk;
use crate::lane::{End, Lane};

/// A thread that waits for its lane. Dropped, it ends.
pub(crate) struct LaneThread<D> {
    lane: oneshot::Sender<Lane<D>>,
    end: oneshot::Receiver<End>,
}

impl<D: Desk> LaneThread<D> {
    /// Starts one.
    ///
    /// # Errors
    /// The process may have no more threads, or none that waits for sockets.
    pub(crate) async fn start(number: usize) -> io::Result<Self> {
        let (lane, given) = oneshot::channel::<Lane<D>>();
        let (mut ended, end) = oneshot::channel();
        let (say, made) = oneshot::channel();
        std::thread::Builder::new().name(format!("lane {number}")).spawn(move || {
            let runtime = match Builder::new_current_thread().enable_io().enable_time().build() {
                Ok(runtime) => runtime,
                Err(error) => return drop(say.send(Err(error))),
            };
            drop(say.send(Ok(())));
            runtime.block_on(async move {
                let Ok(lane) = given.await else { return };
                tokio::select! {
                    end = lane.run() => drop(ended.send(end)),
                    () = ended.closed() => {}
                }
            });
        })?;
        made.await.unwrap_or_else(|_| Err(io::Error::other("the thread has ended")))?;
        Ok(Self { lane, end })
    }

    /// Runs the lane there until it ends, or this is dropped. `None`: it panicked.
    pub(crate) async fn run(self, lane: Lane<D>) -> Option<End> {
        self.lane.send(lane).ok()?;
        self.end.await.ok()
    }
}
