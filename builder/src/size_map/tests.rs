use super::squarify::{Area, squarify};
use super::*;
use crate::tree::{Body, Entry};

fn map(files: &[(&str, usize)]) -> SizeMap {
    let mut tree = Tree::default();
    for (path, size) in files {
        tree.insert(*path, Entry::file(Body::inline(vec![0; *size]), 0o644));
    }
    let layers = vec![("base".to_owned(), 3 << 20), ("a<b".to_owned(), 1 << 20)];
    SizeMap { title: "node & co".to_owned(), layers, root: Some(Folder::of(&tree)) }
}

const FILES: &[(&str, usize)] =
    &[("usr/bin/kubelet", 3 << 20), ("usr/lib/x", 1 << 20), ("etc/<b>\"&", 1 << 20), ("etc/tiny", 1)];

#[test]
fn sizes_of_folders_are_sums_of_their_files() {
    let root = map(FILES).root.unwrap();
    assert_eq!((root.size, root.files), ((5 << 20) + 1, 4));
    assert_eq!((root.children["usr"].size, root.children["etc"].files), (4 << 20, 2));
    assert_eq!(root.children["usr"].children["bin"].children["kubelet"].size, 3 << 20);
}

#[test]
fn rectangles_fill_the_area_in_proportion_and_stay_inside() {
    let area = Area { x: 10.0, y: 20.0, width: 600.0, height: 400.0 };
    for sizes in [&[6, 6, 4, 3, 2, 2, 1][..], &[1], &[1000, 1], &[5; 40]] {
        let areas = squarify(sizes, area);
        let total: u64 = sizes.iter().sum();
        assert_eq!(areas.len(), sizes.len());
        for (size, one) in sizes.iter().zip(&areas) {
            let wanted = 240_000.0 * *size as f64 / total as f64;
            assert!((one.width * one.height - wanted).abs() < 0.01, "{sizes:?}: {one:?}");
            assert!(one.x >= 9.99 && one.y >= 19.99, "{one:?}");
            assert!(one.x + one.width <= 610.01 && one.y + one.height <= 420.01, "{one:?}");
        }
    }
    // The example of the paper: none of its rectangles is longer than four times its width.
    for one in squarify(&[6, 6, 4, 3, 2, 2, 1], Area { x: 0.0, y: 0.0, width: 6.0, height: 4.0 }) {
        assert!(one.width / one.height <= 4.0 && one.height / one.width <= 4.0, "{one:?}");
    }
    assert!(squarify(&[], area).is_empty() && squarify(&[0, 0], area).is_empty());
}

#[test]
fn the_picture_is_the_same_twice_and_says_what_it_shows() {
    let picture = svg(&map(FILES));
    assert_eq!(picture, svg(&map(FILES)));
    for part in [
        "node &amp; co",
        "5.0 MiB in 4 files; 2 layers with 4.0 MiB",
        "<title>/usr/bin/kubelet: 3.0 MiB</title>",
        "base 3.0 MiB",
        "/usr/bin 3.0 MiB",
        "<title>a&lt;b 1.0 MiB</title>",
        "<title>/etc/&lt;b&gt;&quot;&amp;: 1.0 MiB</title>",
    ] {
        assert!(picture.contains(part), "{part}");
    }
    assert!(!picture.contains("a<b") && !picture.contains("<b>"));
    let page = html(&map(FILES));
    assert!(page.starts_with("<!doctype html>") && page.contains("<svg ") && !page.contains("<script"));
}

#[test]
fn an_image_without_files_or_layers_still_gives_a_picture() {
    for root in [None, Some(Folder::default())] {
        let picture = svg(&SizeMap { title: "x".to_owned(), layers: Vec::new(), root });
        assert!(picture.contains("</svg>") && !picture.contains("NaN"), "{picture}");
    }
}

#[test]
fn many_files_make_one_rectangle_of_those_too_small_to_see() {
    let files: Vec<(String, usize)> = (0..5000).map(|number| (format!("usr/share/{number}"), 1000)).collect();
    let mut all: Vec<(&str, usize)> = files.iter().map(|(path, size)| (path.as_str(), *size)).collect();
    all.push(("usr/bin/big", 8 << 20));
    let picture = svg(&map(&all));
    assert!(picture.len() < 10_000 && picture.contains("smaller"), "{}", picture.len());
}
