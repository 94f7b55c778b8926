//! Changes to a hive that Windows has written into its log files (`.LOG1`, `.LOG2`) and not yet into the hive
//! itself, in the format since Windows 8.1: "Format of transaction log files", "New format" and "Multiple
//! transaction log files" of the specification.

use super::cells::{LARGEST, PAGE, is_sealed, put_u32, seal, u32_at};

/// The unit of a log file; its base block is the first.
const SECTOR: usize = 512;
/// An entry without its references and pages.
const HEADER: usize = 40;
/// Where the hashes of an entry are: of what is behind its header, and of what is before this hash.
const HASHES: [usize; 2] = [24, 32];
/// A reference to a page: its offset and its length.
const REFERENCE: usize = 8;
/// The type of a file with entries, in its base block.
const LOG_WITH_ENTRIES: u32 = 6;

/// The seed of an entry's hashes.
const SEED: u64 = 0x82ef_4d88_7a4e_55c5;

/// Fields of the base block: both sequence numbers, the type, the length of the bins and the flags.
const SEQUENCES: [usize; 2] = [4, 8];
const TYPE: usize = 28;
const LENGTH: usize = 40;
const FLAGS: usize = 144;

/// A set of changes that is whole.
struct Entry<'a> {
    sequence: u32,
    flags: u32,
    /// The length of the hive's bins afterwards.
    length: usize,
    /// Where in the bins they go, and their bytes.
    pages: Vec<(usize, &'a [u8])>,
}

/// The hive with the changes of its log files, if it is dirty and they follow it; else as it was.
pub(super) fn replayed(mut hive: Vec<u8>, logs: &[Vec<u8>]) -> Vec<u8> {
    let Some(written) = last_written(&hive) else { return hive };
    let mut runs: Vec<Vec<Entry<'_>>> = logs.iter().map(|log| entries(log)).collect();
    runs.retain(|run| !run.is_empty());
    runs.sort_by_key(|run| run[0].sequence);
    let (mut last, mut length) = (None, 0);
    for run in runs {
        // Entries of one file go on in the other; older ones are in the hive already.
        let follows = match last {
            None => run[0].sequence >= written,
            Some(last) => run[0].sequence == u32::wrapping_add(last, 1),
        };
        for entry in run.iter().take_while(|_| follows) {
            if !is_grown_by_its_pages(entry, &hive) {
                break;
            }
            apply(entry, &mut hive);
            (last, length) = (Some(entry.sequence), entry.length);
        }
    }
    if let Some(last) = last {
        // What is behind the bins means nothing.
        hive.truncate(PAGE + length);
        // The number of a hive is that of the next entry.
        SEQUENCES.iter().for_each(|at| put_u32(&mut hive, *at, last.wrapping_add(1)));
        seal(&mut hive);
    }
    hive
}

/// The number of the first change that a dirty hive may lack; none for a hive that is not dirty, or broken.
pub(super) fn last_written(hive: &[u8]) -> Option<u32> {
    let is_hive = hive.len() >= PAGE && hive.starts_with(b"regf");
    let sound = is_hive && is_sealed(hive);
    let [first, second] = SEQUENCES.map(|at| u32_at(hive, at));
    second.filter(|_| sound && first != second)
}

/// The entries of a log file, as far as each is whole and follows the one before it.
fn entries(log: &[u8]) -> Vec<Entry<'_>> {
    let field = |at| u32_at(log, at);
    let sound = log.len() >= SECTOR && log.starts_with(b"regf") && is_sealed(log);
    if !sound || field(TYPE) != Some(LOG_WITH_ENTRIES) {
        return Vec::new();
    }
    let (mut entries, mut at) = (Vec::new(), SECTOR);
    let mut expected = field(SEQUENCES[0]);
    while let Some((entry, size)) = log.get(at..).and_then(entry) {
        if Some(entry.sequence) != expected {
            break;
        }
        expected = entry.sequence.checked_add(1);
        entries.push(entry);
        at += size;
    }
    entries
}

/// The entry at the start of `bytes`, and its size; none if it is not whole.
fn entry(bytes: &[u8]) -> Option<(Entry<'_>, usize)> {
    let field = |at| u32_at(bytes, at);
    let size = field(4)? as usize;
    if !bytes.starts_with(b"HvLE") || size < SECTOR || !size.is_multiple_of(SECTOR) {
        return None;
    }
    let whole = bytes.get(..size)?;
    let has = |at: usize, hash: u64| whole[at..at + 8] == hash.to_le_bytes();
    if !has(HASHES[0], marvin32(&whole[HEADER..])) || !has(HASHES[1], marvin32(&whole[..HASHES[1]])) {
        return None;
    }
    let (length, count) = (field(16)? as usize, field(20)? as usize);
    if length == 0 || !length.is_multiple_of(PAGE) || length > LARGEST - PAGE {
        return None;
    }
    let mut from = count.checked_mul(REFERENCE)?.checked_add(HEADER)?;
    let references = whole.get(HEADER..from)?;
    let mut pages = Vec::new();
    for reference in references.chunks_exact(REFERENCE) {
        let (offset, bytes) = (u32_at(reference, 0)? as usize, u32_at(reference, 4)? as usize);
        if offset.checked_add(bytes)? > length {
            return None;
        }
        let to = from.checked_add(bytes)?;
        pages.push((offset, whole.get(from..to)?));
        from = to;
    }
    Some((Entry { sequence: field(12)?, flags: field(8)?, length, pages }, size))
}

/// A hive grows by the pages of the entry that makes it longer, and by nothing else.
fn is_grown_by_its_pages(entry: &Entry<'_>, hive: &[u8]) -> bool {
    let brought: usize = entry.pages.iter().map(|(_, bytes)| bytes.len()).sum();
    PAGE + entry.length <= hive.len() + brought
}

fn apply(entry: &Entry<'_>, hive: &mut Vec<u8>) {
    if hive.len() < PAGE + entry.length {
        hive.resize(PAGE + entry.length, 0);
    }
    for (offset, bytes) in &entry.pages {
        hive[PAGE + offset..PAGE + offset + bytes.len()].copy_from_slice(bytes);
    }
    put_u32(hive, LENGTH, entry.length as u32);
    let flags = u32_at(hive, FLAGS).unwrap_or_default();
    put_u32(hive, FLAGS, flags & !1 | entry.flags & 1);
}

/// Writes the hashes of an entry, which is otherwise whole.
pub fn seal_entry(entry: &mut [u8]) {
    let first = marvin32(&entry[HEADER..]);
    entry[HASHES[0]..][..8].copy_from_slice(&first.to_le_bytes());
    let second = marvin32(&entry[..HASHES[1]]);
    entry[HASHES[1]..][..8].copy_from_slice(&second.to_le_bytes());
}

/// The hash of whole 32-bit words, which entries consist of (N. Ferguson, US patent 8,189,792).
fn marvin32(bytes: &[u8]) -> u64 {
    let (mut low, mut high) = (SEED as u32, (SEED >> 32) as u32);
    let words = bytes.chunks_exact(4).filter_map(|word| u32_at(word, 0));
    for word in words.chain([0x80, 0]) {
        low = low.wrapping_add(word);
        high ^= low;
        low = low.rotate_left(20).wrapping_add(high);
        high = high.rotate_left(9) ^ low;
        low = low.rotate_left(27).wrapping_add(high);
        high = high.rotate_left(19);
    }
    u64::from(high) << 32 | u64::from(low)
}

#[cfg(test)]
#[path = "log_tests.rs"]
mod tests;
