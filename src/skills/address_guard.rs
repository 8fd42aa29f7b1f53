//! The address guard: which URLs that a caller chose may be fetched. It must let nothing through that leads to this
//! machine, a private network, a cloud's metadata, our own hosts or our integrations', in whatever notation.
//!
//! The guard judges what the URL standard's parser made of the text, never the text itself: decimal, octal, hex and
//! shortened IPv4, percent-encoding, full-width digits and other IDN tricks are one canonical host by then. It is asked
//! again for every redirect, and again after references are resolved.

mod networks;

use std::{collections::BTreeSet, net::IpAddr};

use url::{Host, Url};

/// The longest URL, in bytes.
pub const MAX_URL_BYTES: usize = 8 * 1024;

/// The longest name, in bytes, and the longest of its labels (RFC 1035 section 2.3.4).
const MAX_NAME_BYTES: usize = 253;
const MAX_LABEL_BYTES: usize = 63;

/// Top-level names that no public server has: reserved (RFC 2606, 6761, 6762, 7686, 8375, 9476), set aside by ICANN
/// for private use (`internal`, `corp`, `home`, `mail`), or in wide use on private networks.
const PRIVATE_SUFFIXES: &[&str] = &[
    "alt",
    "corp",
    "domain",
    "example",
    "home",
    "home.arpa",
    "in-addr.arpa",
    "internal",
    "intra",
    "intranet",
    "invalid",
    "ip6.arpa",
    "lan",
    "local",
    "localdomain",
    "localhost",
    "mail",
    "onion",
    "private",
    "test",
    "workgroup",
];

/// Which addresses may be named.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AddressRules {
    /// In production IP literals are refused altogether: Workers fetch does not support them.
    pub production: bool,
    /// Ports on 127.0.0.1 and localhost that development may call. Must be empty in production.
    pub allowed_loopback_ports: BTreeSet<u16>,
    /// The hosts of AOS itself and of its integrations, without ports; a subdomain of one is refused as well.
    pub own_hosts: Vec<String>,
}

/// Why a URL is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GuardError {
    /// Not a URL, or one with parts that belong in none.
    #[error("this is not a valid absolute URL")]
    Malformed,
    /// Over [`MAX_URL_BYTES`].
    #[error("a URL has at most {MAX_URL_BYTES} bytes")]
    TooLong,
    /// Neither http nor https.
    #[error("only http and https URLs can be called")]
    Scheme,
    /// A user name or password in the URL.
    #[error("a URL must not carry credentials; use a header")]
    Credentials,
    /// An address literal, in production.
    #[error("the host must be a name, not an IP address")]
    IpLiteral,
    /// Loopback, private, link-local, metadata, multicast, reserved, or an IPv6 form that embeds an IPv4 address.
    #[error("the address is not on the public internet")]
    PrivateAddress,
    /// `localhost`, `.local`, `.internal` and the like, or a name without a dot.
    #[error("the host's name is not one of the public internet")]
    PrivateName,
    /// A name that resolves to such an address, and be it to others as well.
    #[error("the host's name leads to an address that is not on the public internet")]
    PrivateResolution,
    /// A host of AOS or of one of its integrations.
    #[error("this host cannot be called from a plan")]
    OwnHost,
}

impl GuardError {
    /// Whether the text is no URL at all, rather than one that may not be called.
    pub fn is_malformed(self) -> bool {
        matches!(self, Self::Malformed | Self::TooLong)
    }
}

/// The URL in its canonical form, if it may be called: no fragment, and no trailing dot behind the host.
///
/// Names are judged as names here; what they resolve to is asked before each request: [`name_to_look_up`],
/// [`check_resolved`].
///
/// # Errors
/// Why it may not.
pub fn check(url: &str, rules: &AddressRules) -> Result<Url, GuardError> {
    if url.len() > MAX_URL_BYTES {
        return Err(GuardError::TooLong);
    }
    // The URL parser would silently drop tabs and line ends, trim spaces, read `\` as `/` and supply missing slashes;
    // a reader of the plan would see another URL than the one called.
    if url
        .chars()
        .any(|char| char.is_control() || char.is_whitespace() || char == '\\')
    {
        return Err(GuardError::Malformed);
    }
    let parsed = Url::parse(url).map_err(|_| GuardError::Malformed)?;
    if !matches!(parsed.scheme(), "http" | "https") {
        return Err(GuardError::Scheme);
    }
    let after_scheme = url
        .get(parsed.scheme().len()..)
        .and_then(|rest| rest.strip_prefix("://"));
    let authority = after_scheme
        .and_then(|rest| rest.split(['/', '?', '#']).next())
        .ok_or(GuardError::Malformed)?;
    // The parser forgets an empty user name: `http://@host` would pass as `http://host`.
    if authority.contains('@') {
        return Err(GuardError::Credentials);
    }
    check_parsed(parsed, rules)
}

