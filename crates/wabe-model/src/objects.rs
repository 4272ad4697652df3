//! Everything that users wrote.

mod naming;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    AuthorizationPolicy, DestinationRule, FaultInjection, GrpcRoute, HttpRoute, Kind, Layer7, MeshConfig,
    ObjectKey, ObjectName, ReferenceGrant, RequestLimit, Route, Service, ServicePort, TcpRoute, TlsRoute,
    Workload,
};
use naming::Naming;

/// One object, parsed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind")]
pub enum Object {
    /// A namespace: only its name.
    Namespace {
        /// Its name.
        name: String,
    },
    /// A service account: only its name.
    ServiceAccount {
        /// Its name.
        name: ObjectName,
    },
    /// A service.
    Service(Service),
    /// A process on this machine, once or several times.
    Workload(Workload),
    /// Settings of the mesh.
    MeshConfig(MeshConfig),
    /// Who may talk to whom.
    AuthorizationPolicy(AuthorizationPolicy),
    /// How connections to a service are spread.
    DestinationRule(DestinationRule),
    /// What becomes of requests to services.
    #[serde(rename = "HTTPRoute")]
    HttpRoute(HttpRoute),
    /// What becomes of calls to services.
    #[serde(rename = "GRPCRoute")]
    GrpcRoute(GrpcRoute),
    /// What becomes of TLS connections to services.
    #[serde(rename = "TLSRoute")]
    TlsRoute(TlsRoute),
    /// What becomes of connections to services.
    #[serde(rename = "TCPRoute")]
    TcpRoute(TcpRoute),
    /// Who may refer to a namespace's services from another one.
    ReferenceGrant(ReferenceGrant),
    /// `RequestLimit`
    RequestLimit(RequestLimit),
    /// `FaultInjection`
    FaultInjection(FaultInjection),
}

impl Object {
    /// What makes it unique.
    pub fn key(&self) -> ObjectKey {
        let (kind, name) = match self {
            Self::Namespace { name } => (Kind::Namespace, ObjectName::new("", name)),
            Self::ServiceAccount { name } => (Kind::ServiceAccount, name.clone()),
            Self::Service(service) => (Kind::Service, service.name.clone()),
            Self::Workload(workload) => (Kind::Workload, workload.name.clone()),
            Self::MeshConfig(_) => (Kind::MeshConfig, ObjectName::new("", "mesh")),
            Self::DestinationRule(rule) => (Kind::DestinationRule, rule.name.clone()),
            Self::HttpRoute(route) => (Kind::HttpRoute, route.name.clone()),
            Self::GrpcRoute(route) => (Kind::GrpcRoute, route.name.clone()),
            Self::TlsRoute(route) => (Kind::TlsRoute, route.name.clone()),
            Self::TcpRoute(route) => (Kind::TcpRoute, route.name.clone()),
            Self::ReferenceGrant(grant) => (Kind::ReferenceGrant, grant.name.clone()),
            Self::RequestLimit(limit) => (Kind::RequestLimit, limit.name.clone()),
            Self::FaultInjection(fault) => (Kind::FaultInjection, fault.name.clone()),
            Self::AuthorizationPolicy(policy) => (Kind::AuthorizationPolicy, policy.name.clone()),
        };
        ObjectKey { kind, name }
    }
}

/// The objects of a mesh by key.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Objects {
    by_key: BTreeMap<ObjectKey, Object>,
    naming: Naming,
}

impl Objects {
    /// Adds or replaces an object; returns the one it replaced.
    pub fn insert(&mut self, object: Object) -> Option<Object> {
        let key = object.key();
        let replaced = self.remove(&key);
        self.naming.add(&object);
        self.by_key.insert(key, object);
        replaced
    }

    /// Removes an object.
    pub fn remove(&mut self, key: &ObjectKey) -> Option<Object> {
        let removed = self.by_key.remove(key)?;
        self.naming.remove(&removed);
        Some(removed)
    }

    /// The object of this key.
    pub fn find(&self, key: &ObjectKey) -> Option<&Object> {
        self.by_key.get(key)
    }

    /// All objects, by kind, namespace and name.
    pub fn iter(&self) -> impl Iterator<Item = &Object> {
        self.by_key.values()
    }

    /// All services.
    pub fn services(&self) -> impl Iterator<Item = &Service> {
        self.of_kind(Kind::Service)
            .filter_map(|object| if let Object::Service(it) = object { Some(it) } else { None })
    }

