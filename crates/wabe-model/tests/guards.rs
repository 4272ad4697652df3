//! RequestLimits and FaultInjections, and the rules that name them.
#![expect(clippy::unwrap_used, reason = "in tests")]

use std::time::Duration;

use proptest::{option, prelude::*, sample::select};
use wabe_model::{
    Abort, Delay, FaultInjection, HttpFilter, LimitScope, Manifest, Object, ObjectName, Objects,
    RequestLimit, Share, check, parse, to_manifest, to_yaml,
};

fn text(kind: &str, spec: &str) -> String {
    format!(
        "apiVersion: mesh.wabe.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: a, namespace: shop}}\nspec: {spec}\n"
    )
}

fn read(text: &str) -> Object {
    let parsed = parse(&[Manifest::new("x.yaml", "/", text)]).unwrap_or_else(|it| panic!("{it}"));
    parsed.objects[0].object.clone()
}

fn told(text: &str) -> Vec<String> {
    let problems = parse(&[Manifest::new("x.yaml", "/", text)]).expect_err("it is wrong");
    problems.0.iter().map(|it| it.to_string().strip_prefix("x.yaml:").unwrap().to_owned()).collect()
}

fn name() -> ObjectName {
    ObjectName::new("shop", "a")
}

#[test]
fn limits() {
    let limit = |requests, seconds, burst, each| {
        Object::RequestLimit(RequestLimit {
            name: name(),
            requests,
            per: Duration::from_secs(seconds),
            burst,
            each,
        })
    };
    for (spec, wanted) in [
        ("{requests: 10}", limit(10, 1, 10, LimitScope::Route)),
        ("{requests: 10, per: 1m, burst: 3, each: Caller}", limit(10, 60, 3, LimitScope::Caller)),
    ] {
        assert_eq!(read(&text("RequestLimit", spec)), wanted, "{spec}");
    }
    for (spec, wanted) in [
        ("{}", "4:7: spec: `requests` is missing (write how many pass)"),
        (
            "{requests: 0}",
            "4:18: spec.requests: 0 is out of range for a number of requests (1 to 1000000 can be used)",
        ),
        ("{requests: 1, per: 1ms}", "4:26: spec.per: `1ms` is out of range (1s to 1h can be used)"),
        (
            "{requests: 1, each: caller}",
            "4:27: spec.each: `caller` is not supported here (did you mean `Caller`? supported: Route, Caller)",
        ),
    ] {
        assert_eq!(told(&text("RequestLimit", spec)), [wanted]);
    }
}

#[test]
fn faults() {
    let share = |numerator, denominator| Share { numerator, denominator };
    let late = Delay { time: Duration::from_secs(2), share: share(100, 100) };
    let fault = |delay, abort| Object::FaultInjection(FaultInjection { name: name(), delay, abort });
    for (spec, wanted) in [
        ("{delay: {time: 2s}}", fault(Some(late), None)),
        (
            "{delay: {time: 2s}, abort: {status: 503, percent: 5}}",
            fault(Some(late), Some(Abort { status: 503, share: share(5, 100) })),
        ),
        (
            "{abort: {status: 429, fraction: {numerator: 1, denominator: 1000}}}",
            fault(None, Some(Abort { status: 429, share: share(1, 1000) })),
        ),
    ] {
        assert_eq!(read(&text("FaultInjection", spec)), wanted, "{spec}");
    }
    for (spec, wanted) in [
        ("{}", "nothing goes wrong (write `delay`, `abort`, or both)"),
        ("{delay: {fixedDelay: 2s}}", "is Istio's word (write `time`)"),
        ("{abort: {status: 200}}", "200 is out of range for an error's status (400 to 599 can be used)"),
        ("{abort: {status: 500, percent: 1, fraction: {numerator: 1}}}", "has a percentage and a fraction"),
        (
            "{abort: {status: 500, fraction: {numerator: 2, denominator: 1}}}",
            "2 is out of range for a numerator",
        ),
    ] {
        let told = told(&text("FaultInjection", spec));
        assert!(told.iter().any(|it| it.contains(wanted)), "{told:?} instead of {wanted}");
    }
}

fn route(filters: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{name: r, namespace: shop}}\nspec:\n  \
         parentRefs: [{{group: '', kind: Service, name: web}}]\n  rules:\n    - filters: [{filters}]\n      \
         backendRefs: [{{name: web, port: 80}}]\n"
    )
}

