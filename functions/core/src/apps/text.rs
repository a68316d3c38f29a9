//! Words of other parties, as a page or an error may show them.

/// The longest name that is shown, in characters.
const LONGEST_NAME: usize = 60;

/// Characters that show as nothing or change what is shown beside them: controls, and those that Unicode gives the
/// property `Default_Ignorable_Code_Point` or `Bidi_Control`, or that are for private use, or that end a line.
fn is_hidden(char: char) -> bool {
    char.is_control()
        || matches!(char,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{e000}'..='\u{f8ff}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffd}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{10ffff}')
}

/// Marks that are drawn over the letter before them. A few are letters' own; many cover the lines above and below.
fn is_mark(char: char) -> bool {
    matches!(char,
        '\u{300}'..='\u{36f}' | '\u{483}'..='\u{489}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}'
        | '\u{20d0}'..='\u{20ff}' | '\u{fe20}'..='\u{fe2f}')
}

/// A text of another party without what is hidden, on one line, of at most so many characters.
pub fn shown(text: &str, longest: usize) -> String {
    let (mut shown, mut length, mut marks, mut gap) = (String::new(), 0, 0, false);
    for char in text.chars() {
        if char.is_whitespace() {
            gap = !shown.is_empty();
            continue;
        }
        if is_hidden(char) {
            continue;
        }
        marks = if is_mark(char) { marks + 1 } else { 0 };
        if marks > 2 || (marks > 0 && length == 0) {
            continue;
        }
        if length + usize::from(gap) >= longest {
            shown.push('…');
            break;
        }
        if gap {
            shown.push(' ');
            length += 1;
            gap = false;
        }
        shown.push(char);
        length += 1;
    }
    shown
}

/// What an app calls itself, if anything of it can be shown.
pub fn shown_name(name: &str) -> Option<String> {
    Some(shown(name, LONGEST_NAME)).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_shown_without_what_hides_or_turns_text() {
        for (name, seen) in [
            ("Cursor", "Cursor"),
            ("  Claude \n Code\t", "Claude Code"),
            ("Claude\u{202e}edoC", "ClaudeedoC"),
            ("\u{2066}Git\u{2069}Hub\u{200f}", "GitHub"),
            ("Cla\u{200b}u\u{ad}de\u{feff}\u{e0041}", "Claude"),
            ("\u{1b}[31mred", "[31mred"),
            ("a\u{2028}b", "a b"),
            ("Z\u{341}\u{341}\u{341}\u{341}\u{341}a", "Z\u{341}\u{341}a"),
            ("\u{301}\u{301}x", "x"),
            ("<b>Claude</b>", "<b>Claude</b>"),
            ("日本語アプリ", "日本語アプリ"),
        ] {
            assert_eq!(shown_name(name).as_deref(), Some(seen), "{name:?}");
        }
        for nothing in ["", " \n", "\u{202e}", "\u{3164}\u{2800}"] {
            assert_eq!(shown_name(nothing), None, "{nothing:?}");
        }
    }

    #[test]
    fn a_name_is_cut_at_sixty_characters() {
        let cut = shown_name(&"a".repeat(10_000)).unwrap();
        assert_eq!(cut, format!("{}…", "a".repeat(60)));
        assert_eq!(shown_name(&"a".repeat(60)).unwrap(), "a".repeat(60));
        assert_eq!(shown(&format!("{} b", "a".repeat(60)), 60), format!("{}…", "a".repeat(60)));
    }
}
