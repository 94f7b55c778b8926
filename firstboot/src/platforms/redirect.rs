//! Tests send the sources of their own thread to a server of theirs.

use std::cell::RefCell;

thread_local! {
    static ADDRESS: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Where requests go instead.
pub(super) fn address() -> Option<String> {
    ADDRESS.with_borrow(Clone::clone)
}

/// Sends all further requests of this thread to `address`.
pub(super) fn to(address: &str) {
    ADDRESS.set(Some(address.to_owned()));
}
