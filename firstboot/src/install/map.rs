//! Block maps: which parts of an image hold data, and the digest of each. The format is bmaptool's 2.0
//! (<https://github.com/yoctoproject/bmaptool>, `bmaptool/BmapCreate.py` has its grammar):
//!
//! ```xml
//! <bmap version="2.0">
//!   <ImageSize> 8388608 </ImageSize> <BlockSize> 4096 </BlockSize> <BlocksCount> 2048 </BlocksCount>
//!   <MappedBlocksCount> 1026 </MappedBlocksCount> <ChecksumType> sha256 </ChecksumType>
//!   <BmapFileChecksum> …this file's, with 64 zeros here… </BmapFileChecksum>
//!   <BlockMap> <Range chksum="…"> 0-1023 </Range> <Range chksum="…"> 1030-1031 </Range> … </BlockMap>
//! </bmap>
//! ```

use std::str::FromStr;

use contract::xml::is_bounded;
use ring::digest::{SHA256, digest};
use roxmltree::{Document, Node, ParsingOptions};

use crate::text::hex;

/// Limit on the bytes of a map. One of an image of 600 GB of data, in pieces of 4 MiB, is as long.
pub const LONGEST: usize = 16 << 20;
/// Limit on its nodes; each range has three.
const MOST_NODES: u32 = 1_000_000;
/// Limit on the attributes of one of them, and on equals signs in a comment.
const MOST_ATTRIBUTES: usize = 200;
/// Limit on the bytes of one range, which is checked in memory before it is written.
const LARGEST_RANGE: u64 = 64 << 20;
/// Limit on the bytes of an image.
const LARGEST_IMAGE: u64 = 1 << 46;
/// The unit of all disks; an image has a whole number of them.
const SECTOR: u64 = 512;

/// A valid map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Map {
    /// The bytes of the whole image.
    pub size: u64,
    /// What holds data, in order. None of them overlap.
    pub ranges: Vec<Range>,
}

/// A part of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    /// Its first byte.
    pub start: u64,
    /// The byte behind its last one.
    pub end: u64,
    /// Its SHA-256, in lower-case hex.
    pub digest: String,
}

impl Map {
    /// Reads a map.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() > LONGEST {
            return Err(format!("it is longer than {LONGEST} bytes"));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8")?;
        if !is_bounded(text, MOST_ATTRIBUTES) {
            return Err("it has an element with too many attributes".to_owned());
        }
        let options = ParsingOptions { allow_dtd: false, nodes_limit: MOST_NODES, entity_resolver: None };
        let document = Document::parse_with_options(text, options).map_err(|_| "it is no XML")?;
        let root = document.root_element();
        if root.tag_name().name() != "bmap" {
            return Err("it is no block map".to_owned());
        }
        match root.attribute("version") {
            Some("2.0") => {}
            _ => return Err("its version is not 2.0".to_owned()),
        }
        if field(root, "ChecksumType")? != "sha256" {
            return Err("its checksums are not sha256".to_owned());
        }
        check_own_digest(text, root)?;
        let size = number(root, "ImageSize")?;
        let block = number(root, "BlockSize")?;
        let blocks = number(root, "BlocksCount")?;
        if size == 0 || size > LARGEST_IMAGE || size % SECTOR != 0 {
            return Err(format!("an image of {size} bytes cannot be installed"));
        }
        if !block.is_power_of_two() || !(SECTOR..=1 << 20).contains(&block) {
            return Err(format!("blocks of {block} bytes make no sense"));
        }
        if blocks != size.div_ceil(block) {
            return Err(format!("{size} bytes are not {blocks} blocks of {block} bytes"));
        }
        let ranges = ranges(root, block, size)?;
        let mapped: u64 = ranges.iter().map(|range| range.len().div_ceil(block)).sum();
        if mapped != number(root, "MappedBlocksCount")? {
            return Err(format!("its ranges have {mapped} blocks, and MappedBlocksCount says otherwise"));
        }
        Ok(Self { size, ranges })
    }

    /// The bytes that hold data.
    pub fn mapped(&self) -> u64 {
        self.ranges.iter().map(Range::len).sum()
    }
}

impl Range {
    /// Its length in bytes; never zero.
    #[allow(clippy::len_without_is_empty, reason = "none is empty")]
    pub fn len(&self) -> u64 {
        self.end - self.start
    }

    /// Whether `bytes` are what the map says.
    pub fn is(&self, bytes: &[u8]) -> bool {
        hex(digest(&SHA256, bytes).as_ref()) == self.digest
    }
}

/// The only child of this name.
fn child<'a, 'i>(node: Node<'a, 'i>, name: &str) -> Result<Node<'a, 'i>, String> {
    let mut found = node.children().filter(|child| child.tag_name().name() == name);
    match (found.next(), found.next()) {
        (Some(child), None) => Ok(child),
        (None, _) => Err(format!("it has no {name}")),
        _ => Err(format!("it has {name} twice")),
    }
}

fn field<'a>(root: Node<'a, '_>, name: &str) -> Result<&'a str, String> {
    Ok(child(root, name)?.text().unwrap_or_default().trim())
}

