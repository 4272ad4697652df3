//! The file system that the machine starts with, as a cpio archive in the format `newc` (the kernel's
//! Documentation/driver-api/early-userspace/buffer-format.rst).

const FOLDER: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;

/// An archive being written.
#[derive(Default)]
pub(super) struct Image {
    bytes: Vec<u8>,
    entries: u32,
}

impl Image {
    /// Adds a folder; those above it must have been added.
    pub(super) fn folder(&mut self, path: &str) {
        self.entry(path, FOLDER | 0o755, &[]);
    }

    /// Adds a file; its folder must have been added.
    pub(super) fn file(&mut self, path: &str, permissions: u32, content: &[u8]) {
        self.entry(path, REGULAR | permissions, content);
    }

    /// The archive.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, &[]);
        self.bytes
    }

    fn entry(&mut self, path: &str, mode: u32, content: &[u8]) {
        self.entries += 1;
        // inode, mode, uid, gid, links, mtime, size, device (2), special device (2), length of the name, checksum
        let fields =
            [self.entries, mode, 0, 0, 1, 0, content.len() as u32, 0, 0, 0, 0, path.len() as u32 + 1, 0];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(path.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    /// Headers and contents begin at multiples of four.
    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::Image;

    #[test]
    fn an_archive_is_aligned_headers_names_and_contents() {
        let mut image = Image::default();
        image.folder("etc");
        image.file("etc/motd", 0o644, b"hello");
        let bytes = image.finish();
        let text = String::from_utf8(bytes).expect("ASCII");
        assert!(text.starts_with("07070100000001000041ed"), "a folder with rwxr-xr-x comes first");
        let file = text.find("etc/motd\0").expect("the file's name");
        assert_eq!((file - 110) % 4, 0);
        assert_eq!(&text[file - 110 + 54..file - 110 + 62], "00000005", "its size");
        assert_eq!(&text[(file + 9).next_multiple_of(4)..][..8], "hello\0\0\0");
        assert!(text.contains("TRAILER!!!\0") && text.len().is_multiple_of(4));
    }
}
