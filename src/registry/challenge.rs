//! `WWW-Authenticate`: what a registry wants to see before it answers.
//!
//! RFC 9110, section 11.6.1, read leniently, as registries write it: several challenges in one
//! line or in several, in any order, with or without quotes, and among schemes unknown here.

use std::collections::BTreeMap;

/// One scheme that would be accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Challenge {
    /// The scheme in lower case, `bearer`.
    pub(super) scheme: String,
    /// Its parameters, keys in lower case.
    pub(super) params: BTreeMap<String, String>,
}

/// Longer headers are cut: no challenge needs as much.
const LONGEST: usize = 8 * 1024;

/// Reads the challenges of one header line; what cannot be read is passed over.
pub(super) fn parse(line: &str) -> Vec<Challenge> {
    let mut rest = line.get(..LONGEST).unwrap_or(line);
    let mut challenges: Vec<Challenge> = Vec::new();
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if rest.is_empty() {
            return challenges;
        }
        let (word, after) = split_where(rest, |c| matches!(c, ' ' | '\t' | ',' | '='));
        let value_follows = after.trim_start().strip_prefix('=').filter(|_| !word.is_empty());
        match value_follows {
            Some(value) => {
                let (value, after) = read_value(value.trim_start());
                if let Some(challenge) = challenges.last_mut() {
                    challenge.params.entry(word.to_ascii_lowercase()).or_insert(value);
                }
                rest = after;
            }
            None if word.is_empty() => rest = rest.get(1..).unwrap_or(""),
            None => {
                challenges.push(Challenge { scheme: word.to_ascii_lowercase(), params: BTreeMap::new() });
                rest = skip_token68(after);
            }
        }
    }
}

/// What some schemes have in place of parameters, `Negotiate YII==`.
fn skip_token68(rest: &str) -> &str {
    let (token, after) = split_where(rest.trim_start(), |c| matches!(c, ' ' | '\t' | ','));
    let is_token68 = token.trim_end_matches('=').bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~+/".contains(&b));
    let ends_here = after.is_empty() || after.trim_start().starts_with(',');
    if is_token68 && ends_here && !after.trim_start().starts_with('=') && !token.is_empty() { after } else { rest }
}

fn read_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let (value, after) = split_where(text, |c| matches!(c, ' ' | '\t' | ','));
        return (value.to_owned(), after);
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            c => value.push(c),
        }
    }
    (value, "")
}

fn split_where(text: &str, ends: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(ends).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(line: &str) -> String {
        let challenge = |c: Challenge| {
            let params: Vec<String> = c.params.iter().map(|(k, v)| format!("{k}={v}")).collect();
            format!("{}[{}]", c.scheme, params.join(" "))
        };
        parse(line).into_iter().map(challenge).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn every_form_seen_in_the_field_is_read() {
        for (line, meaning) in [
            (
                r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push""#,
                "bearer[realm=https://auth.docker.io/token scope=repository:a/b:pull,push service=registry.docker.io]",
            ),
            ("Bearer realm=https://a.example/token, service=x", "bearer[realm=https://a.example/token service=x]"),
            (r#"bearer Realm = "/token""#, "bearer[realm=/token]"),
            (r#"Basic realm="say \"hello\"""#, r#"basic[realm=say "hello"]"#),
            (r#"Negotiate, Bearer realm="r""#, "negotiate[] bearer[realm=r]"),
            (r#"Negotiate YIIabc==, Bearer realm="r""#, "negotiate[] bearer[realm=r]"),
            (
                r#"Basic realm="a", Bearer realm="b",error="invalid_token""#,
                "basic[realm=a] bearer[error=invalid_token realm=b]",
            ),
            (r#",, Bearer ,realm="b",,"#, "bearer[realm=b]"),
            ("Basic", "basic[]"),
            (r#"Bearer realm="unterminated"#, "bearer[realm=unterminated]"),
            ("", ""),
            ("=,=", ""),
        ] {
            assert_eq!(read(line), meaning, "{line}");
        }
    }

    proptest! {
        #[test]
        fn no_line_makes_it_panic_or_loop(line in "[ -~é\t]{0,80}") {
            parse(&line);
        }
    }
}
