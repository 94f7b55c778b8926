//! The pools of Hyper-V's pairs, in the registry, where the integration services keep them
//! (<https://learn.microsoft.com/virtualization/hyper-v-on-windows/reference/integration-services>).

use zeroize::Zeroizing;

use super::registry::{Key, units};
use crate::error::{Context, ErrorKind, Failure, Result};
use crate::host::kvp::{GUEST, Pair, record};
use crate::host::root::Root;

const POOLS: &str = r"SOFTWARE\Microsoft\Virtual Machine";

fn path(pool: u8) -> Option<String> {
    let name = match pool {
        0 => "External",
        GUEST => "Guest",
        3 => r"Guest\Parameters",
        _ => return None,
    };
    Some(format!(r"{POOLS}\{name}"))
}

/// The pairs of a pool; none if there is no such pool.
pub fn read(root: &Root, pool: u8) -> Result<Option<Vec<Pair>>> {
    let Some(key) = path(pool).filter(|_| root.is_machine()).and_then(|path| Key::open(&path)) else {
        return Ok(None);
    };
    let pair = |name: String| {
        let (_, bytes) = key.value(&name)?;
        let text = units(&bytes);
        let end = text.iter().position(|unit| *unit == 0).unwrap_or(text.len());
        let value = Zeroizing::new(String::from_utf16_lossy(&text[..end]).into_bytes());
        Some(Pair { key: name, value })
    };
    Ok(Some(key.names().into_iter().filter_map(pair).collect()))
}

/// Adds a pair to those that the host sees.
pub fn append(_: &Root, key: &str, value: &str) -> Result<()> {
    if record(key, value).is_none() {
        return Err(Failure::new(ErrorKind::Internal, format!("{key} is too long for a record")));
    }
    let path = path(GUEST).unwrap_or_default();
    let set = Key::make(&path).and_then(|pool| pool.set_text(key, value));
    set.doing(format_args!("writing {key} for the host of Hyper-V"))
}

/// Empties the values of the pairs that `is_secret` selects. Returns the number of these pairs.
pub fn overwrite(root: &Root, pool: u8, is_secret: impl Fn(&str) -> bool) -> Result<usize> {
    let Some(path) = path(pool).filter(|path| root.is_machine() && Key::open(path).is_some()) else {
        return Ok(0);
    };
    let key = Key::make(&path).doing(format_args!("opening {path}"))?;
    let secret: Vec<String> = key.names().into_iter().filter(|name| is_secret(name)).collect();
    for name in &secret {
        key.set_text(name, "").doing(format_args!("overwriting {name} in {path}"))?;
    }
    Ok(secret.len())
}

/// The integration services are part of Windows and start before the agent.
pub fn is_awaited(_: &Root, _: u8) -> bool {
    false
}

/// What to say of a pool that is not there.
pub fn missing(_: &Root, pool: u8) -> String {
    let path = path(pool).unwrap_or_default();
    format!(r"HKEY_LOCAL_MACHINE\{path} is not there: Hyper-V's Data Exchange Service writes it")
}
