//! Columns of text for terminals.

/// The width of a column with these texts, at least `least`: a longer one must not move what follows it.
pub(crate) fn widest<'a>(least: usize, texts: impl Iterator<Item = &'a str>) -> usize {
    texts.map(|text| text.chars().count()).fold(least, usize::max)
}
