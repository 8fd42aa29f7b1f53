//! How deep an expression nests, told from its text before it is parsed: the parser, the lowering and the evaluation
//! all recurse, and a stack that overflows cannot be caught.

/// Every level of the syntax tree is opened by a bracket or an operator; more than this many around one place are
/// refused. A chain of 128 fields or alternatives fits.
const MAX_DEPTH: usize = 128;

/// Refuses an expression whose syntax tree would be too deep.
///
/// Counts the operators that can stand above each place: those before it since the last comma, on its own bracket
/// level and on each level around it. The tree is at most a small constant times deeper than that.
pub(super) fn check(expression: &str) -> Result<(), String> {
    let mut levels: Vec<usize> = vec![0];
    let mut depth = 0_usize;
    let mut chars = expression.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '"' | '\'' | '`' => skip_quoted(&mut chars, char),
            '.' | '*' | '!' | '=' | '<' | '>' | '|' | '&' | '[' | '{' | '(' => {
                if matches!(chars.peek(), Some('=' | '|' | '&')) && !matches!(char, '.' | '*' | '[' | '{' | '(') {
                    chars.next();
                }
                if let Some(level) = levels.last_mut() {
                    *level = level.saturating_add(1);
                }
                depth = depth.saturating_add(1);
                if matches!(char, '[' | '{' | '(') {
                    levels.push(0);
                }
            }
            ']' | '}' | ')' if levels.len() > 1 => depth = depth.saturating_sub(levels.pop().unwrap_or(0)),
            ',' => {
                if let Some(level) = levels.last_mut() {
                    depth = depth.saturating_sub(std::mem::take(level));
                }
            }
            _ => {}
        }
        if depth > MAX_DEPTH {
            return Err(format!(
                "the expression nests deeper than {MAX_DEPTH} operators and brackets"
            ));
        }
    }
    Ok(())
}

/// Skips to behind the closing quote; a backslash takes the next character along, as in the parser.
fn skip_quoted(chars: &mut impl Iterator<Item = char>, quote: char) {
    while let Some(char) = chars.next() {
        if char == quote {
            return;
        }
        if char == '\\' {
            chars.next();
        }
    }
}
