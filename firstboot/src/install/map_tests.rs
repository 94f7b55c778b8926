use super::*;

/// 3 blocks of data, 2 without, 1 with.
fn image() -> Vec<u8> {
    let mut image = vec![7; 4096 * 6];
    image[3 * 4096..5 * 4096].fill(0);
    image
}

/// The map of that image, changed, with its own checksum made right again.
fn changed(from: &str, to: &str) -> Vec<u8> {
    let text = String::from_utf8(written(&image(), 2 * 4096)).unwrap();
    assert!(text.contains(from), "{from}");
    sealed(&text.replacen(from, to, 1)).unwrap()
}

#[test]
fn ranges_are_read_with_their_digests() {
    let map = Map::parse(&written(&image(), 2 * 4096)).unwrap();
    let places: Vec<(u64, u64)> =
        map.ranges.iter().map(|range| (range.start / 4096, range.end / 4096)).collect();
    assert_eq!((map.size, places), (6 * 4096, vec![(0, 2), (2, 3), (5, 6)]));
    assert_eq!(map.mapped(), 4 * 4096);
    assert!(map.ranges[1].is(&[7; 4096]) && !map.ranges[1].is(&[8; 4096]));
}

#[test]
fn the_last_block_may_be_cut_short() {
    let mut image = image();
    image.truncate(4096 * 5 + 512);
    image[4096 * 5..].fill(1);
    let map = Map::parse(&written(&image, 1 << 20)).unwrap();
    assert_eq!(map.ranges[1].len(), 512);
}

#[test]
fn bmaptools_own_layout_is_read() {
    let text = "<?xml version=\"1.0\" ?>\n<!-- This file contains the block map. -->\n\n<bmap version=\"2.0\">\n    \
        <!-- Image size in bytes: 4.0 KiB -->\n    <ImageSize> 4096 </ImageSize>\n\n    <BlockSize> 4096 </BlockSize>\n    \
        <BlocksCount> 1 </BlocksCount>\n\n    <MappedBlocksCount> 1    </MappedBlocksCount>\n    \
        <ChecksumType> sha256 </ChecksumType>\n    <BmapFileChecksum> - </BmapFileChecksum>\n    <BlockMap>\n        \
        <Range chksum=\"ad7facb2586fc6e966c004d7d1d16b024f5805ff7cb47c7a85dabd8b48892ca7\"> 0 </Range>\n    \
        </BlockMap>\n</bmap>\n";
    let map = Map::parse(&sealed(text).unwrap()).unwrap();
    assert!(map.ranges[0].is(&[0; 4096]));
}

#[test]
fn a_map_that_lies_is_refused() {
    let long = format!(" 0-{} ", (65 << 20) / 4096 - 1);
    for (from, to, expected) in [
        ("version=\"2.0\"", "version=\"1.3\"", "version is not 2.0"),
        ("<bmap ", "<map ", "no XML"),
        ("> sha256 <", "> sha1 <", "not sha256"),
        ("<ImageSize> 24576 </ImageSize>", "", "no ImageSize"),
        (
            "<ImageSize> 24576 </ImageSize>",
            "<ImageSize>1</ImageSize><ImageSize>2</ImageSize>",
            "ImageSize twice",
        ),
        (" 24576 ", " 24577 ", "cannot be installed"),
        (" 24576 ", " 0 ", "cannot be installed"),
        (" 24576 ", " 18446744073709551104 ", "cannot be installed"),
        (" 24576 ", " 99999999999999999999999 ", "is no number"),
        (" 24576 ", " -1 ", "is no number"),
        (" 24576 ", " 28672 ", "are not 6 blocks"),
        (" 4096 ", " 4095 ", "make no sense"),
        (" 4096 ", " 0 ", "make no sense"),
        ("<BlocksCount> 6 ", "<BlocksCount> 7 ", "are not 7 blocks"),
        ("<MappedBlocksCount> 4 ", "<MappedBlocksCount> 5 ", "MappedBlocksCount says otherwise"),
        (" 0-1 ", " 1-0 ", "not within the image"),
        (" 5-5 ", " 5-6 ", "not within the image"),
        (" 5-5 ", " 18446744073709551615 ", "not within the image"),
        (" 5-5 ", " 1-2 ", "overlaps another"),
        (" 0-1 ", " 4-4 ", "overlaps another"),
        (" 0-1 ", " x ", "no pair of numbers"),
        (" 0-1 ", " ", "no pair of numbers"),
        (" 0-1 ", &long, "not within the image"),
        ("chksum=", "sum=", "has no SHA-256"),
        ("<bmap ", "<!DOCTYPE x [<!ENTITY a \"b\">]><bmap ", "no XML"),
    ] {
        let why = Map::parse(&changed(from, to)).unwrap_err();
        assert!(why.contains(expected), "{from} → {to}: {why}");
    }
}

#[test]
fn a_range_that_cannot_be_held_in_memory_is_refused() {
    let blocks = (65u64 << 20) / 4096;
    let text = format!(
        "<bmap version=\"2.0\"><ImageSize>{}</ImageSize><BlockSize>4096</BlockSize><BlocksCount>{blocks}</BlocksCount>\
         <MappedBlocksCount>{blocks}</MappedBlocksCount><ChecksumType>sha256</ChecksumType>\
         <BmapFileChecksum>-</BmapFileChecksum><BlockMap><Range chksum=\"{}\">0-{}</Range></BlockMap></bmap>",
        blocks * 4096,
        "0".repeat(64),
        blocks - 1
    );
    let why = Map::parse(&sealed(&text).unwrap()).unwrap_err();
    assert!(why.contains("more than 64 MiB"), "{why}");
}

#[test]
fn a_map_that_was_damaged_is_refused() {
    let map = written(&image(), 2 * 4096);
    let text = String::from_utf8(map.clone()).unwrap();
    let place = text.find("0-1").unwrap();
    let mut damaged = map.clone();
    damaged[place] = b'1';
    assert!(Map::parse(&damaged).unwrap_err().contains("own checksum differs"));
    let many: String = (0..200_000).map(|number| format!(" a{number}=\"\"")).collect();
    let many = format!("<bmap{many}/>");
    for (bytes, expected) in [
        (&map[..map.len() / 2], "no XML"),
        (b"\xff", "not UTF-8"),
        (b"<a/>", "no block map"),
        (b"<bmap version=\"2.0\"/>", "no ChecksumType"),
        (&vec![b' '; LONGEST + 1], "longer than"),
        (many.as_bytes(), "too many attributes"),
    ] {
        let why = Map::parse(bytes).unwrap_err();
        assert!(why.contains(expected), "{why}");
    }
    let text = text.replace("<BmapFileChecksum> ", "<BmapFileChecksum> x");
    assert!(Map::parse(text.as_bytes()).unwrap_err().contains("no SHA-256"));
}
