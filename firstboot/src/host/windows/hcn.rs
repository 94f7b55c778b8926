//! Networks of the host compute network service, by the functions that it has for other programs
//! (<https://learn.microsoft.com/virtualization/api/hcn/overview>). They take and give JSON. Their library
//! comes with the feature Containers, so it is loaded when it is asked.

use std::ffi::c_void;
use std::ptr::{null_mut, read};

use serde_json::{Value, json};
use windows_sys::Win32::System::Com::CoTaskMemFree;
use windows_sys::Win32::System::LibraryLoader::{
    GetProcAddress, LOAD_LIBRARY_SEARCH_SYSTEM32, LoadLibraryExW,
};
use windows_sys::core::GUID;

use crate::error::{Context, ErrorKind, Failure, Result};
use crate::os::wide::{pointed, wide};
use crate::text::one_line;

const LIBRARY: &str = "computenetwork.dll";

/// A text that the service made, and that its caller frees.
type Text = *mut u16;
type Enumerate = unsafe extern "system" fn(query: *const u16, *mut Text, *mut Text) -> i32;
type Open = unsafe extern "system" fn(*const GUID, *mut *mut c_void, *mut Text) -> i32;
type Create =
    unsafe extern "system" fn(*const GUID, settings: *const u16, *mut *mut c_void, *mut Text) -> i32;
type Query = unsafe extern "system" fn(*mut c_void, query: *const u16, *mut Text, *mut Text) -> i32;
type Close = unsafe extern "system" fn(*mut c_void) -> i32;

/// The service's functions for networks.
pub struct Networks {
    enumerate: Enumerate,
    open: Open,
    create: Create,
    query: Query,
    close: Close,
}

impl Networks {
    /// Loads the library, which stays loaded.
    #[allow(unsafe_code)] // a library that is not on every Windows
    pub fn load() -> Result<Self> {
        let name = wide(LIBRARY);
        // SAFETY: the text ends with a NUL; the system's own folder is the only one that is looked into.
        let library = unsafe { LoadLibraryExW(name.as_ptr(), null_mut(), LOAD_LIBRARY_SEARCH_SYSTEM32) };
        if library.is_null() {
            return Err(std::io::Error::last_os_error()).doing(format!("loading {LIBRARY}")).map_err(without);
        }
        let find = |function: &'static [u8]| {
            // SAFETY: the library is loaded, and the name ends with a NUL.
            unsafe { GetProcAddress(library, function.as_ptr()) }.ok_or_else(|| {
                let shown = String::from_utf8_lossy(&function[..function.len() - 1]);
                without(Failure::new(ErrorKind::Host, format!("{LIBRARY} has no function {shown}")))
            })
        };
        let [enumerate, open, create] =
            [find(b"HcnEnumerateNetworks\0")?, find(b"HcnOpenNetwork\0")?, find(b"HcnCreateNetwork\0")?];
        let [query, close] = [find(b"HcnQueryNetworkProperties\0")?, find(b"HcnCloseNetwork\0")?];
        // SAFETY: the functions of these names have these types (computenetwork.h); all are pointers.
        unsafe {
            Ok(Self {
                enumerate: read((&raw const enumerate).cast()),
                open: read((&raw const open).cast()),
                create: read((&raw const create).cast()),
                query: read((&raw const query).cast()),
                close: read((&raw const close).cast()),
            })
        }
    }

    /// The networks, each with its properties.
    #[allow(unsafe_code)] // calls of the library
    pub fn list(&self) -> Result<Vec<Value>> {
        let doing = "listing the networks for containers";
        let query = wide(query());
        let identifiers = said(doing, |text, record| {
            // SAFETY: the query ends with a NUL, and the pointers receive texts that are freed.
            unsafe { (self.enumerate)(query.as_ptr(), text, record) }
        })?;
        let identifiers: Vec<String> = parsed(doing, &identifiers)?;
        // A network may go while they are looked at.
        Ok(identifiers.iter().filter_map(|identifier| self.properties(identifier)).collect())
    }

    #[allow(unsafe_code)] // calls of the library
    fn properties(&self, identifier: &str) -> Option<Value> {
        let guid = guid(identifier)?;
        let mut network = null_mut();
        let doing = "looking at a network for containers";
        // SAFETY: the identifier outlives the call, and the pointers receive a handle and a text.
        said(doing, |_, record| unsafe { (self.open)(&raw const guid, &raw mut network, record) }).ok()?;
        let query = wide(query());
        // SAFETY: the handle is open, the query ends with a NUL, and the pointers receive texts.
        let text = said(doing, |text, record| unsafe { (self.query)(network, query.as_ptr(), text, record) });
        // SAFETY: the handle is open, and nothing uses it afterwards.
        unsafe { (self.close)(network) };
        parsed(doing, &text.ok()?).ok()
    }

    /// Makes a network.
    #[allow(unsafe_code)] // calls of the library
    pub fn create(&self, settings: &Value) -> Result<()> {
        let doing = format!("making the network {}", settings["Name"].as_str().unwrap_or_default());
        let (text, mut network) = (wide(settings.to_string()), null_mut());
        // Zeros let the service choose the identifier.
        let identifier = GUID::from_u128(0);
        said(&doing, |_, record| {
            // SAFETY: the settings end with a NUL, and the pointers receive a handle and a text.
            unsafe { (self.create)(&raw const identifier, text.as_ptr(), &raw mut network, record) }
        })?;
        // SAFETY: the handle is open, and nothing uses it afterwards.
        unsafe { (self.close)(network) };
        Ok(())
    }
}

fn without(failure: Failure) -> Failure {
    failure.help(
        "enable the feature Containers by one of the layers windows-features-*, or leave flannel's layer out",
    )
}

fn query() -> String {
    json!({"SchemaVersion": {"Major": 2, "Minor": 0}, "Flags": 0}).to_string()
}

/// What a call says, or why it failed: its record of errors, else its number.
#[allow(unsafe_code)] // texts of the library
fn said(doing: &str, call: impl FnOnce(*mut Text, *mut Text) -> i32) -> Result<String> {
    let (mut text, mut record) = (null_mut(), null_mut());
    let code = call(&raw mut text, &raw mut record);
    // SAFETY: each is null, or a text that ends with a NUL and that the caller frees.
    let [text, record] = [text, record].map(|pointer| unsafe {
        let owned = pointed(pointer);
        CoTaskMemFree(pointer.cast());
        owned
    });
    if code >= 0 {
        return Ok(text);
    }
    let why = if record.is_empty() { String::new() } else { format!(": {}", one_line(&record)) };
    Err(Failure::new(ErrorKind::Host, format!("{doing}: error {code:#010x}{why}")))
}

fn parsed<T: serde::de::DeserializeOwned>(doing: &str, text: &str) -> Result<T> {
    serde_json::from_str(text)
        .map_err(|_| Failure::new(ErrorKind::Host, format!("{doing}: the answer is not what it should be")))
}

/// `4e2a3a5c-…`, with or without braces.
fn guid(text: &str) -> Option<GUID> {
    let digits: String = text.chars().filter(|letter| !"{}-".contains(*letter)).collect();
    (digits.len() == 32)
        .then(|| u128::from_str_radix(&digits, 16).ok())
        .flatten()
        .map(GUID::from_u128)
}
