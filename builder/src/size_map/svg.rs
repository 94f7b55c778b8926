//! The picture as SVG, alone or in a page of HTML.

use std::fmt::Write;

use super::squarify::{Area, squarify};
use super::{Folder, SizeMap};
use crate::markup::escaped;

const WIDTH: f64 = 1200.0;
/// Above the first heading: the title.
const HEAD: f64 = 76.0;
/// Between a heading and what it is for.
const BELOW: f64 = 8.0;
const STRIP: f64 = 40.0;
const MAP: f64 = 760.0;
/// Between the parts of the picture, for their headings.
const GAP: f64 = 34.0;
/// A line of the legend.
const LEGEND: f64 = 22.0;
/// How wide an entry of the legend is.
const ENTRY: f64 = 240.0;
/// The line for a folder's name.
const LABEL: f64 = 17.0;
/// A letter of a label, on the average.
const LETTER: f64 = 6.6;
/// The smallest area of a rectangle of its own, in square pixels: smaller things are drawn as one.
const SMALLEST: f64 = 160.0;
/// The smallest sides of a folder whose contents are drawn.
const SMALLEST_FOLDER: (f64, f64) = (56.0, 44.0);
/// How deep folders are drawn in folders.
const DEEPEST: usize = 6;

/// Colours of the folders of the legend, the largest first; all others have the last one.
const COLOURS: [&str; 8] =
    ["#7fb2e5", "#f2b46d", "#8ccf9b", "#d9a0d8", "#e8908a", "#9fd4d3", "#d8cf7e", "#c3c7cf"];
const LAYERS: [&str; 2] = ["#b9cbe0", "#d3dfec"];
const INK: &str = "#1c2330";

/// The picture as a file of its own.
pub fn svg(map: &SizeMap) -> String {
    format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{}", picture(map))
}

/// The picture in a page without scripts.
pub fn html(map: &SizeMap) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <title>{title}</title>\n<style>body{{margin:1rem;background:#fff}}svg{{width:100%;height:auto}}</style>\n{}</html>\n",
        picture(map),
        title = escaped(&map.title),
    )
}

fn picture(map: &SizeMap) -> String {
    let colours = map.root.as_ref().map(Palette::of).unwrap_or_default();
    let mut body = String::new();
    let mut y = HEAD;
    if !map.layers.is_empty() {
        heading(&mut body, y, "Layers, by the length of their archives");
        let area = Area { x: 16.0, y: y + BELOW, width: WIDTH - 32.0, height: STRIP };
        strip(&mut body, &map.layers, area);
        y += BELOW + STRIP + GAP;
    }
    match &map.root {
        Some(root) => {
            heading(&mut body, y, "Folders, by the bytes of their files");
            let area = Area { x: 16.0, y: y + BELOW, width: WIDTH - 32.0, height: MAP };
            Drawing { body: &mut body, colours: &colours }.contents("", root, area, 0);
            y += BELOW + MAP + GAP;
            y = legend(&mut body, &colours, y);
        }
        None => {
            heading(&mut body, y, "No output of the image has files that can be read: no folders are shown");
            y += GAP;
        }
    }
    let (title, about) = (escaped(&map.title), escaped(&about(map)));
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {y}\" width=\"{WIDTH}\" height=\"{y}\" \
         font-family=\"sans-serif\" font-size=\"12\" fill=\"{INK}\" role=\"img\">\n<title>{title}: {about}</title>\n\
         <rect width=\"{WIDTH}\" height=\"{y}\" fill=\"#ffffff\"/>\n\
         <text x=\"16\" y=\"26\" font-size=\"18\" font-weight=\"bold\">{title}</text>\n\
         <text x=\"16\" y=\"44\">{about}</text>\n{body}</svg>\n"
    )
}

/// "443.1 MiB in 12345 files, 13 layers"
fn about(map: &SizeMap) -> String {
    let mut parts = Vec::new();
    if let Some(root) = &map.root {
        parts.push(format!("{} in {} files", mebibytes(root.size), root.files));
    }
    if !map.layers.is_empty() {
        let total = map.layers.iter().map(|(_, size)| size).sum();
        parts.push(format!("{} layers with {}", map.layers.len(), mebibytes(total)));
    }
    parts.join("; ")
}

fn heading(body: &mut String, y: f64, text: &str) {
    let _ = writeln!(body, "<text x=\"16\" y=\"{:.1}\" font-weight=\"bold\">{}</text>", y, escaped(text));
}

/// The layers side by side, in their order.
fn strip(body: &mut String, layers: &[(String, u64)], area: Area) {
    let total: u64 = layers.iter().map(|(_, size)| size).sum::<u64>().max(1);
    let mut x = area.x;
    for (number, (name, size)) in layers.iter().enumerate() {
        let width = area.width * *size as f64 / total as f64;
        let label = format!("{name} {}", mebibytes(*size));
        rectangle(body, Area { x, width, ..area }, LAYERS[number % LAYERS.len()], &label, Some(&label));
        x += width;
    }
}

/// The folders that have colours, with their sizes, the largest first: those at the top, but in place of one
/// that has more than half of all, those in it.
#[derive(Default)]
struct Palette(Vec<(String, u64)>);

impl Palette {
    fn of(root: &Folder) -> Self {
        let mut folders = Vec::new();
        for (name, folder) in &root.children {
            if folder.size > root.size / 2 && !folder.children.is_empty() {
                folders.extend(
                    folder.children.iter().map(|(inner, child)| (format!("{name}/{inner}"), child.size)),
                );
            } else {
                folders.push((name.clone(), folder.size));
            }
        }
        folders.sort_by_key(|(_, size)| std::cmp::Reverse(*size));
        Self(folders)
    }

