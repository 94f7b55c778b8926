//! Squarified treemaps (Bruls, Huizing, van Wijk, 2000): areas in proportion, as square as a row allows.

/// A rectangle, in pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Area {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) width: f64,
    pub(super) height: f64,
}

impl Area {
    /// Without a margin on each side and `top` more above.
    pub(super) fn inside(self, margin: f64, top: f64) -> Self {
        Self {
            x: self.x + margin,
            y: self.y + margin + top,
            width: (self.width - 2.0 * margin).max(0.0),
            height: (self.height - 2.0 * margin - top).max(0.0),
        }
    }
}

/// Divides `area` among `sizes`, which are sorted, the largest first.
pub(super) fn squarify(sizes: &[u64], area: Area) -> Vec<Area> {
    let total: u64 = sizes.iter().sum();
    let mut areas = Vec::with_capacity(sizes.len());
    if total == 0 {
        return areas;
    }
    let scale = area.width * area.height / total as f64;
    let (mut rest, mut left) = (sizes, area);
    while !rest.is_empty() {
        let side = left.width.min(left.height);
        let mut count = 1;
        while count < rest.len() && worst(&rest[..=count], side, scale) <= worst(&rest[..count], side, scale)
        {
            count += 1;
        }
        let (row, others) = rest.split_at(count);
        left = place(row, left, scale, &mut areas);
        rest = others;
    }
    areas
}

/// The largest ratio of sides in a row along `side`.
fn worst(row: &[u64], side: f64, scale: f64) -> f64 {
    let sum = row.iter().sum::<u64>() as f64 * scale;
    let (largest, smallest) = (row[0] as f64 * scale, row[row.len() - 1] as f64 * scale);
    (side * side * largest / (sum * sum)).max(sum * sum / (side * side * smallest))
}

/// Puts a row along the shorter side, and returns what is left of the area.
fn place(row: &[u64], area: Area, scale: f64, areas: &mut Vec<Area>) -> Area {
    let sum = row.iter().sum::<u64>() as f64 * scale;
    let is_upright = area.width >= area.height;
    let side = if is_upright { area.height } else { area.width };
    let thickness = if side > 0.0 { sum / side } else { 0.0 };
    let mut at = 0.0;
    for size in row {
        let length = if thickness > 0.0 { *size as f64 * scale / thickness } else { 0.0 };
        areas.push(if is_upright {
            Area { x: area.x, y: area.y + at, width: thickness, height: length }
        } else {
            Area { x: area.x + at, y: area.y, width: length, height: thickness }
        });
        at += length;
    }
    if is_upright {
        Area { x: area.x + thickness, width: (area.width - thickness).max(0.0), ..area }
    } else {
        Area { y: area.y + thickness, height: (area.height - thickness).max(0.0), ..area }
    }
}
