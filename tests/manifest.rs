//! Manifests, described rather than written out.

use std::fmt;

use serde_json::{Value, json};

/// A `Workload`. Shown as a YAML document.
#[derive(Clone, Debug)]
pub struct Workload {
    namespace: String,
    name: String,
    labels: Value,
    spec: Value,
}

impl Workload {
    /// One that runs `command`; `$TESTBOX` is the box's path. `name` is `namespace/name`.
    pub fn new(name: &str, command: &[&str]) -> Self {
        let (namespace, name) = split(name);
        let labels = json!({ "app": name });
        Self { namespace, name, labels, spec: json!({ "command": command, "grace": "1s" }) }
    }

    /// One that does nothing, until told by `wabe exec`.
    pub fn idle(name: &str) -> Self {
        Self::new(name, &["sleep", "infinity"])
    }

    /// One that tells its name on port 8080 (called `main`), IPv4 and IPv6, and is ready when it does.
    pub fn server(name: &str) -> Self {
        Self::new(name, &["$TESTBOX", "id", "--listen", "[::]:8080"])
            .with("ports", json!([{ "name": "main", "port": 8080 }]))
            .with("readiness", json!({ "tcp": { "port": 8080 } }))
    }

    /// One that tells over HTTP/1 what it was asked, on port 8080 (called `main`), IPv4 and IPv6.
    pub fn web(name: &str) -> Self {
        Self::new(name, &["$TESTBOX", "web", "--listen", "[::]:8080"])
            .with("ports", json!([{ "name": "main", "port": 8080 }]))
            .with("readiness", json!({ "tcp": { "port": 8080 } }))
    }

    /// With this field of `spec`.
    #[must_use]
    pub fn with(mut self, field: &str, value: Value) -> Self {
        self.spec[field] = value;
        self
    }

    /// With this label besides `app`, which is its name.
    #[must_use]
    pub fn label(mut self, name: &str, value: &str) -> Self {
        self.labels[name] = json!(value);
        self
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { namespace, name, labels, spec } = self;
        let metadata = json!({ "name": name, "namespace": namespace, "labels": labels });
        document(f, "mesh.wabe.dev/v1alpha1", "Workload", &metadata, spec)
    }
}

/// A `Service`. Shown as a YAML document.
#[derive(Clone, Debug)]
pub struct Service {
    namespace: String,
    name: String,
    annotations: Value,
    spec: Value,
}

impl Service {
    /// Port 80 leads to port `main` of the workloads with the label `app: <its name>`. `name` is `namespace/name`.
    pub fn new(name: &str) -> Self {
        let (namespace, name) = split(name);
        let spec = json!({
            "selector": { "app": name },
            "ports": [{ "name": "main", "port": 80, "targetPort": "main" }],
        });
        Self { namespace, name, annotations: json!({}), spec }
    }

    /// With this annotation.
    #[must_use]
    pub fn annotation(mut self, name: &str, value: &str) -> Self {
        self.annotations[name] = json!(value);
        self
    }

    /// With this field of `spec`.
    #[must_use]
    pub fn with(mut self, field: &str, value: Value) -> Self {
        self.spec[field] = value;
        self
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { namespace, name, annotations, spec } = self;
        let metadata = json!({ "name": name, "namespace": namespace, "annotations": annotations });
        document(f, "v1", "Service", &metadata, spec)
    }
}

/// A `DestinationRule`. Shown as a YAML document.
#[derive(Clone, Debug)]
pub struct Rule {
    namespace: String,
    name: String,
    policy: Value,
}

impl Rule {
    /// For the service of its own name, which is `namespace/name`, with this `trafficPolicy`.
    pub fn new(name: &str, policy: Value) -> Self {
        let (namespace, name) = split(name);
        Self { namespace, name, policy }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { namespace, name, policy } = self;
        let metadata = json!({ "name": name, "namespace": namespace });
        let spec = json!({ "host": name, "trafficPolicy": policy });
        document(f, "networking.istio.io/v1", "DestinationRule", &metadata, &spec)
    }
}

/// An `HTTPRoute`. Shown as a YAML document.
#[derive(Clone, Debug)]
pub struct Route {
    namespace: String,
    name: String,
    spec: Value,
}

impl Route {
    /// For the service of its own name, which is `namespace/name`, with these rules.
    pub fn new(name: &str, rules: Value) -> Self {
        let (namespace, name) = split(name);
        let parent = json!([{ "group": "", "kind": "Service", "name": name }]);
        Self { namespace, name, spec: json!({ "parentRefs": parent, "rules": rules }) }
    }

    /// A backend of a rule: a service of the route's own namespace, port 80.
    pub fn backend(service: &str, weight: u32) -> Value {
        json!({ "name": service, "port": 80, "weight": weight })
    }

    /// With this field of `spec`.
    #[must_use]
    pub fn with(mut self, field: &str, value: Value) -> Self {
        self.spec[field] = value;
        self
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { namespace, name, spec } = self;
        let metadata = json!({ "name": name, "namespace": namespace });
        document(f, "gateway.networking.k8s.io/v1", "HTTPRoute", &metadata, spec)
    }
}

/// An `AuthorizationPolicy`. Shown as a YAML document.
#[derive(Clone, Debug)]
pub struct Policy {
    namespace: String,
    name: String,
    annotations: Value,
    spec: Value,
}

impl Policy {
    /// With this `spec`. `name` is `namespace/name`.
    pub fn new(name: &str, spec: Value) -> Self {
        let (namespace, name) = split(name);
        Self { namespace, name, annotations: json!({}), spec }
    }

    /// With this annotation.
    #[must_use]
    pub fn annotation(mut self, name: &str, value: &str) -> Self {
        self.annotations[name] = json!(value);
        self
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { namespace, name, annotations, spec } = self;
        let metadata = json!({ "name": name, "namespace": namespace, "annotations": annotations });
        document(f, "security.istio.io/v1", "AuthorizationPolicy", &metadata, spec)
    }
}

/// An object of any kind. Shown as a YAML document.
#[derive(Clone, Debug)]
pub struct Document {
    version: &'static str,
    kind: &'static str,
    metadata: Value,
    spec: Value,
}

impl Document {
    /// `name` is `namespace/name`.
    pub fn new(version: &'static str, kind: &'static str, name: &str, spec: Value) -> Self {
        let (namespace, name) = split(name);
        Self { version, kind, metadata: json!({ "name": name, "namespace": namespace }), spec }
    }
}

impl fmt::Display for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        document(f, self.version, self.kind, &self.metadata, &self.spec)
    }
}

/// Everything shown, one after the other.
pub fn all(objects: &[&dyn fmt::Display]) -> String {
    objects.iter().map(ToString::to_string).collect()
}

fn split(name: &str) -> (String, String) {
    let (namespace, name) = name.split_once('/').expect("a name as namespace/name");
    (namespace.into(), name.into())
}

/// JSON is YAML.
fn document(
    f: &mut fmt::Formatter<'_>,
    version: &str,
    kind: &str,
    metadata: &Value,
    spec: &Value,
) -> fmt::Result {
    writeln!(f, "---\napiVersion: {version}\nkind: {kind}\nmetadata: {metadata}\nspec: {spec}")
}