    fn colour(&self, path: &str) -> &'static str {
        let has = |folder: &str| {
            path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let place = self.0.iter().position(|(folder, _)| has(folder)).unwrap_or(COLOURS.len());
        COLOURS[place.min(COLOURS.len() - 1)]
    }
}

/// What a folder holds, the largest first.
fn sorted(folder: &Folder) -> Vec<(&str, &Folder)> {
    let mut children: Vec<(&str, &Folder)> =
        folder.children.iter().map(|(name, child)| (name.as_str(), child)).collect();
    children.sort_by_key(|(name, child)| (std::cmp::Reverse(child.size), *name));
    children
}

struct Drawing<'a> {
    body: &'a mut String,
    colours: &'a Palette,
}

impl Drawing<'_> {
    fn contents(&mut self, path: &str, folder: &Folder, area: Area, depth: usize) {
        let children = sorted(folder);
        let pixels = area.width * area.height / folder.size.max(1) as f64;
        let is_drawn = |(_, child): &&(&str, &Folder)| child.size as f64 * pixels >= SMALLEST;
        let drawn: Vec<&(&str, &Folder)> = children.iter().take_while(is_drawn).collect();
        let small = &children[drawn.len()..];
        let small_size: u64 = small.iter().map(|(_, child)| child.size).sum();
        let mut sizes: Vec<u64> = drawn.iter().map(|(_, child)| child.size).collect();
        // What is left comes last, though together it may be larger than some before it.
        sizes.extend(Some(small_size).filter(|size| *size > 0));
        let areas = squarify(&sizes, area);
        for ((name, child), area) in drawn.iter().zip(&areas) {
            let path = if path.is_empty() { (*name).to_owned() } else { format!("{path}/{name}") };
            self.one(&path, name, child, *area, depth);
        }
        if let Some(area) = areas.get(drawn.len()) {
            let files: u64 = small.iter().map(|(_, child)| child.files).sum();
            let title = format!("/{path}: {} smaller files, {}", files, mebibytes(small_size));
            let colour = if path.is_empty() { COLOURS[COLOURS.len() - 1] } else { self.colours.colour(path) };
            rectangle(self.body, *area, colour, &title, Some(&format!("{files} smaller")));
        }
    }

    fn one(&mut self, path: &str, name: &str, folder: &Folder, area: Area, depth: usize) {
        let is_folder = !folder.children.is_empty();
        let has_room = area.width >= SMALLEST_FOLDER.0 && area.height >= SMALLEST_FOLDER.1;
        let colour = self.colours.colour(path);
        let title = match is_folder {
            true => format!("/{path}: {} in {} files", mebibytes(folder.size), folder.files),
            false => format!("/{path}: {}", mebibytes(folder.size)),
        };
        let label = format!("{name}{} {}", if is_folder { "/" } else { "" }, mebibytes(folder.size));
        rectangle(self.body, area, colour, &title, Some(&label));
        if is_folder && has_room && depth < DEEPEST {
            self.contents(path, folder, area.inside(3.0, LABEL - 3.0), depth + 1);
        }
    }
}

/// A rectangle with what a pointer over it shows, and as much of its label as fits.
fn rectangle(body: &mut String, area: Area, colour: &str, title: &str, label: Option<&str>) {
    let Area { x, y, width, height } = area;
    let _ = write!(
        body,
        "<g><title>{}</title><rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" \
         fill=\"{colour}\" stroke=\"#ffffff\"/>",
        escaped(title)
    );
    let label = label.filter(|_| height >= LABEL).and_then(|label| shortened(label, width - 8.0));
    if let Some(label) = label {
        let _ = write!(body, "<text x=\"{:.1}\" y=\"{:.1}\">{}</text>", x + 4.0, y + 13.0, escaped(&label));
    }
    body.push_str("</g>\n");
}

/// As much of a label as has room in `width`; nothing if that says nothing.
fn shortened(label: &str, width: f64) -> Option<String> {
    let room = (width / LETTER).max(0.0) as usize;
    if label.chars().count() <= room {
        return Some(label.to_owned());
    }
    (room >= 4).then(|| label.chars().take(room - 1).chain(['…']).collect())
}

fn legend(body: &mut String, colours: &Palette, mut y: f64) -> f64 {
    let mut x = 16.0;
    let named = colours.0.iter().take(COLOURS.len() - 1).map(|(path, size)| (format!("/{path}"), *size));
    let others: u64 = colours.0.iter().skip(COLOURS.len() - 1).map(|(_, size)| size).sum();
    let others = Some(("others".to_owned(), others)).filter(|(_, size)| *size > 0);
    for (name, size) in named.chain(others) {
        if x + ENTRY > WIDTH {
            (x, y) = (16.0, y + LEGEND);
        }
        let colour = colours.colour(name.trim_start_matches('/'));
        let label = shortened(&format!("{name} {}", mebibytes(size)), ENTRY - 24.0).unwrap_or_default();
        let _ = writeln!(
            body,
            "<rect x=\"{x:.1}\" y=\"{:.1}\" width=\"12\" height=\"12\" fill=\"{colour}\"/><text x=\"{:.1}\" y=\"{y:.1}\">{}</text>",
            y - 11.0,
            x + 18.0,
            escaped(&label)
        );
        x += ENTRY;
    }
    y + LEGEND
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}