fn number(root: Node<'_, '_>, name: &str) -> Result<u64, String> {
    digits(field(root, name)?).ok_or_else(|| format!("its {name} is no number"))
}

fn digits(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| u64::from_str(text).ok())?
}

fn is_digest(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The digest of the file itself is computed with zeros in its place.
fn check_own_digest(text: &str, root: Node<'_, '_>) -> Result<(), String> {
    let node = child(root, "BmapFileChecksum")?;
    let expected = node.text().unwrap_or_default().trim();
    let place = text.get(node.range()).and_then(|part| part.find(expected));
    let Some(at) = place.filter(|_| is_digest(expected)).map(|at| node.range().start + at) else {
        return Err("its BmapFileChecksum is no SHA-256".to_owned());
    };
    let zeroed = [&text[..at], &"0".repeat(expected.len()), &text[at + expected.len()..]].concat();
    if hex(digest(&SHA256, zeroed.as_bytes()).as_ref()) == expected.to_ascii_lowercase() {
        Ok(())
    } else {
        Err("it is damaged: its own checksum differs".to_owned())
    }
}

fn ranges(root: Node<'_, '_>, block: u64, size: u64) -> Result<Vec<Range>, String> {
    let mut ranges: Vec<Range> = Vec::new();
    for node in child(root, "BlockMap")?.children().filter(Node::is_element) {
        let range = range(node, block, size)?;
        if ranges.last().is_some_and(|last| range.start < last.end) {
            return Err(format!("the range at byte {} overlaps another, or comes too late", range.start));
        }
        ranges.push(range);
    }
    if ranges.is_empty() { Err("it has no ranges".to_owned()) } else { Ok(ranges) }
}

/// `5-9` or `5`, in blocks, the last one included. The last block of an image may be cut short.
fn range(node: Node<'_, '_>, block: u64, size: u64) -> Result<Range, String> {
    let text = node.text().unwrap_or_default().trim();
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (Some(first), Some(last)) = (digits(first.trim()), digits(last.trim())) else {
        return Err("a range is no pair of numbers".to_owned());
    };
    if first > last || last >= size.div_ceil(block) {
        return Err(format!("the range {first}-{last} is not within the image"));
    }
    let digest = node.attribute("chksum").unwrap_or_default();
    if node.tag_name().name() != "Range" || !is_digest(digest) {
        return Err(format!("the range {first}-{last} has no SHA-256"));
    }
    let range = Range {
        start: first * block,
        end: size.min((last + 1) * block),
        digest: digest.to_ascii_lowercase(),
    };
    if range.len() > LARGEST_RANGE {
        return Err(format!(
            "the range {first}-{last} has more than {} MiB, so it cannot be checked before it is written",
            LARGEST_RANGE >> 20
        ));
    }
    Ok(range)
}

/// The map of an image, with ranges of at most `piece` bytes: as `kiln` writes it, for tests.
#[doc(hidden)]
pub fn written(image: &[u8], piece: usize) -> Vec<u8> {
    const BLOCK: usize = 4096;
    let is_data = |block: &[u8]| block.iter().any(|byte| *byte != 0);
    let blocks: Vec<&[u8]> = image.chunks(BLOCK).collect();
    let (mut lines, mut mapped, mut at) = (String::new(), 0, 0);
    while at < blocks.len() {
        let length = blocks[at..].iter().take(piece / BLOCK).take_while(|block| is_data(block)).count();
        if length > 0 {
            let digest = hex(digest(&SHA256, &blocks[at..at + length].concat()).as_ref());
            lines += &format!("<Range chksum=\"{digest}\"> {at}-{} </Range>\n", at + length - 1);
            mapped += length;
        }
        at += length.max(1);
    }
    let (size, count) = (image.len(), blocks.len());
    let text = format!(
        "<?xml version=\"1.0\" ?>\n<bmap version=\"2.0\">\n<ImageSize> {size} </ImageSize>\n\
         <BlockSize> {BLOCK} </BlockSize>\n<BlocksCount> {count} </BlocksCount>\n\
         <MappedBlocksCount> {mapped} </MappedBlocksCount>\n<ChecksumType> sha256 </ChecksumType>\n\
         <BmapFileChecksum></BmapFileChecksum>\n<BlockMap>\n{lines}</BlockMap>\n</bmap>\n"
    );
    sealed(&text).expect("it has a place for its checksum")
}

/// A map with its own checksum made right, whatever else is wrong: for tests.
#[doc(hidden)]
pub fn sealed(text: &str) -> Option<Vec<u8>> {
    let (begin, rest) = text.split_once("<BmapFileChecksum>")?;
    let (_, end) = rest.split_once("</BmapFileChecksum>")?;
    let whole = |own: &str| format!("{begin}<BmapFileChecksum> {own} </BmapFileChecksum>{end}");
    Some(whole(&hex(digest(&SHA256, whole(&"0".repeat(64)).as_bytes()).as_ref())).into_bytes())
}

#[cfg(test)]
#[path = "map_tests.rs"]
mod tests;
