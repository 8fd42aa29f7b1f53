//! The guard against the notations by which it could be tricked.

use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;

fn production() -> AddressRules {
    AddressRules {
        production: true,
        allowed_loopback_ports: BTreeSet::new(),
        own_hosts: vec![
            "aos.dev".to_owned(),
            "api.anthropic.com".to_owned(),
            "Eu1-Redis.Upstash.io.".to_owned(),
        ],
    }
}

fn development() -> AddressRules {
    AddressRules {
        production: false,
        allowed_loopback_ports: BTreeSet::from([8080]),
        ..production()
    }
}

#[test]
fn public_names_pass_in_their_canonical_form() {
    for (url, canonical) in [
        ("https://example.com", "https://example.com/"),
        (
            "http://example.com:8080/a?b=c#fragment",
            "http://example.com:8080/a?b=c",
        ),
        ("HTTPS://EXAMPLE.com./x", "https://example.com/x"),
        ("https://b%C3%BCcher.example.org/", "https://xn--bcher-kva.example.org/"),
        ("https://bücher.de/", "https://xn--bcher-kva.de/"),
        ("https://ｅｘａｍｐｌｅ.com/", "https://example.com/"),
        (
            "https://sub_domain.example.com/%7Bx%7D",
            "https://sub_domain.example.com/%7Bx%7D",
        ),
        ("https://localhost.example.com/", "https://localhost.example.com/"),
        ("https://notlocal.dev/", "https://notlocal.dev/"),
        ("https://127-0-0-1.example.com/", "https://127-0-0-1.example.com/"),
        ("https://aos.dev.example.com/", "https://aos.dev.example.com/"),
        ("https://myaos.dev/", "https://myaos.dev/"),
        ("https://anthropic.com/", "https://anthropic.com/"),
    ] {
        for rules in [production(), development()] {
            assert_eq!(check(url, &rules).map(String::from).as_deref(), Ok(canonical), "{url}");
        }
    }
}

