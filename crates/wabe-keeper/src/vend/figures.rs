//! Files for what proxies count. The keeper makes them and never reads them.
//!
//! Each is locked (flock(2)) by what is handed over: as the lock belongs to the open file and not to a process, it ends with the
//! last who holds that, which is the proxy. So whoever can lock the file knows that its proxy has ended.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

/// Files that there may be: those of all proxies that can live at a time, and of some that ended and were not read. Beyond it
/// nobody reads, and proxies that end again and again must not fill the memory.
const MOST: usize = 32;

/// A file for a new proxy, open for writing only.
pub(super) fn make(folder: &Path) -> io::Result<File> {
    let count = fs::read_dir(folder)?.count();
    if count >= MOST {
        return Err(io::Error::other(format!(
            "{count} files are in {}, which the agent should have read",
            folder.display()
        )));
    }
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    // It gets its name once it is locked: nobody takes it for one whose proxy has ended.
    let (new, named) = (folder.join(format!(".{time}")), folder.join(time.to_string()));
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    file.lock()?;
    fs::rename(&new, &named)?;
    Ok(file)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "in tests")]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_locked_as_long_as_somebody_may_write_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = make(folder.path()).unwrap();
        let entries: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|it| it.unwrap()).collect();
        assert_eq!(entries.len(), 1);
        assert!(!entries[0].file_name().to_string_lossy().starts_with('.'));
        let reader = File::open(entries[0].path()).unwrap();
        let proxys = file.try_clone().unwrap();
        drop(file);
        assert!(reader.try_lock().is_err(), "the other descriptor keeps it");
        drop(proxys);
        assert!(reader.try_lock().is_ok());
    }

    #[test]
    fn files_that_nobody_reads_are_few() {
        let folder = tempfile::tempdir().unwrap();
        (0..MOST).for_each(|_| drop(make(folder.path()).unwrap()));
        assert!(make(folder.path()).unwrap_err().to_string().contains("should have read"));
    }
}
