//! The filter `CORS` of HTTPRoutes: what is read and what is refused.

use wabe_model::{Allowed, Cors, HostPattern, HttpFilter, Manifest, Object, OriginPattern, Scheme, parse};

fn read(cors: &str) -> Result<Cors, String> {
    let text = format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{name: r, namespace: shop}}\nspec:\n  \
         parentRefs: [{{group: '', kind: Service, name: web}}]\n  rules: [{{filters: [{{type: CORS, cors: {cors}}}]}}]\n"
    );
    let parsed = parse(&[Manifest::new("r.yaml", "/", text)]).map_err(|it| it.to_string())?;
    let Object::HttpRoute(route) = &parsed.objects[0].object else { panic!("a route") };
    let HttpFilter::Cors(cors) = &route.rules[0].filters[0] else { panic!("a CORS filter") };
    Ok(cors.clone())
}

fn named(names: &[&str]) -> Allowed {
    Allowed::Named(names.iter().map(|it| (*it).to_owned()).collect())
}

#[test]
fn all_of_it_is_read() {
    let read_whole = read(
        "{allowOrigins: ['https://www.Foo.com', 'http://*.bar.com:8080', 'https://*'], allowCredentials: true, \
         allowMethods: [GET, OPTIONS], allowHeaders: [X-Header-1], exposeHeaders: ['*'], maxAge: 3600}",
    );
    let of = |scheme, host, port| OriginPattern::Of { scheme, host, port };
    let wanted = Cors {
        origins: vec![
            of(Scheme::Https, Some(HostPattern::Exact("www.foo.com".into())), 443),
            of(Scheme::Http, Some(HostPattern::Below("bar.com".into())), 8080),
            of(Scheme::Https, None, 443),
        ],
        credentials: true,
        methods: named(&["GET", "OPTIONS"]),
        headers: named(&["x-header-1"]),
        expose: Allowed::All,
        max_age: 3600,
    };
    assert_eq!(read_whole, Ok(wanted));
    let nothing = Cors {
        origins: Vec::new(),
        credentials: false,
        methods: named(&[]),
        headers: named(&[]),
        expose: named(&[]),
        max_age: 5,
    };
    assert_eq!(read("{}"), Ok(nothing.clone()));
    assert_eq!(read("{allowOrigins: ['*']}"), Ok(Cors { origins: vec![OriginPattern::Any], ..nothing }));
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    for (cors, wanted) in [
        (
            "{allowOrigins: [foo.com]}",
            "r.yaml:6:57: spec.rules[0].filters[0].cors.allowOrigins[0]: `foo.com` is no origin (write `https://example.com`",
        ),
        ("{allowOrigins: ['ftp://foo.com']}", "is no origin"),
        ("{allowOrigins: ['https://foo.com/']}", "is no origin"),
        ("{allowOrigins: ['https://']}", "is no origin"),
        ("{allowOrigins: ['https://foo..com']}", "is no origin"),
        ("{allowOrigins: ['https://foo.*.com']}", "is no origin"),
        ("{allowOrigins: ['https://*foo.com']}", "is no origin"),
        ("{allowOrigins: ['https://*.*.com']}", "is no origin"),
        ("{allowOrigins: ['https://foo.com:']}", "is no origin"),
        ("{allowOrigins: ['https://foo.com:0']}", "is no origin"),
        ("{allowOrigins: ['https://foo.com:+1']}", "is no origin"),
        ("{allowOrigins: ['https://foo.com:65536']}", "is no origin"),
        ("{allowOrigins: ['https://[fd00::1]']}", "is no origin"),
        ("{allowOrigins: ['null']}", "is no origin"),
        ("{allowOrigins: ['*', 'https://foo.com']}", "`*` stands beside other origins"),
        ("{allowOrigins: ['https://foo.com', 'https://FOO.com:443']}", "an origin is written twice"),
        ("{allowMethods: [get]}", "`get` is not supported here"),
        ("{allowMethods: ['*', GET]}", "`*` stands beside names"),
        ("{allowHeaders: [A, a]}", "`a` is written twice"),
        ("{exposeHeaders: ['a b']}", "`a b` can't be a name"),
        ("{maxAge: 0}", "0 is out of range for a number of seconds"),
        ("{allowCredentials: 1}", "allowCredentials"),
        ("{allowedOrigins: []}", "allowedOrigins: unknown field"),
    ] {
        let told = read(cors).expect_err(cors);
        assert!(told.contains(wanted), "{cors}: {told}");
    }
    let many: Vec<String> = (0..65).map(|it| format!("'https://a{it}'")).collect();
    let told = read(&format!("{{allowOrigins: [{}]}}", many.join(", "))).expect_err("too many");
    assert!(told.contains("65 entries are too many"), "{told}");
    assert!(read(&format!("{{allowOrigins: [{}]}}", many[1..].join(", "))).is_ok());
    let long = format!("{{allowOrigins: ['https://{}']}}", "a".repeat(246));
    assert!(read(&long).expect_err("too long").contains("is no origin"));
}
