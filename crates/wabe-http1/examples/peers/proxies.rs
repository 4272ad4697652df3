//! nginx, HAProxy and Envoy in front of the backend, with their defaults.

use std::{
    env, fs,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

/// One that runs; ended when dropped.
pub struct Proxy {
    /// With its version.
    pub name: &'static str,
    /// Where it listens.
    pub socket: PathBuf,
    process: Child,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Those which are installed; the backend is at `backend` in `folder`.
pub fn start(folder: &Path) -> Vec<Proxy> {
    let envoy = env::var_os("WABE_LAB_ENVOY").map_or("/var/lib/wabe-lab-peers/envoy".into(), PathBuf::from);
    let at = folder.display();
    let nginx = format!(
        "daemon off; master_process off; pid {at}/pid; error_log stderr emerg; events {{}}\n\
         http {{ access_log off; client_body_temp_path {at}/body; proxy_temp_path {at}/proxy;\n\
         server {{ listen unix:{at}/nginx; location / {{\n\
         proxy_pass http://unix:{at}/backend; proxy_http_version 1.1; proxy_set_header Host $host;\n\
         proxy_set_header Connection \"\"; }} }} }}\n"
    );
    let haproxy = format!(
        "defaults\n mode http\n timeout connect 5s\n timeout client 5s\n timeout server 5s\n\
         frontend f\n bind unix@{at}/haproxy\n default_backend b\nbackend b\n server s unix@{at}/backend\n"
    );
    let envoy_config = include_str!("envoy.yaml").replace("FOLDER", &at.to_string());
    let ways: [(&str, PathBuf, String, &[&str]); 3] = [
        ("nginx", "/usr/sbin/nginx".into(), nginx, &["-e", "stderr", "-c"]),
        ("haproxy", "/usr/sbin/haproxy".into(), haproxy, &["-q", "-f"]),
        ("envoy", envoy, envoy_config, &["--use-dynamic-base-id", "--concurrency", "1", "-l", "off", "-c"]),
    ];
    let mut proxies = Vec::new();
    for (name, program, config, arguments) in ways {
        if !program.exists() {
            eprintln!("{name} is left out: there is no {}", program.display());
            continue;
        }
        let path = folder.join(format!("{name}.yaml"));
        fs::write(&path, config).expect("a file");
        let mut command = Command::new(program);
        command.args(arguments).arg(path).stdin(Stdio::null()).stdout(Stdio::null());
        let process = command.spawn().expect("it starts");
        let proxy = Proxy { name, socket: folder.join(name), process };
        wait_for(&proxy.socket);
        proxies.push(proxy);
    }
    proxies
}

fn wait_for(socket: &Path) {
    for _ in 0..1000 {
        if UnixStream::connect(socket).is_ok() {
            return;
        }
        thread::sleep(Duration::from_millis(20));
    }
    panic!("nobody listens at {}", socket.display());
}
