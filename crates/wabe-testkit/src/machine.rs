//! A pretend machine: a network namespace in which a mesh can be started as on a host of its own.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Once,
    thread,
    time::Duration,
};

use crate::{
    Finished, NetworkNamespace, PATIENCE, Running,
    alone::Presence,
    command::{run, run_with},
    force,
    name::{self, HeldName},
};

/// A pretend machine, with a name for one mesh on it. Dropping it stops the mesh, checks that nothing of it is left,
/// and removes by force what is.
#[derive(Debug)]
pub struct Machine {
    name: HeldName,
    namespace: NetworkNamespace,
    wabe: PathBuf,
    // Last: others may come when all of this is gone.
    _presence: Presence,
}

impl Machine {
    /// A fresh one. The program `wabe` is the one that `WABE_BIN` names, else the one built beside this test.
    ///
    /// # Panics
    /// Without root, or if that program was not built.
    #[track_caller]
    pub fn new() -> Self {
        Self::with_wabe(&program("WABE_BIN", "wabe"))
    }

    /// A fresh one, made once no other test has one, and keeping others from having one: for tests that count what is
    /// on the whole machine. A second one at the same time would wait for ever.
    ///
    /// # Panics
    /// Without root, or if that program was not built.
    #[track_caller]
    pub fn alone() -> Self {
        Self::make(&program("WABE_BIN", "wabe"), Presence::alone())
    }

    /// A fresh one, on which this program is `wabe`.
    ///
    /// # Panics
    /// Without root.
    #[track_caller]
    pub fn with_wabe(wabe: &Path) -> Self {
        Self::make(wabe, Presence::shared())
    }

    #[track_caller]
    fn make(wabe: &Path, presence: Presence) -> Self {
        static SWEPT: Once = Once::new();
        SWEPT.call_once(Self::sweep_leftovers);
        let namespace = NetworkNamespace::fresh().unwrap_or_else(|error| {
            panic!("can't make a network namespace ({error}): run live tests as root")
        });
        Self { name: HeldName::fresh(), namespace, wabe: wabe.to_owned(), _presence: presence }
    }

    /// The name of its mesh, `t-<pid>-<number>`.
    pub fn name(&self) -> &str {
        self.name.as_str()
    }

    /// Its network: what is the host's to the mesh.
    pub fn namespace(&self) -> &NetworkNamespace {
        &self.namespace
    }

    /// `wabe --name NAME args...`, run on it to its end.
    ///
    /// # Panics
    /// If it takes longer than [`PATIENCE`].
    #[track_caller]
    pub fn wabe(&self, args: &[&str]) -> Finished {
        let command = self.wabe_command(args);
        self.run_within(command, PATIENCE)
    }

    /// `wabe --name NAME args...` on it, not waiting for its end.
    #[track_caller]
    pub fn start_wabe(&self, args: &[&str]) -> Running {
        let command = self.wabe_command(args);
        self.start(command)
    }

