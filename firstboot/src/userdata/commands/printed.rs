//! What the arguments of `echo`, `printf` and `sed` mean.

use crate::userdata::sed;

/// The substitutions and the files of a `sed`; `None` if it does more.
pub(super) fn sed_arguments<'w>(arguments: &[&'w str]) -> Option<(Vec<sed::Substitution>, Vec<&'w str>)> {
    let (mut scripts, mut paths, mut is_extended) = (Vec::new(), Vec::new(), false);
    let mut rest = arguments.iter().copied();
    while let Some(argument) = rest.next() {
        match argument {
            "-e" | "--expression" => scripts.push(rest.next()?),
            "-E" | "-r" | "--regexp-extended" => is_extended = true,
            "-Ei" | "-ri" => is_extended = true,
            option if is_in_place(option) => {}
            option if option.starts_with('-') => return None,
            path => paths.push(path),
        }
    }
    if scripts.is_empty() {
        scripts.push(if paths.is_empty() { return None } else { paths.remove(0) });
    }
    let parsed: Option<Vec<_>> = scripts.into_iter().map(|script| sed::parse(script, is_extended)).collect();
    Some((parsed?.into_iter().flatten().collect(), paths))
}

/// What `echo` writes; `None` if that depends on the shell.
pub(super) fn echo(arguments: &[&str]) -> Option<String> {
    let (has_end, words) = match arguments {
        ["-n", words @ ..] => (false, words),
        words => (true, words),
    };
    let text = words.join(" ");
    let is_plain = !text.contains('\\') && !text.starts_with("-e") && !text.starts_with("-n");
    is_plain.then(|| if has_end { text + "\n" } else { text })
}

/// What `printf` writes, with `%s`, `%%` and the usual escapes.
pub(super) fn printf(arguments: &[&str]) -> Option<String> {
    let (format, mut words) = arguments.split_first().map(|(format, words)| (*format, words.iter()))?;
    let mut text = String::new();
    let mut rest = format.chars();
    while let Some(character) = rest.next() {
        match (character, if matches!(character, '%' | '\\') { rest.next() } else { None }) {
            ('%', Some('s')) => text.push_str(words.next().copied().unwrap_or_default()),
            ('%', Some('%')) => text.push('%'),
            ('\\', Some('n')) => text.push('\n'),
            ('\\', Some('t')) => text.push('\t'),
            ('\\', Some('\\')) => text.push('\\'),
            ('%' | '\\', _) => return None,
            (character, _) => text.push(character),
        }
    }
    words.next().is_none().then_some(text)
}

/// `-i`, `-Ei`, `-i.bak`, `--in-place`
pub(super) fn is_in_place(option: &str) -> bool {
    match option.strip_prefix('-') {
        Some(long) if long.starts_with('-') => long.starts_with("-in-place") || long.starts_with("-inplace"),
        Some(letters) => letters
            .split(|letter: char| !letter.is_ascii_alphabetic())
            .next()
            .is_some_and(|letters| letters.contains('i')),
        None => false,
    }
}
