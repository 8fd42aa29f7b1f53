//! Which IP addresses are on the public internet, by IANA's special-purpose registries (RFC 6890 and successors).
//! What is in doubt is not public.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(a: u16, b: u16, prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, 0, 0, 0, 0, 0, 0), prefix)
}

/// Not public, or public only by name.
const NOT_PUBLIC_V4: [Ipv4Net; 18] = [
    v4(0, 0, 0, 0, 8),        // this network
    v4(10, 0, 0, 0, 8),       // private
    v4(100, 64, 0, 0, 10),    // shared by carriers; a cloud's metadata at 100.100.100.200
    v4(127, 0, 0, 0, 8),      // loopback
    v4(168, 63, 129, 16, 32), // a cloud's wire server
    v4(169, 254, 0, 0, 16),   // link-local; most clouds' metadata
    v4(172, 16, 0, 0, 12),    // private
    v4(192, 0, 0, 0, 24),     // protocol assignments; a cloud's metadata at 192.0.0.192
    v4(192, 0, 2, 0, 24),     // documentation
    v4(192, 31, 196, 0, 24),  // AS112
    v4(192, 52, 193, 0, 24),  // AMT relays
    v4(192, 88, 99, 0, 24),   // 6to4 relays
    v4(192, 168, 0, 0, 16),   // private
    v4(192, 175, 48, 0, 24),  // AS112
    v4(198, 18, 0, 0, 15),    // benchmarking
    v4(198, 51, 100, 0, 24),  // documentation
    v4(203, 0, 113, 0, 24),   // documentation
    v4(224, 0, 0, 0, 3),      // multicast, reserved, broadcast
];

/// What has been given out for the public internet. Everything else of IPv6 is refused, and with it loopback, mapped
/// and compatible IPv4, NAT64 (64:ff9b::/96 and 64:ff9b:1::/48), unique local, link-local and multicast.
const GLOBAL_UNICAST_V6: Ipv6Net = v6(0x2000, 0, 3);

/// Not public inside [`GLOBAL_UNICAST_V6`].
const NOT_PUBLIC_V6: [Ipv6Net; 5] = [
    v6(0x2001, 0, 23),     // protocol assignments: Teredo, ORCHID, benchmarking
    v6(0x2001, 0xdb8, 32), // documentation
    v6(0x2002, 0, 16),     // 6to4, which embeds an IPv4 address
    v6(0x3fff, 0, 20),     // documentation
    v6(0x2620, 0x4f, 32),  // AS112 (2620:4f:8000::/48) and its neighbours
];

/// Whether an IPv4 address is on the public internet.
pub(super) fn is_public_v4(address: Ipv4Addr) -> bool {
    !NOT_PUBLIC_V4.iter().any(|network| network.contains(&address))
}

/// Whether an IPv6 address is on the public internet, and embeds no IPv4 address by ISATAP (RFC 5214 section 6.1).
pub(super) fn is_public_v6(address: Ipv6Addr) -> bool {
    let [_, _, _, _, group, marker, _, _] = address.segments();
    let is_isatap = matches!(group, 0x0000 | 0x0200) && marker == 0x5efe;
    GLOBAL_UNICAST_V6.contains(&address)
        && !is_isatap
        && !NOT_PUBLIC_V6.iter().any(|network| network.contains(&address))
}
