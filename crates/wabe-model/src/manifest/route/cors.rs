//! The filter `CORS`.

use crate::{
    Allowed, Cors, HostPattern, OriginPattern, Scheme,
    manifest::{
        field::{Field, Fields, Shape},
        route::token,
        scalar::shown,
    },
};

const CORS: Shape = Shape {
    known: &["allowOrigins", "allowCredentials", "allowMethods", "allowHeaders", "exposeHeaders", "maxAge"],
    ignored: &[],
    refused: &[],
};
const METHODS: [&str; 10] =
    ["*", "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];
/// The standard's own limits.
const MOST: usize = 64;
const MOST_METHODS: usize = 9;
const LONGEST: usize = 253;

pub(super) fn cors(field: &Field<'_>) -> Option<Cors> {
    let fields = field.fields(&CORS)?;
    let origins = fields.or("allowOrigins", Vec::new(), origins);
    let credentials = fields.or("allowCredentials", false, Field::boolean);
    let method = |it: &Field<'_>| it.choice(&METHODS.map(|it| (it, it))).map(str::to_owned);
    let header = |it: &Field<'_>| token(it).map(|it| it.to_ascii_lowercase());
    let methods = allowed(&fields, "allowMethods", MOST_METHODS, method);
    let headers = allowed(&fields, "allowHeaders", MOST, header);
    let expose = allowed(&fields, "exposeHeaders", MOST, header);
    let max_age = fields.or("maxAge", 5, |it| it.integer("a number of seconds", 1..=i64::from(i32::MAX)));
    Some(Cors {
        origins: origins?,
        credentials: credentials?,
        methods: methods?,
        headers: headers?,
        expose: expose?,
        max_age: u32::try_from(max_age?).ok()?,
    })
}

fn origins(field: &Field<'_>) -> Option<Vec<OriginPattern>> {
    let origins = field.all(origin)?;
    few(field, origins.len(), MOST)?;
    if (1..origins.len()).any(|place| origins[..place].contains(&origins[place])) {
        return field.error("an origin is written twice", "write it once");
    }
    if origins.len() > 1 && origins.contains(&OriginPattern::Any) {
        return field.error("`*` stands beside other origins", "write it alone: it is every origin");
    }
    Some(origins)
}

/// `*`, or a scheme, a host (`*` for every one, `*.` for those below it) and perhaps a port.
fn origin(field: &Field<'_>) -> Option<OriginPattern> {
    let text = field.text()?;
    if text == "*" {
        return Some(OriginPattern::Any);
    }
    let wrong = || {
        let remedy = "write `https://example.com`, with a port if it is not the scheme's own, or `https://*.example.com`, or `*`";
        field.error(format!("{} is no origin", shown(text)), remedy)
    };
    let (scheme, rest) = match text.split_once("://") {
        Some(("http", rest)) => (Scheme::Http, rest),
        Some(("https", rest)) => (Scheme::Https, rest),
        Some(_) | None => return wrong(),
    };
    let (host, port) = match rest.split_once(':') {
        None => (rest, Some(scheme.port())),
        Some((host, digits)) => (host, number(digits)),
    };
    let Some(port) = port.filter(|_| text.len() <= LONGEST) else { return wrong() };
    let is_name = |text: &str| {
        let good = |it: u8| it.is_ascii_alphanumeric() || it == b'-';
        text.split('.').all(|label| !label.is_empty() && label.bytes().all(good))
    };
    let host = match (host, host.strip_prefix("*.")) {
        ("*", _) => None,
        (_, Some(name)) if is_name(name) => Some(HostPattern::Below(name.to_ascii_lowercase())),
        (name, None) if is_name(name) => Some(HostPattern::Exact(name.to_ascii_lowercase())),
        (_, Some(_) | None) => return wrong(),
    };
    Some(OriginPattern::Of { scheme, host, port })
}

/// 1 to 65535, without a sign.
fn number(digits: &str) -> Option<u16> {
    let plain = digits.bytes().all(|it| it.is_ascii_digit());
    digits.parse().ok().filter(|it| plain && *it > 0)
}

fn allowed(
    fields: &Fields<'_>,
    key: &str,
    most: usize,
    read: impl Fn(&Field<'_>) -> Option<String>,
) -> Option<Allowed> {
    fields.or(key, Allowed::default(), |field| {
        let names = field.all(&read)?;
        few(field, names.len(), most)?;
        if let Some(place) = (1..names.len()).find(|it| names[..*it].contains(&names[*it])) {
            return field.error(format!("{} is written twice", shown(&names[place])), "write it once");
        }
        match (names.iter().any(|it| it == "*"), names.len()) {
            (true, 1) => Some(Allowed::All),
            (true, _) => field.error("`*` stands beside names", "write it alone: it is every name"),
            (false, _) => Some(Allowed::Named(names)),
        }
    })
}

fn few(field: &Field<'_>, count: usize, most: usize) -> Option<()> {
    if count > most {
        return field.error(format!("{count} entries are too many"), format!("write at most {most}"));
    }
    Some(())
}
