//! Reading logs.

use std::{
    fs::{File, Metadata},
    io::{self, Read as _},
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

/// All that is kept of a log, oldest first, and the place behind it: what comes meanwhile is on one side of it.
///
/// # Errors
/// As of [`read`].
pub fn read_on(path: &Path) -> io::Result<(Vec<u8>, Follow)> {
    let mut follow = Follow { path: path.to_owned(), file: File::open(path)? };
    let mut bytes = Vec::new();
    for mut file in follow.older()? {
        file.read_to_end(&mut bytes)?;
    }
    follow.file.read_to_end(&mut bytes)?;
    Ok((bytes, follow))
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
        Ok(self.others()?.0)
    }

    /// The files that were full before ours, oldest first.
    fn older(&self) -> io::Result<Vec<File>> {
        Ok(self.others()?.1)
    }

    /// Those begun since, and those full before; oldest first.
    fn others(&self) -> io::Result<(Vec<File>, Vec<File>)> {
        let of = |metadata: &Metadata| (metadata.dev(), metadata.ino());
        let mut seen = vec![of(&self.file.metadata()?)];
        let (mut newer, mut older, mut is_older) = (Vec::new(), Vec::new(), false);
        // From the youngest name on, as files move to older ones while we look.
        for number in 0..=KEPT {
            let file = match File::open(aged(&self.path, number)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                other => other?,
            };
            let file_is = of(&file.metadata()?);
            is_older |= file_is == seen[0];
            // Renamed while we look: seen already under its younger name.
            if !seen.contains(&file_is) {
                seen.push(file_is);
                if is_older { older.push(file) } else { newer.push(file) }
            }
        }
        newer.reverse();
        older.reverse();
        Ok((newer, older))
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
        let (before, mut place) = read_on(&path).unwrap();
        assert_eq!(lines(before), ["before"]);
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
    #[test]
    fn what_comes_at_any_time_is_read_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        let mut file = RotatingFile::open(&path, 8).unwrap();
        let mut written = Vec::new();
        for number in 0..30 {
            let line = format!("n{number}");
            file.write(format!("{line}\n").as_bytes()).unwrap();
            written.push(line);
            let (bytes, mut place) = read_on(&path).unwrap();
            let mut seen = lines(bytes);
            let kept = &written[written.len() - seen.len()..];
            assert!(seen == kept && seen.len() >= written.len().min(7), "{seen:?}");
            // As much as makes a file, and half of the next.
            for more in ["a", "b", "c"] {
                file.write(format!("{more}{number}\n").as_bytes()).unwrap();
                written.push(format!("{more}{number}"));
            }
            seen.extend(lines(place.more().unwrap()));
            assert_eq!(seen, written[written.len() - seen.len()..]);
        }
    }
}