/// Refused under every rule there is.
const FORBIDDEN: &[&str] = &[
    // Loopback, in every notation of IPv4.
    "http://127.0.0.1/",
    "http://127.0.0.1:80/",
    "http://127.1/",
    "http://127.0.1/",
    "http://127.255.255.254/",
    "http://2130706433/",
    "http://0x7f000001/",
    "http://0x7f.0.0.1/",
    "http://0x7f.1/",
    "http://017700000001/",
    "http://0177.0.0.1/",
    "http://0177.0x0.0.01/",
    "http://127.0.0.1./",
    "http://%31%32%37.0.0.1/",
    "http://１２７.０.０.１/",
    "http://127。0。0。1/",
    "http://①②⑦.0.0.1/",
    "http://0x7F.0X0.0.1/",
    "http://0/",
    "http://0.0.0.0/",
    "http://00000000000000000177.1/",
    // Private, shared, link-local, metadata, documentation, benchmarking, multicast, reserved.
    "http://10.0.0.1/",
    "http://10.255.255.255/",
    "http://012.0.0.1/",
    "http://0xa.1/",
    "http://167772161/",
    "http://172.16.0.1/",
    "http://172.31.255.255/",
    "http://192.168.0.1/",
    "http://0xc0.0xa8.1/",
    "http://3232235521/",
    "http://100.64.0.1/",
    "http://100.100.100.200/",
    "http://169.254.169.254/latest/meta-data/",
    "http://2852039166/",
    "http://0xa9fea9fe/",
    "http://0251.0376.0251.0376/",
    "http://169.254.43518/",
    "http://168.63.129.16/",
    "http://192.0.0.192/",
    "http://192.0.2.1/",
    "http://192.88.99.1/",
    "http://198.18.0.1/",
    "http://198.51.100.7/",
    "http://203.0.113.9/",
    "http://224.0.0.1/",
    "http://239.255.255.250/",
    "http://240.0.0.1/",
    "http://255.255.255.255/",
    // IPv6: loopback, unspecified, mapped, compatible, 6to4, NAT64, Teredo, ISATAP, unique local, link-local, multicast.
    "http://[::1]/",
    "http://[::]/",
    "http://[0:0:0:0:0:0:0:1]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:7f00:1]/",
    "http://[::ffff:10.0.0.1]/",
    "http://[::ffff:a9fe:a9fe]/",
    "http://[::ffff:93.184.216.34]/",
    "http://[::127.0.0.1]/",
    "http://[::ffff:0:127.0.0.1]/",
    "http://[2002:7f00:1::]/",
    "http://[2002:a00:1::1]/",
    "http://[64:ff9b::7f00:1]/",
    "http://[64:ff9b::169.254.169.254]/",
    "http://[64:ff9b:1::a00:1]/",
    "http://[2001:0:7f00:1::]/",
    "http://[2a00:1450::5efe:10.0.0.1]/",
    "http://[2a00:1450::200:5efe:a00:1]/",
    "http://[fc00::1]/",
    "http://[fd00:ec2::254]/",
    "http://[fe80::1]/",
    "http://[fec0::1]/",
    "http://[ff02::1]/",
    "http://[2001:db8::1]/",
    "http://[3fff::1]/",
    "http://[100::1]/",
    "http://[5f00::1]/",
    // Names.
    "http://localhost/",
    "http://LOCALHOST/",
    "http://localhost./",
    "http://a.localhost/",
    "http://ｌocalhost/",
    "http://%6cocalhost/",
    "http://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ/",
    "http://printer.local/",
    "http://printer.local./",
    "http://metadata.google.internal/",
    "http://vault.internal/",
    "http://vault。internal/",
    "http://metadata/",
    "http://intranet/",
    "http://router.lan/",
    "http://nas.home.arpa/",
    "http://x.localdomain/",
    "http://x.corp/",
    "http://x.onion/",
    "http://x.test/",
    "http://x.invalid/",
    "http://localhost.localdomain/",
    "http://1.0.0.127.in-addr.arpa/",
    // Our own hosts and our integrations'.
    "https://aos.dev/v1/runs",
    "https://AOS.dev./",
    "https://console.aos.dev/",
    "https://api.anthropic.com/v1/messages",
    "https://eu1-redis.upstash.io/",
    "https://ａos.dev/",
    // Credentials.
    "http://user@example.com/",
    "http://user:pass@example.com/",
    "http://:pass@example.com/",
    "http://@example.com/",
    "http://example.com@127.0.0.1/",
    "http://127.0.0.1@example.com/",
    "http://example.com%40x@127.0.0.1/",
    // Schemes.
    "file:///etc/passwd",
    "ftp://example.com/",
    "gopher://example.com/",
    "data:text/plain,x",
    "javascript:alert(1)",
    "ws://example.com/",
    "blob:https://example.com/x",
    "//example.com/",
    "example.com",
    "",
    // What the parser would forgive.
    "http:example.com",
    "http:/example.com",
    "https:\\\\example.com",
    "http://example.com\\@127.0.0.1/",
    "http://exam\tple.com/",
    "http://example.com/\n",
    " http://example.com/",
    "http://example.com /",
    "http://example.com\u{a0}/",
    "http://exa\u{0}mple.com/",
    // No hosts, or none that can be.
    "http://",
    "http:///x",
    "http://./",
    "http://../",
    "http://example..com/",
    "http://example.com../",
    "http://.example.com/",
    "http://256.1.1.1/",
    "http://1.2.3.4.5/",
    "http://0x100000000/",
    "http://example.com:0/",
    "http://example.com:65536/",
    "http://[::1",
    "http://[1.2.3.4]/",
    "http://[fe80::1%25eth0]/",
    "http://exa mple.com/",
    "http://a<b.com/",
    "http://%00.com/",
];

#[test]
fn every_notation_of_a_forbidden_address_is_refused() {
    assert!(FORBIDDEN.len() >= 60);
    for url in FORBIDDEN {
        for rules in [production(), development()] {
            assert!(
                check(url, &rules).is_err(),
                "{url} passed as {:?}",
                check(url, &rules).map(String::from)
            );
        }
    }
}

