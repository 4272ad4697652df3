//! A file that starts anew when it is full.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use super::KEPT;

/// The newest file of a log.
#[derive(Debug)]
pub(crate) struct RotatingFile {
    path: PathBuf,
    file: File,
    size: u64,
    full: u64,
}

impl RotatingFile {
    /// Opens it, to append.
    pub(crate) fn open(path: &Path, full: u64) -> io::Result<Self> {
        let file = append_to(path)?;
        let size = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), file, size, full })
    }

    /// Writes all of it, to a new file from the line on that does not fit.
    pub(crate) fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(self.fitting(bytes));
            self.file.write_all(now)?;
            self.size += now.len() as u64;
            if !later.is_empty() {
                self.rotate()?;
            }
            bytes = later;
        }
        Ok(())
    }

    /// How many of these bytes go to this file: whole lines if possible.
    fn fitting(&self, bytes: &[u8]) -> usize {
        let room = usize::try_from(self.full.saturating_sub(self.size)).unwrap_or(usize::MAX);
        if bytes.len() <= room {
            return bytes.len();
        }
        match bytes[..room].iter().rposition(|byte| *byte == b'\n') {
            Some(end) => end + 1,
            // Not even one line fits: the next file takes it, unless this one is empty already.
            None if self.size > 0 => 0,
            None => room.max(1),
        }
    }

    fn rotate(&mut self) -> io::Result<()> {
        for number in (0..KEPT).rev() {
            match fs::rename(aged(&self.path, number), aged(&self.path, number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        self.file = append_to(&self.path)?;
        self.size = 0;
        Ok(())
    }
}

/// The file that was the newest this many changes ago.
pub(super) fn aged(path: &Path, number: u32) -> PathBuf {
    if number == 0 {
        return path.to_owned();
    }
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "in tests")]
mod tests {
    use super::*;

    fn contents(path: &Path) -> Vec<String> {
        (0..=KEPT + 1).map_while(|number| fs::read_to_string(aged(path, number)).ok()).collect()
    }

    #[test]
    fn a_full_file_makes_room_at_a_line_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        let mut file = RotatingFile::open(&path, 10).unwrap();
        file.write(b"one\ntwo\nthree\n").unwrap();
        assert_eq!(contents(&path), ["three\n", "one\ntwo\n"]);
    }

    #[test]
    fn only_so_many_old_files_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        let mut file = RotatingFile::open(&path, 4).unwrap();
        for number in 0..8 {
            file.write(format!("n{number}\n").as_bytes()).unwrap();
        }
        assert_eq!(contents(&path), ["n7\n", "n6\n", "n5\n", "n4\n"]);
    }

    #[test]
    fn a_line_longer_than_a_file_is_cut_but_not_lost() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        let mut file = RotatingFile::open(&path, 4).unwrap();
        file.write(b"abcdefghij\n").unwrap();
        assert_eq!(contents(&path), ["ij\n", "efgh", "abcd"]);
    }

    #[test]
    fn goes_on_where_the_last_keeper_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        RotatingFile::open(&path, 10).unwrap().write(b"before\n").unwrap();
        RotatingFile::open(&path, 10).unwrap().write(b"after\n").unwrap();
        assert_eq!(contents(&path), ["after\n", "before\n"]);
    }
}
