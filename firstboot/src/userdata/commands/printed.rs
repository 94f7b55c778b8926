//! What the arguments of `echo`, `printf` and `sed` mean.

use crate::userdata::sed;

/// What a `sed` is told to do.
pub(super) struct Sed<'w> {
    pub(super) substitutions: Vec<sed::Substitution>,
    pub(super) paths: Vec<&'w str>,
    pub(super) is_in_place: bool,
}

/// The arguments of a `sed`; `None` if it does more.
pub(super) fn sed_arguments<'w>(arguments: &[&'w str]) -> Option<Sed<'w>> {
    let (mut scripts, mut paths) = (Vec::new(), Vec::new());
    let (mut is_extended, mut is_in_place) = (false, false);
    let mut rest = arguments.iter().copied();
    while let Some(argument) = rest.next() {
        match argument {
            "--expression" => scripts.push(rest.next()?),
            "--regexp-extended" => is_extended = true,
            "--in-place" => is_in_place = true,
            option if option.starts_with("--in-place=") => is_in_place = true,
            option if option.starts_with('-') => {
                for (position, letter) in option.char_indices().skip(1) {
                    match letter {
                        'E' | 'r' => is_extended = true,
                        's' | 'u' => {}
                        'i' => {
                            is_in_place = true;
                            break;
                        }
                        'e' if position + 1 == option.len() => scripts.push(rest.next()?),
                        _ => return None,
                    }
                }
            }
            path => paths.push(path),
        }
    }
    if scripts.is_empty() {
        scripts.push(if paths.is_empty() { return None } else { paths.remove(0) });
    }
    let parsed: Option<Vec<_>> = scripts.into_iter().map(|script| sed::parse(script, is_extended)).collect();
    Some(Sed { substitutions: parsed?.into_iter().flatten().collect(), paths, is_in_place })
}

/// Whether `tee` appends, and its files; `None` if it does more.
pub(super) fn tee_arguments<'w>(arguments: &[&'w str]) -> Option<(bool, Vec<&'w str>)> {
    let (options, paths): (Vec<&str>, Vec<&str>) = arguments.iter().partition(|word| word.starts_with('-'));
    let is_option = |option: &&str| ["-a", "--append", "-i", "-ai", "-ia"].contains(option);
    let appends = options.iter().any(|option| option.contains('a'));
    options.iter().all(is_option).then_some((appends, paths))
}

/// What `echo` writes; `None` if that depends on the shell.
pub(super) fn echo(arguments: &[&str]) -> Option<String> {
    let (has_end, words) = match arguments {
        ["-n", words @ ..] => (false, words),
        words => (true, words),
    };
    let text = words.join(" ");
    let is_plain = !text.contains('\\') && !["-e", "-E", "-n"].iter().any(|option| text.starts_with(option));
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