    /// `wabe --name NAME args...`, to be completed by the caller and given to [`Self::run`] or [`Self::start`].
    pub fn wabe_command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.wabe);
        command.args(["--name", self.name()]).args(args);
        command
    }

    /// Runs a command on it (outside of the mesh) to its end.
    ///
    /// # Panics
    /// If it takes longer than [`PATIENCE`].
    #[track_caller]
    pub fn run(&self, command: Command) -> Finished {
        self.run_within(command, PATIENCE)
    }

    /// Runs a command on it to its end.
    ///
    /// # Panics
    /// If it takes longer than `patience`.
    #[track_caller]
    pub fn run_within(&self, mut command: Command, patience: Duration) -> Finished {
        let line = self.line(&command);
        self.namespace.put(&mut command);
        run(command, line, patience)
    }

    /// Runs a command on it, with this as its stdin, to its end.
    ///
    /// # Panics
    /// If it takes longer than [`PATIENCE`].
    #[track_caller]
    pub fn run_with_stdin(&self, mut command: Command, stdin: Stdio) -> Finished {
        let line = self.line(&command);
        self.namespace.put(&mut command);
        run_with(command, line, PATIENCE, stdin)
    }

    /// Starts a command on it.
    #[track_caller]
    pub fn start(&self, mut command: Command) -> Running {
        let line = self.line(&command);
        self.namespace.put(&mut command);
        Running::start(command, line)
    }

    /// The process of one of its mesh's roles, if it runs: `keeper`, `agent`, `dns` or `proxy`.
    pub fn role(&self, role: &str) -> Option<u32> {
        force::role(self.name(), role)
    }

    /// Kills a role's process with SIGKILL and waits until it is gone; its id.
    ///
    /// # Panics
    /// If it does not run, or is not gone within [`PATIENCE`].
    #[track_caller]
    pub fn kill_role(&self, role: &str) -> u32 {
        self.kill_roles(&[role])[0]
    }

    /// Kills several as [`Self::kill_role`] does. All are found before the first is killed: some end when another does.
    ///
    /// # Panics
    /// If one does not run at first, or is not gone within [`PATIENCE`].
    #[track_caller]
    pub fn kill_roles(&self, roles: &[&str]) -> Vec<u32> {
        let found =
            roles.iter().map(|it| self.role(it).unwrap_or_else(|| panic!("{} has no {it}", self.name())));
        let pids: Vec<u32> = found.collect();
        for (role, pid) in roles.iter().zip(&pids) {
            assert!(force::kill_and_wait(*pid, PATIENCE), "{role} {pid} does not die");
        }
        pids
    }

    /// What is there of its mesh: cgroups, mounts, state folder, processes.
    pub fn leftovers(&self) -> Vec<String> {
        force::leftovers(self.name())
    }

    /// Removes what is there of tests' meshes whose test is no more. Done once per test program anyway.
    ///
    /// # Panics
    /// If something can't be removed.
    pub fn sweep_leftovers() {
        for name in force::meshes().into_iter().chain(name::known()) {
            // Held by somebody else: that test still runs.
            if let Some(held) = HeldName::take(name) {
                let removed = force::remove(held.as_str());
                removed.unwrap_or_else(|error| panic!("can't remove what {} left: {error}", held.as_str()));
            }
        }
    }

    /// Lets others have its name; only when its mesh is stopped for good.
    pub(crate) fn release_name(&self) {
        self.name.release();
    }

    fn line(&self, command: &Command) -> String {
        let mut line = format!("nsenter --net={}", self.namespace.path());
        for word in [command.get_program()].into_iter().chain(command.get_args()) {
            line.push(' ');
            line.push_str(&quote(&word.to_string_lossy()));
        }
        line
    }

    /// Stops the mesh if there is one; what then is wrong, in words.
    pub(crate) fn tear_down(&self) -> Result<(), String> {
        if self.leftovers().is_empty() {
            return Ok(());
        }
        let line = self.wabe_command(&["down"]);
        let line = self.line(&line);
        // A `down` that hangs panics in `run`; what it left must be removed all the same.
        let down = thread::scope(|scope| scope.spawn(|| self.wabe(&["down"])).join());
        let left = self.leftovers();
        if !left.is_empty() {
            force::remove(self.name()).map_err(|error| format!("can't remove {left:?}: {error}"))?;
        }
        match down {
            Err(_) => Err(format!("`wabe down` could not be run or did not end: {line}")),
            Ok(down) if !down.status.success() => Err(format!("`wabe down` failed: {down}")),
            Ok(_) if !left.is_empty() => Err(format!("`wabe down` left behind: {left:#?}")),
            Ok(_) => Ok(()),
        }
    }
}

impl Default for Machine {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let failed = thread::panicking();
        if failed && env::var_os("WABE_TEST_KEEP").is_some() {
            eprintln!(
                "kept for you; the next live test removes it. Try: {}",
                self.line(&self.wabe_command(&["status"]))
            );
            loop {
                thread::park();
            }
        }
        match self.tear_down() {
            Ok(()) => {}
            // A second panic would end the whole test program, and hide the first.
            Err(problem) if failed => eprintln!("{problem}"),
            Err(problem) => panic!("{problem}"),
        }
    }
}

/// The program `wabe`: the one that `WABE_BIN` names, else the one built beside this test.
///
/// # Panics
/// If it was not built.
#[track_caller]
pub fn wabe() -> PathBuf {
    program("WABE_BIN", "wabe")
}

/// The program that the variable names, else the one of this name that was built along with this test.
#[track_caller]
pub(crate) fn program(variable: &str, name: &str) -> PathBuf {
    if let Some(path) = env::var_os(variable) {
        return path.into();
    }
    let test = env::current_exe().expect("invariant: a running program has a path");
    // target/PROFILE/deps/TEST
    let beside = test.ancestors().nth(2).expect("invariant: tests are built into a folder").join(name);
    assert!(
        beside.exists(),
        "{} is missing: `cargo build --workspace` first, or set {variable}",
        beside.display()
    );
    beside
}

/// A word as a shell wants it.
fn quote(word: &str) -> String {
    let plain = |it: char| it.is_ascii_alphanumeric() || "-_=+./:,@%".contains(it);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_survive_a_shell() {
        for word in ["", "a", "a b", "it's", "$x;*", "[::]:80"] {
            let mut echo = Command::new("sh");
            echo.args(["-c", &format!("printf %s {}", quote(word))]);
            let printed = run(echo, "printf".into(), PATIENCE).success().stdout;
            assert_eq!(printed, word);
        }
    }
}