fn named(kind: &str, name: &str) -> String {
    format!("{{type: ExtensionRef, extensionRef: {{group: mesh.wabe.dev, kind: {kind}, name: {name}}}}}")
}

#[test]
fn rules_name_them() {
    let both = route(&format!("{}, {}", named("RequestLimit", "a"), named("FaultInjection", "b")));
    let Object::HttpRoute(route_read) = read(&both) else { panic!("a route") };
    let b = ObjectName::new("shop", "b");
    assert_eq!(route_read.rules[0].filters, [HttpFilter::Limit(name()), HttpFilter::Fault(b)]);
    let again = to_yaml(&to_manifest(&Object::HttpRoute(route_read.clone())));
    assert_eq!(read(&again), Object::HttpRoute(route_read));
    for (filter, wanted) in [
        (named("Limit", "a"), "`Limit` is not supported here"),
        (
            named("RequestLimit", "a").replace("mesh.wabe.dev", "example.com"),
            "`example.com` is not supported here",
        ),
        (format!("{}, {}", named("RequestLimit", "a"), named("RequestLimit", "b")), "is written twice"),
    ] {
        let told = told(&route(&filter));
        assert!(told[0].contains(wanted), "{told:?} instead of {wanted}");
    }
}

#[test]
fn calls_have_them_too() {
    let http = route(&format!("{}, {}", named("RequestLimit", "a"), named("FaultInjection", "b")));
    let Object::GrpcRoute(grpc) = read(&http.replace("HTTPRoute", "GRPCRoute")) else { panic!("a route") };
    let b = ObjectName::new("shop", "b");
    assert_eq!(grpc.rules[0].filters, [HttpFilter::Limit(name()), HttpFilter::Fault(b)]);
    let again = to_yaml(&to_manifest(&Object::GrpcRoute(grpc.clone())));
    assert_eq!(read(&again), Object::GrpcRoute(grpc));
}

#[test]
fn one_that_is_not_there_is_warned_about() {
    let service = "---\napiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: shop}\n\
                   spec: {selector: {app: web}, ports: [{port: 80}]}\n---\n";
    let warned = |text: String| {
        let parsed = parse(&[Manifest::new("x.yaml", "/", text)]).unwrap();
        let (_, warnings) = check(&parsed, &Objects::default()).unwrap();
        let texts = warnings.iter().map(ToString::to_string);
        texts.filter(|it| it.contains("extensionRef")).collect::<Vec<_>>()
    };
    let alone = format!("{}{service}", route(&named("RequestLimit", "a")));
    assert_eq!(
        warned(alone.clone()),
        [
            "x.yaml:7:101: warning: spec.rules[0].filters[0].extensionRef.name: there is no RequestLimit shop/a; meanwhile such \
             requests are answered by 500 (compare it with the objects of the route's namespace)"
        ]
    );
    assert!(warned(format!("{alone}{}", text("RequestLimit", "{requests: 1}"))).is_empty());
}

fn share() -> impl Strategy<Value = Share> {
    (1_u32..=1_000_000)
        .prop_flat_map(|denominator| (0..=denominator, Just(denominator)))
        .prop_map(|(numerator, denominator)| Share { numerator, denominator })
}

fn object() -> impl Strategy<Value = Object> {
    let number = || 1_u32..=1_000_000;
    let each = select(vec![LimitScope::Route, LimitScope::Caller]);
    let time = || (1_000_u64..=3_600_000).prop_map(Duration::from_millis);
    let limit = (number(), time(), number(), each).prop_map(|(requests, per, burst, each)| {
        Object::RequestLimit(RequestLimit { name: name(), requests, per, burst, each })
    });
    let delay = (time(), share()).prop_map(|(time, share)| Delay { time, share });
    let abort = (400_u16..600, share()).prop_map(|(status, share)| Abort { status, share });
    let fault = (option::of(delay), option::of(abort))
        .prop_filter("one is there", |(delay, abort)| delay.is_some() || abort.is_some())
        .prop_map(|(delay, abort)| Object::FaultInjection(FaultInjection { name: name(), delay, abort }));
    prop_oneof![limit, fault]
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(object in object()) {
        prop_assert_eq!(read(&to_yaml(&to_manifest(&object))), object);
    }
}