#[test]
fn the_reason_of_a_refusal_is_told() {
    let rules = development();
    for (url, error) in [
        ("http://10.0.0.1/", GuardError::PrivateAddress),
        ("http://[::ffff:10.0.0.1]/", GuardError::PrivateAddress),
        ("http://localhost/", GuardError::PrivateName),
        ("http://single/", GuardError::PrivateName),
        ("https://api.anthropic.com/", GuardError::OwnHost),
        ("http://u@example.com/", GuardError::Credentials),
        ("ftp://example.com/", GuardError::Scheme),
        ("nonsense", GuardError::Malformed),
    ] {
        assert_eq!(check(url, &rules), Err(error), "{url}");
    }
    assert_eq!(
        check("http://93.184.216.34/", &production()),
        Err(GuardError::IpLiteral)
    );
    assert_eq!(
        check("http://[2606:4700::1111]/", &production()),
        Err(GuardError::IpLiteral)
    );
    assert_eq!(
        check(&format!("https://example.com/{}", "x".repeat(9000)), &rules),
        Err(GuardError::TooLong)
    );
    assert_eq!(
        check(&format!("https://{}.com/", "x".repeat(64)), &rules),
        Err(GuardError::Malformed)
    );
}

#[test]
fn development_may_call_public_addresses_and_the_named_loopback_ports_only() {
    let rules = development();
    for url in [
        "http://93.184.216.34/",
        "http://[2606:4700::1111]/",
        "http://127.0.0.1:8080/",
        "http://localhost:8080/x",
    ] {
        assert!(check(url, &rules).is_ok(), "{url}");
    }
    for url in [
        "http://127.0.0.1:8081/",
        "http://127.0.0.1/",
        "http://localhost/",
        "http://127.0.0.2:8080/",
        "http://[::1]:8080/",
        "http://0.0.0.0:8080/",
        "http://10.0.0.1:8080/",
        "http://x.localhost:8080/",
        "http://user@127.0.0.1:8080/",
    ] {
        assert!(check(url, &rules).is_err(), "{url}");
    }
}

#[test]
fn production_refuses_loopback_even_if_a_port_was_left_in_its_rules() {
    let rules = AddressRules {
        production: true,
        ..development()
    };
    for url in ["http://127.0.0.1:8080/", "http://localhost:8080/"] {
        assert!(check(url, &rules).is_err(), "{url}");
    }
}

#[test]
fn a_name_is_looked_up_and_a_literal_is_not() {
    let name = |url: &str| {
        let url = check(url, &development()).unwrap();
        name_to_look_up(&url).map(str::to_owned)
    };
    assert_eq!(name("https://Example.com./x").as_deref(), Some("example.com"));
    assert_eq!(name("https://bücher.de/").as_deref(), Some("xn--bcher-kva.de"));
    assert_eq!(name("http://93.184.216.34/"), None);
    assert_eq!(name("http://[2606:4700::1111]/"), None);
    assert_eq!(name("http://127.0.0.1:8080/"), None);
    assert_eq!(name("http://localhost:8080/"), None);
}

#[test]
fn a_name_that_leads_inside_by_any_of_its_addresses_is_refused() {
    let judged = |addresses: &[&str]| {
        let addresses: Vec<IpAddr> = addresses.iter().map(|address| address.parse().unwrap()).collect();
        check_resolved(&addresses)
    };
    assert_eq!(judged(&["93.184.216.34", "1.1.1.1", "2606:4700::1111"]), Ok(()));
    for inside in [
        "127.0.0.1",
        "0.0.0.0",
        "10.1.2.3",
        "100.100.100.200",
        "169.254.169.254",
        "172.31.0.1",
        "192.168.0.1",
        "224.0.0.1",
        "::1",
        "::",
        "::ffff:10.0.0.1",
        "::ffff:93.184.216.34",
        "64:ff9b::a00:1",
        "2002:a00:1::1",
        "2001:0:7f00:1::",
        "fd00:ec2::254",
        "fe80::1",
        "ff02::1",
    ] {
        for addresses in [&[inside][..], &["93.184.216.34", inside], &[inside, "2606:4700::1111"]] {
            assert_eq!(judged(addresses), Err(GuardError::PrivateResolution), "{addresses:?}");
        }
    }
}

/// One number of an IPv4 address in one of the notations that the URL standard reads.
fn number(value: u32, notation: u8) -> String {
    match notation % 5 {
        0 => value.to_string(),
        1 => format!("0x{value:x}"),
        2 => format!("0X{value:X}"),
        3 => format!("0{value:o}"),
        _ => format!("0000{value:o}"),
    }
}

