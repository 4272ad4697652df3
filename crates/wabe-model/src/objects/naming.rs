//! Which routes and destination rules name a service: of thousands of services each is named by few.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Object, ObjectKey, ObjectName, Route};

/// By service, the keys of the routes that are attached to it or lead to it, and of the rules about it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Naming(BTreeMap<ObjectName, BTreeSet<ObjectKey>>);

impl Naming {
    pub(super) fn add(&mut self, object: &Object) {
        for service in named(object) {
            self.0.entry(service.clone()).or_default().insert(object.key());
        }
    }

    pub(super) fn remove(&mut self, object: &Object) {
        let key = object.key();
        for service in named(object) {
            if let Some(keys) = self.0.get_mut(service) {
                keys.remove(&key);
                if keys.is_empty() {
                    self.0.remove(service);
                }
            }
        }
    }

    /// By kind, namespace and name.
    pub(super) fn of(&self, service: &ObjectName) -> impl Iterator<Item = &ObjectKey> {
        self.0.get(service).into_iter().flatten()
    }
}

fn named(object: &Object) -> impl Iterator<Item = &ObjectName> {
    let rule = if let Object::DestinationRule(rule) = object { Some(&rule.service) } else { None };
    let route = Route::of(object);
    let parents = route.into_iter().flat_map(|it| it.parents()).map(|it| &it.service);
    let rules = route.into_iter().flat_map(|it| it.rules());
    rule.into_iter().chain(parents).chain(rules.flat_map(|it| it.backends).map(|it| &it.service))
}

#[cfg(test)]
mod tests {
    use crate::{Kind, Manifest, Objects, parse};

    use super::*;

    fn route(kind: &str, name: &str, parent: &str, backend: &str) -> Object {
        let text = format!(
            "apiVersion: gateway.networking.k8s.io/v1\nkind: {kind}\nmetadata: {{name: {name}, namespace: shop}}\n\
             spec: {{parentRefs: [{{group: '', kind: Service, name: {parent}}}], rules: [{{backendRefs: [{{name: {backend}, port: 80}}]}}]}}\n"
        );
        let parsed = parse(&[Manifest::new("x.yaml", "/", text)]);
        parsed.unwrap_or_else(|error| panic!("{error}")).objects.remove(0).object
    }

    fn naming(objects: &Objects, service: &str) -> Vec<(Kind, String)> {
        let routes = objects.routes_naming(&ObjectName::new("shop", service)).collect::<Vec<_>>();
        routes.into_iter().map(|it| (it.kind(), it.name().name.clone())).collect()
    }

    #[test]
    fn routes_are_found_by_what_they_name_whatever_became_of_them() {
        let key = |kind, name| ObjectKey { kind, name: ObjectName::new("shop", name) };
        let of = |kind, name: &str| (kind, name.to_owned());
        let mut objects: Objects =
            [route("GRPCRoute", "a", "web", "v1"), route("HTTPRoute", "b", "web", "web")]
                .into_iter()
                .collect();
        assert_eq!(naming(&objects, "web"), [of(Kind::HttpRoute, "b"), of(Kind::GrpcRoute, "a")]);
        assert_eq!(naming(&objects, "v1"), [of(Kind::GrpcRoute, "a")]);
        let _ = objects.insert(route("GRPCRoute", "a", "web", "v2"));
        assert_eq!(
            (naming(&objects, "v1"), naming(&objects, "v2")),
            (vec![], vec![of(Kind::GrpcRoute, "a")])
        );
        objects.extend([route("GRPCRoute", "a", "db", "v2"), route("TLSRoute", "c", "db", "db")]);
        assert_eq!(naming(&objects, "web"), [of(Kind::HttpRoute, "b")]);
        assert_eq!(naming(&objects, "db"), [of(Kind::GrpcRoute, "a"), of(Kind::TlsRoute, "c")]);
        for (kind, name) in [(Kind::HttpRoute, "b"), (Kind::GrpcRoute, "a"), (Kind::TlsRoute, "c")] {
            let _ = objects.remove(&key(kind, name));
        }
        assert_eq!(objects, Objects::default(), "nothing is left of them");
    }
}
