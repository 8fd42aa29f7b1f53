//! Addresses of mail: `a@example.com` and `A <a@example.com>`. Must never take what could be read as two addresses, or as
//! another header.

/// The longest address with its name, in bytes.
pub(super) const MAX_BYTES: usize = 512;
/// By RFC 5321.
const MAX_LOCAL_BYTES: usize = 64;
const MAX_DOMAIN_BYTES: usize = 253;
const MAX_LABEL_BYTES: usize = 63;

/// An address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Address<'a> {
    /// All of it, the name included.
    pub(super) text: &'a str,
    /// What stands before the `@`.
    pub(super) local: &'a str,
    /// What stands behind the `@`.
    pub(super) domain: &'a str,
}

impl Address<'_> {
    /// Whether both lead to one mailbox, whatever the names before them.
    pub(super) fn is_mailbox_of(&self, other: &Address<'_>) -> bool {
        self.local == other.local && self.domain.eq_ignore_ascii_case(other.domain)
    }
}

/// Reads an address.
///
/// # Errors
/// What is wrong with it.
pub(super) fn read(text: &str) -> Result<Address<'_>, &'static str> {
    let text = text.trim_matches(' ');
    if text.len() > MAX_BYTES {
        return Err("an address has at most 512 bytes");
    }
    if text.chars().any(breaks_a_line) {
        return Err("an address has no control characters");
    }
    let bare = match text.split_once('<') {
        None => text,
        Some((name, rest)) if is_name(name.trim_matches(' ')) => rest
            .strip_suffix('>')
            .ok_or("an address is a@example.com or A <a@example.com>")?,
        Some(_) => return Err("a name with special characters before an address is in double quotes"),
    };
    let (local, domain) = bare
        .rsplit_once('@')
        .ok_or("an address is a@example.com or A <a@example.com>")?;
    if !is_local(local) || !is_domain(domain) {
        return Err("an address is a@example.com or A <a@example.com>; a domain in another script is in punycode");
    }
    Ok(Address { text, local, domain })
}

/// Whether a character could end a header.
pub(super) fn breaks_a_line(char: char) -> bool {
    char.is_control() || matches!(char, '\u{2028}' | '\u{2029}')
}

/// A name as it is, or in double quotes without a quote inside.
fn is_name(name: &str) -> bool {
    match name.strip_prefix('"') {
        Some(quoted) => quoted
            .strip_suffix('"')
            .is_some_and(|inside| !inside.contains(['"', '\\'])),
        None => !name.contains(['"', '\\', ',', ';', ':', '@', '<', '>', '(', ')', '[', ']']),
    }
}

fn is_local(local: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~.".contains(&byte);
    (1..=MAX_LOCAL_BYTES).contains(&local.len())
        && local.bytes().all(is_plain)
        && !local.starts_with('.')
        && !local.ends_with('.')
        && !local.contains("..")
}

fn is_domain(domain: &str) -> bool {
    let is_label = |label: &str| {
        (1..=MAX_LABEL_BYTES).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    domain.len() <= MAX_DOMAIN_BYTES && domain.contains('.') && domain.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_with_and_without_a_name() {
        for (text, domain) in [
            ("a@example.com", "example.com"),
            (" a@example.com ", "example.com"),
            ("Ada Lovelace <ada+x@mail.example.com>", "mail.example.com"),
            ("<ada@example.com>", "example.com"),
            ("Ürsula 東 <u@example.com>", "example.com"),
            ("\"Lovelace, Ada: (CEO)\" <ada@example.com>", "example.com"),
            ("o'neil@xn--bcher-kva.example", "xn--bcher-kva.example"),
        ] {
            assert_eq!(read(text).map(|address| address.domain), Ok(domain), "{text}");
        }
    }

    #[test]
    fn what_could_be_two_addresses_or_a_header_is_none() {
        let long = format!("{}@example.com", "a".repeat(65));
        for text in [
            "",
            "a",
            "a@",
            "@example.com",
            "a@localhost",
            "a@b@example.com",
            "a@example.com, b@example.com",
            "a@example.com;b@example.com",
            "a@example.com b@example.com",
            "a@example.com\r\nBcc: x@example.com",
            "A\n <a@example.com>",
            "A\u{2028} <a@example.com>",
            "A\u{0} <a@example.com>",
            "A <a@example.com> B",
            "A <a@example.com",
            "A <<a@example.com>>",
            "b@example.com <a@example.com>",
            "Doe, John <a@example.com>",
            "\"a\" \"b\" <a@example.com>",
            "\"a <a@example.com>",
            ".a@example.com",
            "a..b@example.com",
            "ü@example.com",
            "a@bücher.example",
            "a@-x.example",
            "a@example..com",
            "a@example.com.",
            "a@[127.0.0.1]",
            "\"a b\"@example.com",
            long.as_str(),
        ] {
            assert!(read(text).is_err(), "{text:?}");
        }
    }
}
