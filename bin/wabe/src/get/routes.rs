//! Routes with their conditions: what has become of them, for each service that they are attached to.

use serde_json::{Value, json};
use wabe_model::{Objects, Route};
use wabe_policy::http::{Condition, Status, conditions};

use crate::screen::{Colour, Table, paint};

/// The name by which Wabe says that it wrote a status.
const CONTROLLER: &str = "mesh.wabe.dev/wabe";

/// Writes `status.parents` into a route's manifest.
pub(super) fn add_status(manifest: &mut Value, all: &Objects, route: Route<'_>) {
    let references = manifest["spec"]["parentRefs"].as_array().cloned().unwrap_or_default();
    let parents = references.into_iter().zip(conditions(all, route)).map(|(reference, conditions)| {
        json!({ "parentRef": reference, "controllerName": CONTROLLER, "conditions": conditions })
    });
    manifest["status"] = json!({ "parents": parents.collect::<Value>() });
}

/// A row for each route and parent.
pub(super) fn table(routes: &[Route<'_>], all: &Objects) -> String {
    let mut table =
        Table::new(["KIND", "NAME", "SERVICE", "RULES", "ACCEPTED", "RESOLVED", "PROGRAMMED", "WHY"]);
    for route in routes {
        for (parent, [accepted, resolved, programmed]) in route.parents().iter().zip(conditions(all, *route))
        {
            let port = parent.port.map(|port| port.to_string()).or_else(|| parent.section.clone());
            let why: Vec<&str> = [&accepted, &resolved]
                .into_iter()
                .map(|it| it.message.as_str())
                .filter(|it| !it.is_empty())
                .collect();
            table.row([
                route.kind().to_string(),
                route.name().to_string(),
                format!("{}{}", parent.service, port.map_or_else(String::new, |port| format!(":{port}"))),
                route.rules().len().to_string(),
                cell(&accepted),
                cell(&resolved),
                cell(&programmed),
                why.join("; "),
            ]);
        }
    }
    table.text()
}

fn cell(condition: &Condition) -> String {
    match condition.status {
        Status::True => paint("True", Colour::Green),
        Status::False => paint(&format!("{:?}", condition.reason), Colour::Red),
    }
}

#[cfg(test)]
mod tests {
    use wabe_model::{Manifest, check, parse, to_manifest};

    use super::*;

    fn objects() -> Objects {
        let text = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {selector: {a: b}, ports: [{port: 80}]}\n---\n\
             apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: r}\n\
             spec: {parentRefs: [{group: '', kind: Service, name: web, port: 80}, {group: '', kind: Service, name: gone}], rules: [{}]}\n";
        let parsed = parse(&[Manifest::new("x.yaml", "/", text)]).expect("manifests");
        check(&parsed, &Objects::default()).expect("checks").0
    }

    #[test]
    fn a_manifest_says_what_has_become_of_the_route_and_can_be_applied_again() {
        let all = objects();
        let object = all.iter().find(|it| Route::of(it).is_some()).expect("the route");
        let mut manifest = to_manifest(object);
        add_status(&mut manifest, &all, Route::of(object).expect("a route"));
        let parents = manifest["status"]["parents"].as_array().expect("two");
        assert_eq!(parents[0]["parentRef"]["port"], 80);
        assert_eq!(
            parents[0]["conditions"][0],
            json!({ "type": "Accepted", "status": "True", "reason": "Accepted", "message": "" })
        );
        assert_eq!(parents[1]["conditions"][0]["reason"], "NoMatchingParent");
        let again = parse(&[Manifest::new("y.yaml", "/", manifest.to_string())]).expect("read again");
        assert_eq!(again.objects[0].object, *object);
    }

    #[test]
    fn a_table_has_a_row_for_each_parent() {
        let all = objects();
        let routes: Vec<Route<'_>> = all.iter().filter_map(Route::of).collect();
        let text = table(&routes, &all);
        let rows: Vec<Vec<&str>> =
            text.lines().skip(1).map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows[0], ["HTTPRoute", "default/r", "default/web:80", "1", "True", "True", "True"]);
        assert_eq!(rows[1][2..7], ["default/gone", "1", "NoMatchingParent", "True", "Invalid"]);
    }
}