    /// The services of a namespace.
    pub fn services_of(&self, namespace: &str) -> impl Iterator<Item = &Service> {
        self.of_namespace(Kind::Service, namespace)
            .filter_map(|object| if let Object::Service(it) = object { Some(it) } else { None })
    }

    /// All workloads.
    pub fn workloads(&self) -> impl Iterator<Item = &Workload> {
        self.of_kind(Kind::Workload)
            .filter_map(|object| if let Object::Workload(it) = object { Some(it) } else { None })
    }

    /// All destination rules.
    pub fn destination_rules(&self) -> impl Iterator<Item = &DestinationRule> {
        self.of_kind(Kind::DestinationRule)
            .filter_map(|object| if let Object::DestinationRule(it) = object { Some(it) } else { None })
    }

    /// The destination rules about a service, by namespace and name: one, unless nobody checked.
    pub fn destination_rules_of(&self, service: &ObjectName) -> impl Iterator<Item = &DestinationRule> {
        let named = self.naming.of(service).filter_map(|key| self.find(key));
        named.filter_map(|object| if let Object::DestinationRule(it) = object { Some(it) } else { None })
    }

    /// All routes of requests.
    pub fn http_routes(&self) -> impl Iterator<Item = &HttpRoute> {
        self.of_kind(Kind::HttpRoute)
            .filter_map(|object| if let Object::HttpRoute(it) = object { Some(it) } else { None })
    }

    /// All routes of calls.
    pub fn grpc_routes(&self) -> impl Iterator<Item = &GrpcRoute> {
        self.of_kind(Kind::GrpcRoute)
            .filter_map(|object| if let Object::GrpcRoute(it) = object { Some(it) } else { None })
    }

    /// All routes of TLS connections.
    pub fn tls_routes(&self) -> impl Iterator<Item = &TlsRoute> {
        self.of_kind(Kind::TlsRoute)
            .filter_map(|object| if let Object::TlsRoute(it) = object { Some(it) } else { None })
    }

    /// All routes of connections.
    pub fn tcp_routes(&self) -> impl Iterator<Item = &TcpRoute> {
        self.of_kind(Kind::TcpRoute)
            .filter_map(|object| if let Object::TcpRoute(it) = object { Some(it) } else { None })
    }

    /// Whether a route of this kind and namespace may refer to this service: one of its own namespace, or one that a
    /// `ReferenceGrant` lets it refer to.
    pub fn may_refer(&self, route: Kind, namespace: &str, service: &ObjectName) -> bool {
        namespace == service.namespace
            || self.of_namespace(Kind::ReferenceGrant, &service.namespace).any(
                |object| matches!(object, Object::ReferenceGrant(it) if it.grants(route, namespace, service)),
            )
    }

    /// All authorization policies.
    pub fn policies(&self) -> impl Iterator<Item = &AuthorizationPolicy> {
        self.of_kind(Kind::AuthorizationPolicy)
            .filter_map(|object| if let Object::AuthorizationPolicy(it) = object { Some(it) } else { None })
    }

    /// The mesh's settings, the defaults if none were written.
    pub fn mesh_config(&self) -> MeshConfig {
        self.of_kind(Kind::MeshConfig)
            .find_map(|object| if let Object::MeshConfig(it) = object { Some(it.clone()) } else { None })
            .unwrap_or_default()
    }

