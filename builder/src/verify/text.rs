//! How configurations are written: lines that go on in the next, and words in quotes.

use std::str::Chars;

/// Lines without those that are comments; one that ends in a backslash goes on in the next.
pub(super) fn logical_lines(text: &str, is_comment: fn(&str) -> bool) -> Vec<String> {
    let (mut lines, mut held) = (Vec::new(), String::new());
    for line in text.lines().filter(|line| !is_comment(line.trim_start())) {
        if let Some(part) = line.strip_suffix('\\') {
            held = held + part + " ";
        } else {
            lines.push((std::mem::take(&mut held) + line).trim().to_owned());
        }
    }
    lines.push(held.trim().to_owned());
    lines.retain(|line| !line.is_empty());
    lines
}

/// Words, of which one in quotes may have blanks. `\x20` and the like are what they stand for.
pub(super) fn words(text: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => word.get_or_insert_with(String::new).push(escaped(&mut letters)),
            _ if quote == Some(letter) => quote = None,
            '"' | '\'' if quote.is_none() => {
                quote = Some(letter);
                word.get_or_insert_with(String::new);
            }
            _ if quote.is_none() && letter.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_with(String::new).push(letter),
        }
    }
    words.extend(word);
    words
}

/// What the letters behind a backslash stand for.
fn escaped(letters: &mut Chars<'_>) -> char {
    let number = |rest: &str| u8::from_str_radix(rest.get(1..3)?, 16).ok();
    match letters.as_str() {
        rest if rest.starts_with('x') && number(rest).is_some() => {
            let letter = number(rest).map_or('x', char::from);
            letters.nth(2);
            letter
        }
        rest if rest.starts_with(['s', 't']) => {
            letters.next();
            ' '
        }
        _ => letters.next().unwrap_or('\\'),
    }
}

/// The name of a program or file: what follows the last slash.
pub(super) fn name_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_go_on_and_words_may_be_in_quotes() {
        let text = "a \\\n# no\n  b\n; no\nc\\";
        assert_eq!(logical_lines(text, |line| line.starts_with(['#', ';'])), ["a    b", "c"]);
        assert_eq!(words(r#"f+ "/etc/a b" '' c\x20d e\"f \"#), ["f+", "/etc/a b", "", "c d", "e\"f", "\\"]);
    }
}
