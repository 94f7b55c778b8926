//! Work on several threads, with results that do not depend on their number.

use std::num::NonZero;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use crate::error::{Error, ErrorKind, Result};

/// How many threads work at the same time. No byte of an image depends on it.
pub(crate) fn count() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

/// How many results of a thread may wait for [`in_order`]'s taker.
const WAITING: usize = 16;

/// Where one thread says that another may begin.
#[derive(Debug)]
pub struct Starter(SyncSender<()>);

/// Waits for a [`Starter`].
#[derive(Debug)]
pub struct Start(Receiver<()>);

/// A starter, and what waits for it.
pub fn starter() -> (Starter, Start) {
    let (sender, receiver) = sync_channel(1);
    (Starter(sender), Start(receiver))
}

impl Starter {
    /// Lets the other begin. More than once is no more than once.
    pub fn begin(&self) {
        // Full or closed: the other has begun.
        let _ = self.0.try_send(());
    }
}

impl Start {
    /// Waits until the starter says so, or is dropped.
    pub fn wait(self) {
        let _ = self.0.recv();
    }
}

/// Calls `make` for each of `items` on several threads, and `take` with the results in the order of the
/// items. Only some results wait at any time, however many items there are.
///
/// # Errors
/// The first error in the order of the items, of either; nothing is taken after it.
pub(crate) fn in_order<T: Sync, R: Send>(
    items: &[T],
    make: impl Fn(&T) -> Result<R> + Sync,
    mut take: impl FnMut(&T, R) -> Result<()>,
) -> Result<()> {
    let threads = count().min(items.len()).max(1);
    let make = &make;
    thread::scope(|scope| {
        let workers: Vec<Receiver<Result<R>>> = (0..threads)
            .map(|first| {
                let (results, inbox) = sync_channel(WAITING);
                scope.spawn(move || {
                    // A failed send means that the taker has stopped.
                    items.iter().skip(first).step_by(threads).try_for_each(|item| results.send(make(item)))
                });
                inbox
            })
            .collect();
        items.iter().enumerate().try_for_each(|(index, item)| {
            let stopped = |_| Error::new(ErrorKind::Internal, "a thread stopped before its work was done");
            take(item, workers[index % threads].recv().map_err(stopped)??)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_the_order_of_the_items() {
        let items: Vec<u64> = (0..100).collect();
        let mut taken = Vec::new();
        in_order(
            &items,
            |item| {
                thread::sleep(std::time::Duration::from_micros((item * 7919) % 300));
                Ok(item * 2)
            },
            |_, double| {
                taken.push(double);
                Ok(())
            },
        )
        .unwrap();
        assert_eq!(taken, items.iter().map(|item| item * 2).collect::<Vec<_>>());
        in_order(&[], |_: &u8| Ok(()), |_, ()| Ok(())).unwrap();
    }

    #[test]
    fn a_starter_that_is_dropped_starts() {
        let (starter, start) = starter();
        starter.begin();
        starter.begin();
        start.wait();
        let (starter, start) = super::starter();
        drop(starter);
        start.wait();
    }

    #[test]
    fn the_first_error_ends_it() {
        let items: Vec<u32> = (0..100).collect();
        let fail = |item: &u32| Error::new(ErrorKind::Io, format!("{item}"));
        let mut taken = 0;
        let error = in_order(
            &items,
            |item| if *item % 10 == 9 { Err(fail(item)) } else { Ok(()) },
            |_, ()| {
                taken += 1;
                Ok(())
            },
        )
        .unwrap_err();
        assert_eq!((error.message(), taken), ("9", 9));
        let error = in_order(&items, |_| Ok(()), |item, ()| Err(fail(item))).unwrap_err();
        assert_eq!(error.message(), "0");
    }
}
