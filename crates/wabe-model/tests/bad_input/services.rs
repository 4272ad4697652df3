//! Services that can't be.

use super::table;

const SERVICE: &str = "apiVersion: v1\nkind: Service\nmetadata: {name: a}";

#[test]
fn services() {
    table(
        SERVICE,
        &[
            (
                "  selector: {a: b}",
                &["5:3: spec: `ports` is missing (list at least one: `ports: [{port: 80}]`)"],
            ),
            (
                "  slector: {a: b}\n  ports: [{port: 80}]",
                &[
                    "5:3: spec.slector: unknown field (did you mean `selector`? supported: selector, ports, clusterIP, clusterIPs, ipFamilies, ipFamilyPolicy, type, publishNotReadyAddresses, internalTrafficPolicy, sessionAffinity, sessionAffinityConfig, trafficDistribution)",
                    "5:3: spec: `selector` is missing (write the labels of its workloads; a Service without workloads of its own is not supported)",
                ],
            ),
            (
                "  selector: {}\n  ports: []",
                &[
                    "5:13: spec.selector: an empty selector would select every workload (write the labels of its workloads; a Service without workloads of its own is not supported)",
                    "6:10: spec.ports: a service needs a port (list at least one: `ports: [{port: 80}]`)",
                ],
            ),
            (
                "  selector: {a: b}\n  type: NodePort\n  sessionAffinity: ClientUP\n  externalTrafficPolicy: Local\n  ports: [{port: 80, nodePort: 30000}]",
                &[
                    "6:9: spec.type: `NodePort` is not supported yet, and not ignored (use ClusterIP; `clusterIP: None` makes it headless)",
                    "7:20: spec.sessionAffinity: `ClientUP` is not supported here (did you mean `ClientIP`? supported: None, ClientIP)",
                    "8:3: spec.externalTrafficPolicy: is about traffic from outside of the mesh, which is not supported yet, and not ignored (leave it out; services are reached from inside of the mesh)",
                    "9:22: spec.ports[0].nodePort: is about traffic from outside of the mesh, which is not supported yet, and not ignored (leave it out)",
                ],
            ),
            (
                "  selector: {a: b}\n  ports:\n  - port: 70000\n  - port: \"80\"\n  - {port: 1, targetPort: \"8080\"}\n  - {port: 1, targetPort: 0}\n  - {port: 08}\n  - {port: web}\n  - {}\n  - 80",
                &[
                    "7:11: spec.ports[0].port: 70000 is out of range for a port (1 to 65535 can be used)",
                    "8:11: spec.ports[1].port: a number is wanted, found the text `80` (write 80 without quotes)",
                    "9:27: spec.ports[2].targetPort: `8080` can't be the name of a port (for the number 8080, leave out the quotes)",
                    "10:27: spec.ports[3].targetPort: 0 is out of range for a port (1 to 65535 can be used)",
                    "11:12: spec.ports[4].port: a port is wanted, found the number 08 (write a decimal number without zeros before it, 1 to 65535)",
                    "12:12: spec.ports[5].port: a port is wanted, found the text `web` (write a number, 1 to 65535)",
                    "13:5: spec.ports[6]: `port` is missing (write the number that clients dial)",
                    "14:5: spec.ports[7]: a mapping is wanted, found the number 80 (write `field: value` lines)",
                ],
            ),
            (
                "  selector: {a: b}\n  ports:\n  - {name: x, port: 80}\n  - {name: x, port: 80}\n  - {port: 80, protocol: UDP}",
                &[
                    "8:5: spec.ports[1]: another port has this name (names of ports must differ)",
                    "8:5: spec.ports[1]: another port has this number and protocol (leave one of them out)",
                    "9:5: spec.ports[2]: `name` is missing; several ports need names (give each port a name)",
                ],
            ),
            (
                "  selector: {a: b}\n  ports: [{port: 80, protocol: tcp, appProtocol: htp}, {port: 81, protocol: SCTP, name: a_b}]",
                &[
                    "6:32: spec.ports[0].protocol: `tcp` is not supported here (did you mean `TCP`? supported: TCP, UDP)",
                    "6:50: spec.ports[0].appProtocol: `htp` is not known (did you mean `http`? `tcp` is any protocol that nobody looks into; known: http, http2, grpc, tls, tcp, https, grpc-web, mongo, mysql, redis, kubernetes.io/h2c, kubernetes.io/ws, kubernetes.io/wss)",
                    "6:77: spec.ports[1].protocol: `SCTP` is not supported here (did you mean `TCP`? supported: TCP, UDP)",
                    "6:89: spec.ports[1].name: `a_b` can't be the name of a port (use at most 63 of a-z, 0-9 and -, with a letter or digit first and last)",
                ],
            ),
            (
                "  selector: {a: b}\n  clusterIP: 10.0.0.999\n  publishNotReadyAddresses: 'true'\n  ports: [{port: 80}]",
                &[
                    "6:14: spec.clusterIP: `10.0.0.999` is not an address (write an IPv4 or IPv6 address, as 10.96.0.10)",
                    "7:29: spec.publishNotReadyAddresses: true or false is wanted, found the text `true` (write true without quotes)",
                ],
            ),
            (
                "  selector: {a: b}\n  clusterIP: 127.0.0.1\n  ports: [{port: 80}]",
                &[
                    "6:14: spec.clusterIP: 127.0.0.1 can't be a service's address (leave it out to have one chosen, or write one of the mesh's service range)",
                ],
            ),
            (
                "  selector: {a: b}\n  clusterIP: 10.96.0.1\n  clusterIPs: [None]\n  ports: [{port: 80}]",
                &[
                    "5:3: spec: clusterIP and clusterIPs contradict each other (write clusterIP alone: None, or an address)",
                ],
            ),
            (
                "  selector: {a: b}\n  clusterIP: 10.96.0.1\n  clusterIPs: [10.96.0.2]\n  ports: [{port: 80}]",
                &[
                    "7:16: spec.clusterIPs[0]: two addresses of one family (a service has one of each family at most)",
                ],
            ),
            (
                "  selector: {a: b}\n  clusterIP: 10.96.0.1\n  ipFamilies: [IPv6]\n  ports: [{port: 80}]",
                &[
                    "6:14: spec.clusterIP: 10.96.0.1 is of a family that ipFamilies or ipFamilyPolicy leave out (add the family to ipFamilies, or leave the address out)",
                ],
            ),
            (
                "  selector: {a: b}\n  ipFamilies: [IPv6, IPv6]\n  ports: [{port: 80}]",
                &["6:15: spec.ipFamilies: one family is listed twice (list each once)"],
            ),
            (
                "  selector: {a: b}\n  ipFamilies: [IPv6, IPv4]\n  ipFamilyPolicy: SingleStack\n  ports: [{port: 80}]",
                &[
                    "5:3: spec: ipFamilyPolicy is SingleStack, but ipFamilies lists two (leave one out, or write PreferDualStack)",
                ],
            ),
            (
                "  selector: {a: b}\n  ports: [{port: 80}]\n  ports: [{port: 81}]",
                &["7:3: `ports` is given twice; first on line 6 (keep one of them)"],
            ),
        ],
    );
    table(
        "apiVersion: v1\nkind: Service\nmetadata: {name: a, annotations: {mesh.wabe.dev/balance: randomly, mesh.wabe.dev/blance: x}}",
        &[(
            "  selector: {a: b}\n  ports: [{port: 80}]",
            &[
                "3:68: metadata.annotations[\"mesh.wabe.dev/blance\"]: unknown annotation on a Service (did you mean `mesh.wabe.dev/balance`?)",
            ],
        )],
    );
    table(
        "apiVersion: v1\nkind: Service\nmetadata: {name: a, annotations: {mesh.wabe.dev/balance: randomly}}",
        &[(
            "  selector: {a: b}\n  ports: [{port: 80}]",
            &[
                "3:58: metadata.annotations[\"mesh.wabe.dev/balance\"]: `randomly` is not supported here (did you mean `random`? supported: two-choices, random, round-robin, peak-ewma)",
            ],
        )],
    );
}