    /// Workloads of a namespace that have all these labels. No label selects all of them.
    pub fn select<'a>(
        &'a self,
        namespace: &'a str,
        labels: &'a BTreeMap<String, String>,
    ) -> impl Iterator<Item = &'a Workload> {
        self.of_namespace(Kind::Workload, namespace)
            .filter_map(|object| if let Object::Workload(it) = object { Some(it) } else { None })
            .filter(|it| it.has_labels(labels))
    }

    /// A service's workloads.
    pub fn selected_by_service<'a>(&'a self, service: &'a Service) -> impl Iterator<Item = &'a Workload> {
        self.select(&service.name.namespace, &service.selector)
    }

    /// Workloads that a policy holds for: those of its namespace, of all namespaces if it is in the root namespace.
    pub fn selected_by_policy<'a>(
        &'a self,
        policy: &'a AuthorizationPolicy,
    ) -> impl Iterator<Item = &'a Workload> {
        let everywhere = policy.name.namespace == self.mesh_config().root_namespace;
        self.workloads().filter(move |it| {
            (everywhere || it.name.namespace == policy.name.namespace) && it.has_labels(&policy.selector)
        })
    }

    /// The service of this name.
    pub fn service(&self, name: &ObjectName) -> Option<&Service> {
        let found = self.find(&ObjectKey { kind: Kind::Service, name: name.clone() });
        found.and_then(|object| if let Object::Service(it) = object { Some(it) } else { None })
    }

    /// Whether policies in force of a workload that the service leads to look at requests.
    fn has_judged_workload(&self, service: &Service) -> bool {
        // Most meshes have no such policy, and there may be thousands of services.
        let mut deciding: Vec<_> = self.policies().filter(|it| it.decides_by_requests()).collect();
        if deciding.is_empty() || service.selector.is_empty() {
            return false;
        }
        let root = self.mesh_config().root_namespace;
        deciding.retain(|it| [&root, &service.name.namespace].contains(&&it.name.namespace));
        self.selected_by_service(service)
            .any(|workload| deciding.iter().any(|policy| workload.has_labels(&policy.selector)))
    }

    /// Whether something comes to a service through the node's proxy: a route is attached to it or leads to it, it or one of
    /// its workloads asks for that always, or policies of such a workload look at requests.
    pub fn comes_through_proxy(&self, name: &ObjectName) -> bool {
        let always = self.service(name).is_some_and(|service| {
            service.layer7 == Layer7::Always
                || self.has_judged_workload(service)
                || self.selected_by_service(service).any(|it| it.layer7 == Layer7::Always)
        });
        always || self.routes_naming(name).next().is_some()
    }

    /// The routes of any kind that are attached to a service or lead to it, by kind, namespace and name.
    pub fn routes_naming(&self, service: &ObjectName) -> impl Iterator<Item = Route<'_>> {
        self.naming.of(service).filter_map(|key| Route::of(self.find(key)?))
    }

    /// The routes of any kind that are attached to this port of a service and say anything of it, by kind, namespace and name.
    pub fn routes_about(&self, service: &Service, port: &ServicePort) -> impl Iterator<Item = Route<'_>> {
        self.routes_naming(&service.name).filter(|it| it.is_about(service, port))
    }

    /// The limit of this name.
    pub fn request_limit(&self, name: &ObjectName) -> Option<&RequestLimit> {
        let found = self.find(&ObjectKey { kind: Kind::RequestLimit, name: name.clone() });
        found.and_then(|object| if let Object::RequestLimit(it) = object { Some(it) } else { None })
    }

    /// The injection of this name.
    pub fn fault_injection(&self, name: &ObjectName) -> Option<&FaultInjection> {
        let found = self.find(&ObjectKey { kind: Kind::FaultInjection, name: name.clone() });
        found.and_then(|object| if let Object::FaultInjection(it) = object { Some(it) } else { None })
    }

    /// The workload of this name.
    pub fn workload(&self, name: &ObjectName) -> Option<&Workload> {
        let found = self.find(&ObjectKey { kind: Kind::Workload, name: name.clone() });
        found.and_then(|object| if let Object::Workload(it) = object { Some(it) } else { None })
    }

    /// Objects of one kind and namespace, by name.
    pub fn of_namespace(&self, kind: Kind, namespace: &str) -> impl Iterator<Item = &Object> {
        let first = ObjectKey { kind, name: ObjectName::new(namespace, "") };
        let is_its = move |key: &ObjectKey| key.kind == kind && key.name.namespace == namespace;
        self.by_key.range(first..).take_while(move |(key, _)| is_its(key)).map(|(_, object)| object)
    }

    /// Objects of one kind, by namespace and name.
    pub fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &Object> {
        // Keys are in the order of kinds, and no name comes before the empty one.
        let first = ObjectKey { kind, name: ObjectName::new("", "") };
        self.by_key.range(first..).take_while(move |(key, _)| key.kind == kind).map(|(_, object)| object)
    }

    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }
}

/// Later objects replace earlier ones of the same key.
impl FromIterator<Object> for Objects {
    fn from_iter<T: IntoIterator<Item = Object>>(objects: T) -> Self {
        let mut all = Self::default();
        all.extend(objects);
        all
    }
}

/// Later objects replace earlier ones of the same key.
impl Extend<Object> for Objects {
    fn extend<T: IntoIterator<Item = Object>>(&mut self, objects: T) {
        objects.into_iter().for_each(|object| drop(self.insert(object)));
    }
}
