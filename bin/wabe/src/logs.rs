//! `wabe logs`: what a workload prints, or a process of the mesh. Reads files, so it works without keeper and agent, and for
//! replicas that are gone.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
    thread,
    time::Duration,
};

use serde::{Deserialize, Serialize, de::IgnoredAny};
use wabe_keeper::{
    layout::Mesh,
    logs::{Follow, read, read_on},
};

use crate::{
    cli::{Logs, Output},
    failure::{Failure, require_root},
    screen::{json, line},
    workload::Word,
};

/// How often followed logs are looked at.
const LOOK: Duration = Duration::from_millis(200);

/// The mesh's own processes that have logs.
const ROLES: [&str; 3] = ["agent", "dns", PROXY];
/// The one that has an access log.
const PROXY: &str = "proxy";

/// One replica's log, or a process's.
#[derive(Debug, PartialEq, Eq)]
struct Log {
    workload: String,
    replica: u32,
    path: PathBuf,
}

#[derive(Serialize)]
struct Line<'a> {
    workload: &'a str,
    replica: u32,
    text: &'a str,
}

pub(crate) fn run(mesh: &Mesh, arguments: &Logs) -> Result<ExitCode, Failure> {
    require_root()?;
    let absent = || Failure::environment(format!("mesh `{mesh}` does not run: start it with `wabe up`"));
    let not_found = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    let all =
        find(&mesh.logs_dir()).map_err(|error| if not_found(&error) { absent() } else { error.into() })?;
    let logs = match of_process(&mesh.logs_dir(), &arguments.workload, &all) {
        Some(log) if arguments.access && log.workload != PROXY => return Err(no_access_log(&log.workload)),
        Some(log) => vec![log],
        None if arguments.access => return Err(no_access_log(&arguments.workload)),
        None => of_workload(all, arguments)?,
    };
    let form = if arguments.access { Form::Access } else { Form::Any(arguments.plain.output) };
    let printer = Printer { several: logs.len() > 1, form };
    let mut followed = Vec::new();
    for log in &logs {
        let bytes = if arguments.follow {
            let (mut bytes, follow) = read_on(&log.path)?;
            // Half a line waits for its other half.
            let rest = bytes.split_off(whole_lines(&bytes));
            followed.push((follow, rest, log));
            bytes
        } else {
            read(&log.path)?
        };
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().filter(|line| printer.prints(line)).collect();
        let skip = arguments.tail.map_or(0, |tail| lines.len().saturating_sub(tail));
        lines.into_iter().skip(skip).try_for_each(|text| printer.print(log, text))?;
    }
    if arguments.follow { follow_all(followed, &printer) } else { Ok(ExitCode::SUCCESS) }
}

/// The log of a process of the mesh, if no workload has its name.
fn of_process(folder: &Path, word: &str, all: &[Log]) -> Option<Log> {
    let is_workload =
        all.iter().any(|log| log.workload.rsplit_once('/').is_some_and(|(_, name)| name == word));
    let meant = ROLES.contains(&word) && !is_workload;
    meant.then(|| Log { workload: word.to_owned(), replica: 0, path: folder.join(format!("{word}.log")) })
}

fn of_workload(all: Vec<Log>, arguments: &Logs) -> Result<Vec<Log>, Failure> {
    let word = Word::new(&arguments.workload);
    let meant = word.only("workload with a log", all.iter().map(|log| log.workload.as_str()))?;
    let chosen = all.into_iter().filter(|log| log.workload == meant);
    let logs: Vec<Log> = chosen.filter(|log| arguments.replica.is_none_or(|it| it == log.replica)).collect();
    if logs.is_empty() {
        return Err(Failure::refused(format!("{meant} has no log of such a replica")));
    }
    Ok(logs)
}

/// The last lines of a log; none if there is none.
pub(crate) fn last_lines(path: &Path, count: usize) -> Vec<String> {
    let bytes = read(path).or_else(|_| fs::read(path)).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].iter().map(|line| (*line).to_owned()).collect()
}

fn follow_all(mut followed: Vec<(Follow, Vec<u8>, &Log)>, printer: &Printer) -> Result<ExitCode, Failure> {
    loop {
        for (file, rest, log) in &mut followed {
            rest.extend(file.more()?);
            let whole: Vec<u8> = rest.drain(..whole_lines(rest)).collect();
            let text = String::from_utf8_lossy(&whole);
            text.lines().try_for_each(|text| printer.print(log, text))?;
        }
        thread::sleep(LOOK);
    }
}

/// How many of these bytes are lines that have ended.
fn whole_lines(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1)
}

struct Printer {
    several: bool,
    form: Form,
}

