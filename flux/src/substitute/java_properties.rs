//! Java's properties files: `key=value`, `key: value`, `#` and `!` comments, lines continued by `\`.

use std::collections::BTreeMap;

/// Reads the entries; of equal keys the last one stays. The error is a line, from 1, and what is
/// wrong with it.
pub(crate) fn parse_properties(text: &str) -> Result<BTreeMap<String, String>, (usize, String)> {
    let mut entries = BTreeMap::new();
    let mut lines = text.strip_prefix('\u{feff}').unwrap_or(text).lines().enumerate();
    while let Some((index, line)) = lines.next() {
        let mut logical = line.trim_start().to_owned();
        if logical.is_empty() || logical.starts_with(['#', '!']) {
            continue;
        }
        while is_continued(&logical) {
            logical.pop();
            let Some((_, more)) = lines.next() else { break };
            logical.push_str(more.trim_start());
        }
        let (key, value) = entry(&logical).map_err(|message| (index + 1, message))?;
        entries.insert(key, value);
    }
    Ok(entries)
}

/// Whether a line ends in an odd number of backslashes.
fn is_continued(line: &str) -> bool {
    line.chars().rev().take_while(|c| *c == '\\').count() % 2 == 1
}

fn entry(line: &str) -> Result<(String, String), String> {
    let mut is_escaped = false;
    let end = line.find(|c: char| {
        let is_end = !is_escaped && (matches!(c, '=' | ':') || c.is_whitespace());
        is_escaped = c == '\\' && !is_escaped;
        is_end
    });
    let (key, rest) = line.split_at(end.unwrap_or(line.len()));
    let rest = rest.trim_start();
    let value = rest.strip_prefix(['=', ':']).unwrap_or(rest).trim_start();
    Ok((unescaped(key)?, unescaped(value)?))
}

fn unescaped(text: &str) -> Result<String, String> {
    let mut units: Vec<u16> = Vec::new();
    let plain = |c: char, units: &mut Vec<u16>| units.extend_from_slice(c.encode_utf16(&mut [0; 2]));
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            plain(c, &mut units);
            continue;
        }
        match chars.next() {
            Some('t') => plain('\t', &mut units),
            Some('n') => plain('\n', &mut units),
            Some('r') => plain('\r', &mut units),
            Some('f') => plain('\u{c}', &mut units),
            Some('u') => {
                let digits: String = chars.by_ref().take(4).collect();
                let is_hex = digits.len() == 4 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
                let unit = u16::from_str_radix(&digits, 16).ok().filter(|_| is_hex);
                units.push(unit.ok_or_else(|| format!("`\\u{digits}` is no character; expected four digits 0-f"))?);
            }
            Some(other) => plain(other, &mut units),
            None => {}
        }
    }
    String::from_utf16(&units).map_err(|_| "half a character: `\\u` escapes of a pair stand together".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_are_read_as_java_reads_them() {
        let text = "# comment\n! too\nport=6627\n host : a.example \nempty\nlong=one \\\n  two\nk\\=1=\\u00e9\\t!\n";
        let read = parse_properties(text).unwrap();
        let expected = [("port", "6627"), ("host", "a.example "), ("empty", ""), ("long", "one two"), ("k=1", "é\t!")];
        assert_eq!(read, expected.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect());
        assert_eq!(parse_properties("a=1\nb=\\u12x").unwrap_err().0, 2);
    }
}