/// As [`check`], for a URL that was already parsed, such as the target of a redirect.
///
/// # Errors
/// Why it may not be called.
pub fn check_parsed(mut url: Url, rules: &AddressRules) -> Result<Url, GuardError> {
    if url.as_str().len() > MAX_URL_BYTES {
        return Err(GuardError::TooLong);
    }
    if !matches!(url.scheme(), "http" | "https") {
        return Err(GuardError::Scheme);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(GuardError::Credentials);
    }
    url.set_fragment(None);
    let port = url
        .port_or_known_default()
        .filter(|port| *port != 0)
        .ok_or(GuardError::Malformed)?;
    let loopback_allowed = !rules.production && rules.allowed_loopback_ports.contains(&port);
    match url.host().ok_or(GuardError::Malformed)? {
        Host::Ipv4(address) if loopback_allowed && address == std::net::Ipv4Addr::LOCALHOST => Ok(url),
        Host::Domain("localhost") if loopback_allowed => Ok(url),
        Host::Ipv4(_) | Host::Ipv6(_) if rules.production => Err(GuardError::IpLiteral),
        Host::Ipv4(address) if !networks::is_public_v4(address) => Err(GuardError::PrivateAddress),
        Host::Ipv6(address) if !networks::is_public_v6(address) => Err(GuardError::PrivateAddress),
        host @ (Host::Ipv4(_) | Host::Ipv6(_)) => {
            if is_own(&host.to_string(), rules) {
                Err(GuardError::OwnHost)
            } else {
                Ok(url)
            }
        }
        Host::Domain(name) => {
            let name = name.strip_suffix('.').unwrap_or(name).to_owned();
            check_name(&name, rules)?;
            url.set_host(Some(&name)).map_err(|_| GuardError::Malformed)?;
            Ok(url)
        }
    }
}

/// The name in a URL that has passed, if it leads to addresses that nobody has judged: not for a literal, nor for the
/// loopback that development allows.
pub fn name_to_look_up(url: &Url) -> Option<&str> {
    match url.host()? {
        Host::Domain("localhost") | Host::Ipv4(_) | Host::Ipv6(_) => None,
        Host::Domain(name) => Some(name),
    }
}

/// Judges what a name resolves to. One address inside is one too many: whoever connects may use any of them.
///
/// # Errors
/// [`GuardError::PrivateResolution`]
pub fn check_resolved(addresses: &[IpAddr]) -> Result<(), GuardError> {
    let is_public = |address: &IpAddr| match address {
        IpAddr::V4(address) => networks::is_public_v4(*address),
        IpAddr::V6(address) => networks::is_public_v6(*address),
    };
    if addresses.iter().all(is_public) {
        Ok(())
    } else {
        Err(GuardError::PrivateResolution)
    }
}

/// Judges a name in the parser's form: lower case, punycode, without the dot at its end.
fn check_name(name: &str, rules: &AddressRules) -> Result<(), GuardError> {
    let is_label = |label: &str| {
        (1..=MAX_LABEL_BYTES).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    if name.len() > MAX_NAME_BYTES || !name.split('.').all(is_label) {
        return Err(GuardError::Malformed);
    }
    // A name without a dot is completed by the resolver's search list, in a network we do not know.
    if !name.contains('.') || PRIVATE_SUFFIXES.iter().any(|suffix| is_within(name, suffix)) {
        return Err(GuardError::PrivateName);
    }
    if is_own(name, rules) {
        return Err(GuardError::OwnHost);
    }
    Ok(())
}

fn is_own(host: &str, rules: &AddressRules) -> bool {
    rules.own_hosts.iter().any(|own| {
        let own = own.trim_end_matches('.').to_ascii_lowercase();
        !own.is_empty() && is_within(host, &own)
    })
}

/// Whether `name` is `domain` or a subdomain of it.
fn is_within(name: &str, domain: &str) -> bool {
    name.strip_suffix(domain)
        .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

#[cfg(test)]
mod tests;