#[derive(Clone, Copy)]
enum Form {
    /// All lines.
    Any(Output),
    /// Those of the access log, as they are.
    Access,
}

impl Printer {
    fn print(&self, log: &Log, text: &str) -> Result<(), Failure> {
        match self.form {
            Form::Any(Output::Json) => json(&Line { workload: &log.workload, replica: log.replica, text }),
            Form::Any(Output::Text | Output::Yaml) if self.several => {
                line(&format!("{} | {text}", log.replica))
            }
            Form::Any(Output::Text | Output::Yaml) => line(text),
            Form::Access if self.prints(text) => line(text),
            Form::Access => Ok(()),
        }
    }

    fn prints(&self, text: &str) -> bool {
        match self.form {
            Form::Any(_) => true,
            Form::Access => is_access(text),
        }
    }
}

fn no_access_log(word: &str) -> Failure {
    Failure::usage(format!("{word} has no access log: `wabe logs proxy --access` prints the proxy's"))
}

/// Whether it is a line of the access log, and none of the proxy's own messages, which are no JSON.
fn is_access(text: &str) -> bool {
    /// What each line has.
    #[derive(Deserialize)]
    #[expect(dead_code, reason = "only whether they are there counts")]
    struct Access {
        time: f64,
        caller: IgnoredAny,
        service: IgnoredAny,
    }
    text.starts_with('{') && serde_json::from_str::<Access>(text).is_ok()
}

/// The logs of workloads, by workload and replica: `namespace.name-replica.log`.
fn find(folder: &Path) -> io::Result<Vec<Log>> {
    let mut logs = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        logs.extend(path.file_name().and_then(|name| parse(name.to_str()?)).map(|(workload, replica)| Log {
            workload,
            replica,
            path: path.clone(),
        }));
    }
    logs.sort_by(|a, b| (&a.workload, a.replica).cmp(&(&b.workload, b.replica)));
    Ok(logs)
}

fn parse(file: &str) -> Option<(String, u32)> {
    let (namespace, rest) = file.strip_suffix(".log")?.split_once('.')?;
    let (name, replica) = rest.rsplit_once('-')?;
    Some((format!("{namespace}/{name}"), replica.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_logs_tell_whose_they_are() {
        assert_eq!(parse("shop.catalogue-v1-0.log"), Some(("shop/catalogue-v1".into(), 0)));
        assert_eq!(parse("shop.a.b-12.log"), Some(("shop/a.b".into(), 12)));
        for other in ["agent.log", "dns.log", "shop.a-0.log.1", "shop.a-x.log"] {
            assert_eq!(parse(other), None, "{other}");
        }
    }

    #[test]
    fn a_process_of_the_mesh_has_a_log_unless_a_workload_has_its_name() {
        let folder = Path::new("/logs");
        let log = of_process(folder, "proxy", &[]).expect("a log");
        assert_eq!(log.path, folder.join("proxy.log"));
        assert_eq!(of_process(folder, "web", &[]), None);
        let own = Log { workload: "shop/proxy".into(), replica: 0, path: "/logs/shop.proxy-0.log".into() };
        assert_eq!(of_process(folder, "proxy", &[own]), None);
    }

    #[test]
    fn lines_of_the_access_log_are_told_from_messages() {
        let own =
            r#"{"time":1795423009.928,"caller":"shop/front","service":"shop/web:80","status":503,"bytes":0}"#;
        for (text, is) in [
            (own, true),
            ("2026-11-30T20:00:00Z  INFO wabe_proxy: ejected: its requests fail endpoint=3", false),
            ("{ \"time\": 1 }", false),
            (r#"{"time":"now","caller":"a","service":"b"}"#, false),
            (&own[..40], false),
            ("", false),
        ] {
            assert_eq!(is_access(text), is, "{text}");
            assert_eq!(Printer { several: false, form: Form::Access }.prints(text), is, "{text}");
            assert!(Printer { several: false, form: Form::Any(Output::Json) }.prints(text), "{text}");
        }
    }

    #[test]
    fn half_a_line_waits_for_its_other_half() {
        for (bytes, whole) in [(&b""[..], 0), (b"a", 0), (b"a\n", 2), (b"a\nb", 2), (b"a\n\n", 3)] {
            assert_eq!(whole_lines(bytes), whole, "{bytes:?}");
        }
    }

    #[test]
    fn the_last_lines_of_a_short_log_are_all_of_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.log");
        fs::write(&path, "one\ntwo\nthree\n").expect("written");
        assert_eq!(last_lines(&path, 2), ["two", "three"]);
        assert_eq!(last_lines(&path, 9).len(), 3);
        assert!(last_lines(&folder.path().join("none"), 2).is_empty());
    }
}
