//! Workloads that can't be.

use super::table;

const WORKLOAD: &str = "apiVersion: mesh.wabe.dev/v1alpha1\nkind: Workload\nmetadata: {name: a}";

#[test]
fn workloads() {
    table(
        WORKLOAD,
        &[
            (
                "  replicas: 1",
                &[
                    "5:3: spec: `command` is missing (write program and arguments, as `command: [nginx, -c, shop.conf]`)",
                ],
            ),
            (
                "  command: sleep 10",
                &[
                    "5:12: spec.command: a command is a list (write program and arguments apart, as [sh, -c, \"exec nginx\"])",
                ],
            ),
            (
                "  command: [sleep, 10]",
                &[
                    "5:20: spec.command[1]: text is wanted, found the number 10 (put it in quotes; without them YAML doesn't read it as text)",
                ],
            ),
            (
                "  command: []",
                &[
                    "5:12: spec.command: the list has no program (write program and arguments, as [nginx, -c, shop.conf])",
                ],
            ),
            (
                "  command: [a, \"b\\0\"]\n  env: {A=B: x, C: 1}\n  user: -1\n  workingDir: ''",
                &[
                    "5:16: spec.command[1]: a NUL character can't be handed to a program (leave it out)",
                    "6:9: spec.env[\"A=B\"]: `A=B` can't be a variable's name (it can't be empty, nor have `=` or NUL in it)",
                    "6:20: spec.env.C: text is wanted, found the number 1 (put it in quotes; without them YAML doesn't read it as text)",
                    "7:9: spec.user: -1 is out of range for a user (0 to 4294967294 can be used)",
                    "8:15: spec.workingDir: the path is empty (write a folder, or leave the field out for /)",
                ],
            ),
            (
                "  command: [a]\n  env:\n  - {name: A, value: x}\n  - {name: A}\n  - {name: B, valueFrom: {}}\n  - {value: x}\n  user: '4294967295'",
                &[
                    "8:5: spec.env[1]: `A` is given twice (keep one of them)",
                    "9:15: spec.env[2].valueFrom: is not supported (write `value`)",
                    "10:5: spec.env[3]: `name` is missing (write the variable's name)",
                    "11:9: spec.user: `4294967295` can't be a user (write a user's name or number)",
                ],
            ),
            (
                "  command: [a]\n  user: 1466040320",
                &[
                    "6:9: spec.user: user 1466040320 is kept for processes of the mesh itself (write a user that is not between 1466040320 and 1466105855)",
                ],
            ),
            (
                "  command: [a]\n  user: '1466105855'",
                &[
                    "6:9: spec.user: user 1466105855 is kept for processes of the mesh itself (write a user that is not between 1466040320 and 1466105855)",
                ],
            ),
            (
                "  command: [a]\n  replicas: 1001\n  weight: 0\n  grace: 10\n  egress: all\n  restartPolicy: always\n  serviceAccount: A",
                &[
                    "6:13: spec.replicas: 1001 is out of range for replicas (0 to 1000 can be used)",
                    "7:11: spec.weight: 0 is out of range for a weight (1 to 1000 can be used)",
                    "8:10: spec.grace: 10 has no unit (write a number with a unit: 500ms, 2s, 1m30s)",
                    "9:11: spec.egress: `all` is not supported here (supported: none, masquerade)",
                    "10:18: spec.restartPolicy: `always` is not supported here (did you mean `Always`? supported: Always, OnFailure, Never)",
                    "11:19: spec.serviceAccount: `A` can't be a name (use at most 253 of a-z, 0-9, - and ., with a letter or digit first and last of each part (RFC 1123))",
                ],
            ),
            (
                "  command: [a]\n  capabilities: [NET_RAV, CAP_BPF, BPF]",
                &[
                    "6:18: spec.capabilities[0]: `NET_RAV` is no capability (did you mean NET_RAW?)",
                    "6:36: spec.capabilities[2]: BPF is listed twice (list it once)",
                ],
            ),
            (
                "  command: [a]\n  ports: [{name: web, port: 80}, {name: web, port: 81}, {name: much-too-long-a-name, port: 82}, {containerPort: 83}]",
                &[
                    "6:34: spec.ports[1]: another port is called web (names of ports must differ)",
                    "6:64: spec.ports[2].name: `much-too-long-a-name` can't be the name of a port (use at most 15 of a-z, 0-9 and single -, at least one letter, a letter or digit first and last)",
                    "6:97: spec.ports[3]: `name` is missing (name it; a number alone needs no entry here)",
                    "6:97: spec.ports[3]: `port` is missing (write the number that the program listens on)",
                    "6:98: spec.ports[3].containerPort: is a field of Pods (write `port`)",
                ],
            ),
            (
                "  command: [a]\n  image: x\n  readinessProbe: {}\n  args: [x]",
                &[
                    "6:3: spec.image: container images are not supported (write a program of this machine into `command`)",
                    "7:3: spec.readinessProbe: is a field of Pods (write `readiness`)",
                    "8:3: spec.args: is not supported (write program and arguments into `command`)",
                ],
            ),
        ],
    );
}

#[test]
fn probes() {
    table(
        WORKLOAD,
        &[
            (
                "  command: [a]\n  readiness: {}",
                &["6:14: spec.readiness: a probe must try something (write `tcp`, `http` or `exec`)"],
            ),
            (
                "  command: [a]\n  readiness: {tcp: {port: 1}, exec: {command: [x]}}",
                &["6:14: spec.readiness: a probe tries one thing (keep one of `tcp`, `http` and `exec`)"],
            ),
            (
                "  command: [a]\n  readiness: {http: {port: wbe, path: 'a b'}, period: 1ms, timeout: soon}\n  ports: [{name: web, port: 80}]",
                &[
                    "6:28: spec.readiness.http.port: no TCP port of this workload is called `wbe` (did you mean `web`?)",
                    "6:39: spec.readiness.http.path: `a b` can't be the path of a request (begin with / and write other than visible ASCII as %XX)",
                    "6:55: spec.readiness.period: `1ms` is out of range (100ms to 1h can be used)",
                    "6:69: spec.readiness.timeout: `soon` is not a duration (write a number with a unit: 500ms, 2s, 1m30s)",
                ],
            ),
            (
                "  command: [a]\n  readiness: {tcp: {port: '80'}, periodSeconds: 1}",
                &[
                    "6:27: spec.readiness.tcp.port: no TCP port of this workload is called `80` (for the number 80, leave out the quotes)",
                    "6:34: spec.readiness.periodSeconds: is a field of Pods (write `period`, as 1s)",
                ],
            ),
            (
                "  command: [a]\n  readiness: {exec: {command: []}, failureThreshold: 0}",
                &[
                    "6:31: spec.readiness.exec.command: the list has no program (write program and arguments, as [nginx, -c, shop.conf])",
                    "6:54: spec.readiness.failureThreshold: 0 is out of range for a threshold (1 to 1000 can be used)",
                ],
            ),
        ],
    );
}
