//! A sparse member of a tar archive, in GNU tar's old format (GNU tar manual, "Old GNU Format"): a map of the
//! runs of data in the header, and only those runs behind it.

use std::io::{self, Read};
use std::ops::Range;

use tar::{EntryType, GnuExtSparseHeader, GnuSparseHeader, Header};

use crate::format::tar_file::{self, Member};

/// A whole archive with one file of `size` bytes, whose `runs` of data `content` yields one after the
/// other. All runs but the last are whole records.
///
/// # Errors
/// When the name is too long.
pub fn archive<'a>(
    name: &str,
    size: u64,
    runs: &[Range<u64>],
    epoch: u64,
    content: impl Read + 'a,
) -> io::Result<impl Read + 'a> {
    let length: u64 = runs.iter().map(|run| run.end - run.start).sum();
    // As GNU tar does: an empty run at the end, if the file ends with a hole.
    let end = runs.last().is_none_or(|last| last.end < size).then_some(size..size);
    let runs: Vec<Range<u64>> = runs.iter().cloned().chain(end).collect();
    let head = head(name, size, length, &runs, epoch)?;
    Ok(io::Cursor::new(head).chain(content).chain(tar_file::end(length)))
}

fn head(name: &str, size: u64, length: u64, runs: &[Range<u64>], epoch: u64) -> io::Result<Vec<u8>> {
    let kind = EntryType::GNUSparse;
    let member = Member { kind, name, mode: 0o644, owner: 0, size: length, epoch };
    let mut header = member.written_into(Header::new_gnu())?;
    let gnu = header.as_gnu_mut().ok_or_else(|| io::Error::other("the header is not GNU's"))?;
    gnu.set_real_size(size);
    let (own, mut rest) = runs.split_at(runs.len().min(gnu.sparse.len()));
    fill(&mut gnu.sparse, own);
    gnu.set_is_extended(!rest.is_empty());
    header.set_cksum();
    let mut head = header.as_bytes().to_vec();
    while !rest.is_empty() {
        let mut more = GnuExtSparseHeader::new();
        let (own, others) = rest.split_at(rest.len().min(more.sparse.len()));
        fill(&mut more.sparse, own);
        more.set_is_extended(!others.is_empty());
        head.extend_from_slice(more.as_bytes());
        rest = others;
    }
    Ok(head)
}

fn fill(places: &mut [GnuSparseHeader], runs: &[Range<u64>]) {
    for (place, run) in places.iter_mut().zip(runs) {
        place.set_offset(run.start);
        place.set_length(run.end - run.start);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::tar_file::RECORD;

    #[test]
    fn files_with_few_and_many_runs_come_back() {
        for (count, tail) in
            [(0, 0), (0, 9), (1, 0), (3, 5), (4, 0), (4, 5), (5, 0), (25, 1), (26, 0), (300, 7)]
        {
            // Runs of a record, each 1024 after the last.
            let runs: Vec<Range<u64>> = (0..count).map(|run| run * 1024..run * 1024 + RECORD).collect();
            let size = runs.last().map_or(0, |run| run.end) + tail;
            let content = io::repeat(7).take(RECORD * count);
            let mut bytes = Vec::new();
            archive("disk.raw", size, &runs, 5, content).unwrap().read_to_end(&mut bytes).unwrap();
            let mut read = tar::Archive::new(bytes.as_slice());
            let mut members = read.entries().unwrap();
            let mut member = members.next().unwrap().unwrap();
            assert_eq!(member.path().unwrap().to_str(), Some("disk.raw"));
            let mut file = Vec::new();
            member.read_to_end(&mut file).unwrap();
            let is_data = |at: usize| runs.iter().any(|run| run.contains(&(at as u64)));
            assert_eq!(file.len() as u64, size, "{count} runs");
            assert!(file.iter().enumerate().all(|(at, byte)| (*byte == 7) == is_data(at)), "{count} runs");
            assert!(members.next().is_none());
        }
    }
}
