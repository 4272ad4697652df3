//! Checksums of programs.

use std::{fs::File, io::Read as _, path::Path};

use anyhow::{Context as _, Result};
use aws_lc_rs::digest;

/// SHA-256 of a file, hexadecimal.
///
/// # Errors
/// It can't be read.
pub fn sha256(path: &Path) -> Result<String> {
    let reading = || format!("reading {}", path.display());
    let mut file = File::open(path).with_context(reading)?;
    let mut context = digest::Context::new(&digest::SHA256);
    let mut buffer = vec![0; 1 << 20];
    loop {
        let length = file.read(&mut buffer).with_context(reading)?;
        if length == 0 {
            return Ok(context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect());
        }
        context.update(&buffer[..length]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_files_checksum_is_that_of_the_standard() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), "abc").expect("written");
        // FIPS 180-4, example of one block.
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256(file.path()).expect("read"), expected);
    }
}
