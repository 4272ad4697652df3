//! Reading logs.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use super::{KEPT, rotate::aged};

/// All that is kept of a log, oldest first.
///
/// # Errors
/// Its newest file does not exist, or can't be read.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for number in (0..=KEPT).rev() {
        match File::open(aged(path, number)) {
            Err(error) if number > 0 && error.kind() == io::ErrorKind::NotFound => {}
            file => drop(file?.read_to_end(&mut bytes)?),
        }
    }
    Ok(bytes)
}

/// Begins to follow a log, after what is there.
///
/// # Errors
/// Its newest file can't be read.
pub fn follow(path: &Path) -> io::Result<Follow> {
    let mut file = File::open(path)?;
    file.seek(io::SeekFrom::End(0))?;
    Ok(Follow { path: path.to_owned(), file })
}

/// A place in a log. It stays right when a new file is begun, unless all kept files are full before the next look.
#[derive(Debug)]
pub struct Follow {
    path: PathBuf,
    file: File,
}

impl Follow {
    /// What came since the last look; empty if nothing did. Does not wait: look a few times a second.
    ///
    /// # Errors
    /// The log can't be read (any more).
    pub fn more(&mut self) -> io::Result<Vec<u8>> {
        // Which files are newer is asked before the read: what is written to ours after it was renamed is nothing.
        let newer = self.newer()?;
        let mut bytes = Vec::new();
        self.file.read_to_end(&mut bytes)?;
        for mut file in newer {
            file.read_to_end(&mut bytes)?;
            self.file = file;
        }
        Ok(bytes)
    }

    /// The files begun since ours, oldest first; all that there are if ours is gone.
    fn newer(&self) -> io::Result<Vec<File>> {
        let ours = self.file.metadata()?;
        let mut newer = Vec::new();
        for number in 0..=KEPT {
            let file = match File::open(aged(&self.path, number)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                other => other?,
            };
            let metadata = file.metadata()?;
            if (metadata.dev(), metadata.ino()) == (ours.dev(), ours.ino()) {
                break;
            }
            // Renamed while we look: seen already under its younger name.
            let same = |(_, dev, ino): &(File, u64, u64)| (*dev, *ino) == (metadata.dev(), metadata.ino());
            if !newer.iter().any(same) {
                newer.push((file, metadata.dev(), metadata.ino()));
            }
        }
        Ok(newer.into_iter().rev().map(|(file, ..)| file).collect())
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "in tests")]
mod tests {
    use super::{super::rotate::RotatingFile, *};

    fn lines(bytes: Vec<u8>) -> Vec<String> {
        String::from_utf8(bytes).unwrap().lines().map(Into::into).collect()
    }

    #[test]
    fn reads_old_files_first() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        let mut file = RotatingFile::open(&path, 4).unwrap();
        file.write(b"n1\nn2\nn3\n").unwrap();
        assert_eq!(lines(read(&path).unwrap()), ["n1", "n2", "n3"]);
    }

    #[test]
    fn following_misses_nothing_when_files_change() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        let mut file = RotatingFile::open(&path, 8).unwrap();
        file.write(b"before\n").unwrap();
        let mut place = follow(&path).unwrap();
        assert!(place.more().unwrap().is_empty());
        let mut seen = Vec::new();
        let mut written = Vec::new();
        for number in 0..40 {
            let line = format!("n{number}");
            file.write(format!("{line}\n").as_bytes()).unwrap();
            written.push(line);
            // A look now and then, up to two files behind.
            if number % 5 == 4 {
                seen.extend(lines(place.more().unwrap()));
            }
        }
        assert_eq!(seen, written);
    }
}
