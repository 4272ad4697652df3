//! For the live tests: `wabe keeper` and `wabe confine` without the rest of `wabe`, and small programs to run as
//! workloads.
#![forbid(unsafe_code)]

use std::{
    env,
    error::Error,
    io::{Read as _, Write as _},
    net::{IpAddr, TcpListener},
    path::Path,
    thread,
};

use wabe_keeper::{Programs, client::Client, confine, layout::Mesh, run_keeper};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["confine"] => match confine::run()? {},
        ["keeper", mesh, agent, dns] => keeper(mesh, agent, dns),
        ["list", mesh] => {
            println!("{:?}", Client::connect(&Mesh::new(mesh)?)?.list().map_err(|error| error.to_string())?);
            Ok(())
        }
        ["serve", address, port, healthy] => serve(address.parse()?, port.parse()?, Path::new(healthy)),
        _ => {
            Err("usage: wabe-keeper-harness confine | keeper MESH AGENT DNS | list MESH | serve ADDRESS PORT FILE".into())
        }
    }
}

/// A keeper whose agent and dns are these shell scripts, if they are not empty. Says `ready` on stdout.
fn keeper(mesh: &str, agent: &str, dns: &str) -> Result<(), Box<dyn Error>> {
    let script = |text: &str| (!text.is_empty()).then(|| ["/bin/sh", "-c", text].map(Into::into).into());
    let mesh = Mesh::new(mesh)?;
    let programs = Programs { agent: script(agent), dns: script(dns), proxy: None, ..Programs::wabe(&mesh) };
    Ok(run_keeper(mesh, programs, || println!("ready"))?)
}

/// Accepts connections; answers every request by HTTP 200 while the file exists, else by 503.
fn serve(address: IpAddr, port: u16, healthy: &Path) -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind((address, port))?;
    println!("serving");
    for connection in listener.incoming() {
        let (mut connection, status) = (connection?, if healthy.exists() { 200 } else { 503 });
        thread::spawn(move || {
            // A probe that only connects says nothing.
            if connection.read(&mut [0; 1024]).is_ok_and(|length| length > 0) {
                let _ = write!(
                    connection,
                    "HTTP/1.1 {status} x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
                );
            }
        });
    }
    Ok(())
}
