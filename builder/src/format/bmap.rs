//! Block maps (bmap 2.0, as bmaptool writes and reads them): which blocks of a disk have data, and their
//! digests, so that a disk is written quickly and what is written can be checked.
//!
//! The ranges are short: a program can check one in memory before it writes it. The format is that of
//! bmap-tools, `docs/man1/bmaptool.1` and `BmapCreate.py`.

use std::fmt::Write;
use std::io;
use std::ops::Range;

use super::resized::Resized;
use crate::digest::Digest;

/// Bytes of a block.
const BLOCK: u64 = 4096;
/// The most bytes of one range.
const LONGEST: u64 = 4 << 20;
/// Stands in the file's own digest while that is computed.
const NO_DIGEST: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// The text of the map of `disk`.
///
/// # Errors
/// When the disk cannot be read.
pub fn make(disk: &Resized) -> io::Result<String> {
    let ranges: Vec<Range<u64>> = disk.data()?.into_iter().flat_map(pieces).collect();
    let mut bytes = Vec::new();
    let mut lines = String::new();
    let mut mapped = 0;
    for range in &ranges {
        bytes.resize((range.end - range.start) as usize, 0);
        disk.read_at(&mut bytes, range.start)?;
        let (first, end) = (range.start / BLOCK, range.end.div_ceil(BLOCK));
        mapped += end - first;
        let digest = Digest::of(&bytes).hex();
        // Writing to a string cannot fail.
        let _ = writeln!(lines, "        <Range chksum=\"{digest}\"> {} </Range>", blocks(first, end - 1));
    }
    let text = text(disk.size, mapped, &lines);
    Ok(text.replacen(NO_DIGEST, &Digest::of(text.as_bytes()).hex(), 1))
}

fn text(size: u64, mapped: u64, lines: &str) -> String {
    let count = size.div_ceil(BLOCK);
    format!(
        "<?xml version=\"1.0\" ?>\n\
         <bmap version=\"2.0\">\n\
         \x20   <ImageSize> {size} </ImageSize>\n\
         \x20   <BlockSize> {BLOCK} </BlockSize>\n\
         \x20   <BlocksCount> {count} </BlocksCount>\n\
         \x20   <MappedBlocksCount> {mapped} </MappedBlocksCount>\n\
         \x20   <ChecksumType> sha256 </ChecksumType>\n\
         \x20   <BmapFileChecksum> {NO_DIGEST} </BmapFileChecksum>\n\
         \x20   <BlockMap>\n{lines}    </BlockMap>\n</bmap>\n"
    )
}

/// A run of data as ranges of at most [`LONGEST`] bytes.
fn pieces(run: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let end = run.end;
    run.step_by(LONGEST as usize).map(move |start| start..end.min(start + LONGEST))
}

fn blocks(first: u64, last: u64) -> String {
    if first == last { first.to_string() } else { format!("{first}-{last}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    #[test]
    fn runs_are_cut_and_the_map_has_its_own_digest() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(64 << 20).unwrap();
        file.as_file().write_all_at(&vec![1; 5 << 20], 1 << 20).unwrap();
        file.as_file().write_all_at(&[1], (64 << 20) - 1).unwrap();
        let map = make(&Resized::whole(file.path(), 1).unwrap()).unwrap();
        let ranges = map.lines().filter(|line| line.contains("<Range"));
        let ranges: Vec<&str> = ranges.filter_map(|line| line.split("> ").nth(1)).collect();
        assert_eq!(ranges, ["256-1279 </Range>", "1280-1535 </Range>", "16368-16383 </Range>"]);
        assert!(map.contains("<MappedBlocksCount> 1296 </MappedBlocksCount>"), "{map}");
        let own = map.lines().find_map(|line| line.trim().strip_prefix("<BmapFileChecksum> ")).unwrap();
        let own = own.trim_end_matches(" </BmapFileChecksum>");
        assert_eq!(Digest::of(map.replace(own, NO_DIGEST).as_bytes()).hex(), own);
    }
}
