//! A part that several outputs need and the first of them makes.

use std::sync::{Mutex, OnceLock, PoisonError};

use crate::error::Result;

/// A value made on first use, while every other thread that asks for it waits.
#[derive(Debug)]
pub struct Once<T> {
    value: OnceLock<T>,
    making: Mutex<()>,
}

impl<T> Default for Once<T> {
    fn default() -> Self {
        Self { value: OnceLock::new(), making: Mutex::new(()) }
    }
}

impl<T> Once<T> {
    /// The value, when it was made.
    pub fn get(&self) -> Option<&T> {
        self.value.get()
    }

    /// Puts a value that was made elsewhere; gives it back when there is one.
    pub fn set(&self, value: T) -> Result<(), T> {
        self.value.set(value)
    }

    /// The value, made by `make` on first use. After a failure the next caller tries again, so every caller
    /// gets the error.
    pub fn get_or_make(&self, make: impl FnOnce() -> Result<T>) -> Result<&T> {
        let _turn = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(value) = self.value.get() {
            return Ok(value);
        }
        let value = make()?;
        Ok(self.value.get_or_init(|| value))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::error::{Error, ErrorKind};

    #[test]
    fn a_part_that_failed_is_tried_again() {
        let part = Once::default();
        assert!(part.get_or_make(|| Err::<u8, _>(Error::new(ErrorKind::Io, "full"))).is_err());
        assert_eq!(part.get_or_make(|| Ok(1)).unwrap(), &1);
        assert_eq!(part.get_or_make(|| unreachable!()).unwrap(), &1);
    }

    #[test]
    fn threads_that_ask_at_once_get_the_same_value() {
        let (part, made) = (Once::default(), AtomicU32::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let value = part.get_or_make(|| {
                        std::thread::sleep(std::time::Duration::from_millis(20));
                        Ok(made.fetch_add(1, Ordering::Relaxed))
                    });
                    assert_eq!(value.unwrap(), &0);
                });
            }
        });
        assert_eq!(made.into_inner(), 1);
    }
}
