//! Rust source with comments and the insides of literals blanked out, so that rules about code do not trip over prose.
//! Knows just enough of Rust's tokens for that; lines and columns stay where they were.

/// Returns the source with every character of comments and literals replaced by a blank; line breaks stay.
pub(super) fn code_only(source: &str) -> String {
    let characters: Vec<char> = source.chars().collect();
    let mut code = String::with_capacity(source.len());
    let mut at = 0;
    while at < characters.len() {
        let end = match token_to_blank(&characters, at) {
            None => {
                code.push(characters[at]);
                at += 1;
                continue;
            }
            Some(end) => end.min(characters.len()),
        };
        code.extend(characters[at..end].iter().map(|character| if *character == '\n' { '\n' } else { ' ' }));
        at = end;
    }
    code
}

/// Returns the end of the comment or literal that begins at `at`; `None` when none does.
fn token_to_blank(characters: &[char], at: usize) -> Option<usize> {
    let next = characters.get(at + 1).copied();
    match characters[at] {
        '/' if next == Some('/') => Some(find(characters, at, '\n')),
        '/' if next == Some('*') => Some(block_comment_end(characters, at)),
        '"' => Some(quoted_end(characters, at, '"')),
        '\'' if is_char_literal(characters, at) => Some(quoted_end(characters, at, '\'')),
        'r' if !follows_name(characters, at) => raw_string_end(characters, at),
        _ => None,
    }
}

fn find(characters: &[char], from: usize, wanted: char) -> usize {
    characters[from..]
        .iter()
        .position(|character| *character == wanted)
        .map_or(characters.len(), |step| from + step)
}

fn block_comment_end(characters: &[char], start: usize) -> usize {
    let mut depth = 0;
    let mut at = start;
    while at + 1 < characters.len() {
        match (characters[at], characters[at + 1]) {
            ('/', '*') => depth += 1,
            ('*', '/') => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            return at;
        }
    }
    characters.len()
}

fn quoted_end(characters: &[char], start: usize, quote: char) -> usize {
    let mut at = start + 1;
    while at < characters.len() && characters[at] != quote {
        at += if characters[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

/// A quote opens a character unless it opens a lifetime: `'a'` and `'\n'`, but not `'a`.
fn is_char_literal(characters: &[char], at: usize) -> bool {
    characters.get(at + 1) == Some(&'\\') || characters.get(at + 2) == Some(&'\'')
}

/// The `r` of `r"…"` or `br#"…"#` stands alone or behind a `b`, never at the end of a name.
fn follows_name(characters: &[char], at: usize) -> bool {
    let is_name =
        |index: usize| characters.get(index).is_some_and(|found| found.is_alphanumeric() || *found == '_');
    match at.checked_sub(1) {
        Some(before) if characters[before] == 'b' => before.checked_sub(1).is_some_and(is_name),
        Some(before) => is_name(before),
        None => false,
    }
}

fn raw_string_end(characters: &[char], start: usize) -> Option<usize> {
    let hashes = characters[start + 1..].iter().take_while(|character| **character == '#').count();
    let open = start + 1 + hashes;
    if characters.get(open) != Some(&'"') {
        return None;
    }
    let mut at = open + 1;
    loop {
        at = find(characters, at, '"') + 1;
        let closes =
            characters.get(at..at + hashes).is_some_and(|after| after.iter().all(|found| *found == '#'));
        if closes || at >= characters.len() {
            return Some(at + hashes);
        }
    }
}