/// An address as one to four numbers, the last of which holds the rest of it.
fn dotted(address: u32, parts: usize, notations: [u8; 4]) -> String {
    let [a, b, c, d] = address.to_be_bytes().map(u32::from);
    let numbers = match parts {
        1 => vec![address],
        2 => vec![a, address & 0xff_ffff],
        3 => vec![a, b, address & 0xffff],
        _ => vec![a, b, c, d],
    };
    numbers
        .iter()
        .zip(notations)
        .map(|(value, notation)| number(*value, notation))
        .collect::<Vec<_>>()
        .join(".")
}

/// The same text in characters that IDN maps to ASCII, or percent-encoded.
fn disguised(text: &str, disguise: u8) -> String {
    text.chars()
        .enumerate()
        .map(|(place, char)| match (char, disguise % 4) {
            ('0'..='9', 1) => char::from_u32(char.to_digit(10).unwrap() | 0xff10).unwrap().to_string(),
            ('.', 1) => '。'.to_string(),
            (char, 2) if place % 2 == 0 => format!("%{:02x}", u32::from(char)),
            (char, 3) if place == 0 => format!("%{:02X}", u32::from(char)),
            _ => char.to_string(),
        })
        .collect()
}

fn private_address() -> impl Strategy<Value = u32> {
    let within = |base: [u8; 4], bits: u32| {
        let base = u32::from(Ipv4Addr::from(base));
        (0..(1_u64 << bits)).prop_map(move |rest| base | u32::try_from(rest).unwrap())
    };
    prop_oneof![
        within([0, 0, 0, 0], 24),
        within([10, 0, 0, 0], 24),
        within([100, 64, 0, 0], 22),
        within([127, 0, 0, 0], 24),
        within([169, 254, 0, 0], 16),
        within([172, 16, 0, 0], 20),
        within([192, 168, 0, 0], 16),
        within([198, 18, 0, 0], 17),
        within([224, 0, 0, 0], 28),
        within([240, 0, 0, 0], 28),
    ]
}

proptest! {
    #[test]
    fn no_private_ipv4_address_passes_in_any_notation(
        address in private_address(),
        parts in 1_usize..=4,
        notations in any::<[u8; 4]>(),
        disguise in any::<u8>(),
        dot in any::<bool>(),
        port in prop::option::of(1_u16..),
        production in any::<bool>(),
    ) {
        let rules = AddressRules { production, ..AddressRules::default() };
        let port = port.map(|port| format!(":{port}")).unwrap_or_default();
        let host = disguised(&dotted(address, parts, notations), disguise);
        let url = format!("http://{host}{}{port}/", if dot { "." } else { "" });
        prop_assert!(check(&url, &rules).is_err(), "{}", url);
    }

    #[test]
    fn no_ipv6_form_of_an_ipv4_address_passes(address in any::<u32>(), form in 0_u8..6, production in any::<bool>()) {
        let rules = AddressRules { production, ..AddressRules::default() };
        let v4 = Ipv4Addr::from(address);
        let [high, low] = [address >> 16, address & 0xffff];
        let host = match form {
            0 => format!("::ffff:{v4}"),
            1 => format!("::{high:x}:{low:x}"),
            2 => format!("2002:{high:x}:{low:x}::1"),
            3 => format!("64:ff9b::{v4}"),
            4 => format!("2001:0:{high:x}:{low:x}::"),
            _ => format!("64:ff9b:1::{high:x}:{low:x}"),
        };
        let url = format!("http://[{host}]/");
        prop_assert!(check(&url, &rules).is_err(), "{}", url);
    }

    #[test]
    fn any_text_is_judged_without_a_panic(text in "\\PC{0,60}") {
        let _ = check(&text, &AddressRules::default());
        let _ = check(&format!("http://{text}"), &AddressRules::default());
    }

    #[test]
    fn what_passed_passes_again_unchanged(host in "[a-z0-9.-]{1,30}", path in "\\PC{0,20}") {
        let rules = AddressRules::default();
        if let Ok(url) = check(&format!("http://{host}/{path}"), &rules) {
            prop_assert_eq!(check(url.as_str(), &rules), Ok(url.clone()));
        }
    }
}
