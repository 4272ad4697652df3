//! Writes the seeds of each target into a folder of its name, below the one that is named.
#![forbid(unsafe_code)]

use std::{env, fs, io, path::PathBuf};

use wabe_fuzz::TARGETS;

fn main() -> io::Result<()> {
    let Some(folder) = env::args_os().nth(1).map(PathBuf::from) else {
        return Err(io::Error::other("usage: seeds FOLDER"));
    };
    for target in TARGETS {
        let folder = folder.join(target.name);
        fs::create_dir_all(&folder)?;
        for (name, input) in (target.seeds)() {
            fs::write(folder.join(name), input)?;
        }
    }
    Ok(())
}
