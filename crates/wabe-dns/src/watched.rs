//! A file that others replace.

use std::{
    fs::{self, File, Metadata},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::PathBuf,
    rc::Rc,
};

/// Files above this size are not read.
const MAX_SIZE: u64 = 64 << 20;

/// The content of a file, read again when the file was changed. A file that can't be read or understood leaves the
/// content as it was, and is complained about once.
pub(crate) struct Watched<T> {
    path: PathBuf,
    parse: Parse<T>,
    seen: Seen,
    value: Option<Rc<T>>,
}

/// Understands a file's content, or says why not and what to do.
type Parse<T> = Box<dyn Fn(&[u8]) -> Result<T, String>>;

enum Seen {
    Nothing,
    Missing(io::ErrorKind),
    File {
        stamp: Stamp,
        /// As long as it is open, no other file can have its inode number.
        _open: Option<File>,
    },
}

#[derive(PartialEq, Eq)]
struct Stamp {
    file: (u64, u64),
    modified: (i64, i64),
    changed: (i64, i64),
    size: u64,
}

impl<T> Watched<T> {
    /// Nothing is read yet.
    pub(crate) fn new(path: PathBuf, parse: impl Fn(&[u8]) -> Result<T, String> + 'static) -> Self {
        Self { path, parse: Box::new(parse), seen: Seen::Nothing, value: None }
    }

    /// The newest content that could be understood; none if there never was any. One `stat` if nothing changed.
    pub(crate) fn current(&mut self) -> Option<Rc<T>> {
        match fs::metadata(&self.path) {
            Ok(metadata) => {
                let stamp = Stamp::of(&metadata);
                if !matches!(&self.seen, Seen::File { stamp: seen, .. } if *seen == stamp) {
                    self.load(stamp, &metadata);
                }
            }
            Err(error) => self.missing(&error),
        }
        self.value.clone()
    }

    fn load(&mut self, stamp: Stamp, metadata: &Metadata) {
        // Looked at before it is opened: opening a pipe would wait for its writer.
        if !metadata.is_file() || metadata.len() > MAX_SIZE {
            tracing::error!(path = %self.path.display(), "is no regular file below 64 MiB; what was read before stays");
            self.seen = Seen::File { stamp, _open: None };
            return;
        }
        let opened = File::open(&self.path).and_then(|mut file| {
            // Of the file that was opened, not of the one that had the name before.
            let stamp = Stamp::of(&file.metadata()?);
            let mut text = Vec::new();
            file.by_ref().take(MAX_SIZE).read_to_end(&mut text)?;
            Ok((stamp, file, text))
        });
        let (stamp, file, text) = match opened {
            Ok(opened) => opened,
            Err(error) => return self.missing(&error),
        };
        match (self.parse)(&text) {
            Ok(value) => {
                self.value = Some(Rc::new(value));
                tracing::debug!(path = %self.path.display(), "read");
            }
            Err(error) => {
                tracing::error!(path = %self.path.display(), error, "can't be understood; what was read before stays");
            }
        }
        self.seen = Seen::File { stamp, _open: Some(file) };
    }

    fn missing(&mut self, error: &io::Error) {
        if !matches!(self.seen, Seen::Missing(kind) if kind == error.kind()) {
            tracing::error!(path = %self.path.display(), %error, "can't be read; what was read before stays");
            self.seen = Seen::Missing(error.kind());
        }
    }
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            file: (metadata.dev(), metadata.ino()),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
            size: metadata.size(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, path::Path};

    use super::*;

    fn watched(path: &Path) -> (Watched<String>, Rc<Cell<u32>>) {
        let parsed = Rc::new(Cell::new(0));
        let count = Rc::clone(&parsed);
        let parse = move |text: &[u8]| {
            count.set(count.get() + 1);
            let text = String::from_utf8_lossy(text).into_owned();
            if text.starts_with("bad") { Err(text) } else { Ok(text) }
        };
        (Watched::new(path.to_owned(), parse), parsed)
    }

    #[test]
    fn follows_every_replacement_also_of_the_same_size() {
        let folder = tempfile::tempdir().expect("folder");
        let (path, next) = (folder.path().join("file"), folder.path().join("next"));
        let (mut file, _) = watched(&path);
        for round in 0..200 {
            let text = format!("{round:03}");
            fs::write(&next, &text).expect("write");
            fs::rename(&next, &path).expect("rename");
            assert_eq!(file.current().as_deref(), Some(&text));
        }
    }

    #[test]
    fn keeps_the_old_content_when_the_new_is_broken_or_gone() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("file");
        let (mut file, parsed) = watched(&path);
        assert_eq!(file.current(), None);
        fs::write(&path, "good").expect("write");
        assert_eq!(file.current().as_deref().map(String::as_str), Some("good"));
        fs::write(&path, "bad and longer").expect("write");
        for _ in 0..3 {
            assert_eq!(file.current().as_deref().map(String::as_str), Some("good"));
        }
        assert_eq!(parsed.get(), 2, "a broken file is read once");
        fs::remove_file(&path).expect("remove");
        assert_eq!(file.current().as_deref().map(String::as_str), Some("good"));
        fs::create_dir(&path).expect("folder in its place");
        assert_eq!(file.current().as_deref().map(String::as_str), Some("good"));
        fs::remove_dir(&path).expect("remove");
        fs::write(&path, "new").expect("write");
        assert_eq!(file.current().as_deref().map(String::as_str), Some("new"));
    }
}
