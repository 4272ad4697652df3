//! Origins that a CORS filter allows: after its description and the conformance test `HTTPRouteCORS`.

use wabe_model::{Cors, HttpFilter};
use wabe_policy::http::{allows, is_preflight};

use crate::{http_routes, table};

fn cors(origins: &str) -> Cors {
    let rules = format!("[{{filters: [{{type: CORS, cors: {{allowOrigins: [{origins}]}}}}]}}]");
    let table = table(&http_routes(&[("shop", &rules)]));
    let HttpFilter::Cors(cors) = &table.producer[0].rule.filters[0] else { panic!("a CORS filter") };
    cors.clone()
}

#[test]
fn origins_are_compared_by_scheme_host_and_port() {
    let of_bar = "'https://www.foo.com', 'https://*.bar.com'";
    for (written, origin, allowed) in [
        (of_bar, "https://www.foo.com", true),
        (of_bar, "https://www.foo.com:443", true),
        (of_bar, "HTTPS://WWW.Foo.com", true),
        (of_bar, "https://www.foo.com:8443", false),
        (of_bar, "http://www.foo.com", false),
        (of_bar, "http://www.foo.com:443", false),
        (of_bar, "https://foobar.com", false),
        (of_bar, "https://www.bar.com", true),
        (of_bar, "https://xpto.www.bar.com", true),
        (of_bar, "https://bar.com", false),
        (of_bar, "https://.bar.com", false),
        (of_bar, "https://evilbar.com", false),
        (of_bar, "https://www.bar.com.evil.org", false),
        (of_bar, "https://www.bar.com:443", true),
        (of_bar, "null", false),
        (of_bar, "", false),
        (of_bar, "ftp://www.bar.com", false),
        (of_bar, "https://www.bar.com:x", false),
        ("'http://web:8080'", "http://web:8080", true),
        ("'http://web:8080'", "http://web", false),
        ("'http://web'", "http://web:80", true),
        ("'http://WEB'", "http://web", true),
        ("'https://*'", "https://anything.at.all", true),
        ("'https://*'", "http://anything.at.all", false),
        ("'https://*:8443'", "https://a:8443", true),
        ("'https://*:8443'", "https://a", false),
        ("'https://*'", "https://[fd00::1]", true),
        ("'https://*'", "https://[fd00::1]:8443", false),
        ("'https://*:8443'", "https://[fd00::1]:8443", true),
        ("'*'", "https://foobar.com:12345", true),
        ("'*'", "null", true),
        ("", "https://www.foo.com", false),
    ] {
        assert_eq!(allows(&cors(written), origin), allowed, "{origin} by {written}");
    }
}

#[test]
fn a_preflight_has_its_method_and_both_headers() {
    let both = &["origin", "access-control-request-method"][..];
    for (method, headers, wanted) in [
        ("OPTIONS", both, true),
        ("OPTIONS", &both[..1], false),
        ("OPTIONS", &both[1..], false),
        ("OPTIONS", &[], false),
        ("GET", both, false),
        ("options", both, false),
    ] {
        assert_eq!(is_preflight(method, |it| headers.contains(&it)), wanted, "{method} {headers:?}");
    }
}
