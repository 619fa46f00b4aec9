//! Reading whole files within limits, and their hashes.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::name::Format;

/// Far above every list known to us, far below what would hurt the process.
const TEXT_SIZE_BYTES_MAX: u64 = 256 * 1024 * 1024;
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// A file of a data set.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DataFile<'a> {
    pub path: &'a Path,
    /// None where the format is to be told from the file.
    pub format: Option<Format>,
    /// Whether the file is known by its hash to be what its publisher made; others are looked through.
    pub is_verified: bool,
}

/// Reads a file of text or records, unpacking gzip, up to a limit that also holds for the unpacked bytes.
pub(crate) fn read_bytes(path: &Path) -> Result<Vec<u8>> {
    read_bytes_limited(path, TEXT_SIZE_BYTES_MAX)
}

pub(crate) fn read_bytes_limited(path: &Path, limit_bytes: u64) -> Result<Vec<u8>> {
    let file = File::open(path).map_err(Error::read(path))?;
    let bytes = read_limited(file, path, limit_bytes)?;
    let bytes = if bytes.starts_with(&GZIP_MAGIC) {
        read_limited(MultiGzDecoder::new(bytes.as_slice()), path, limit_bytes)?
    } else {
        bytes
    };
    if bytes.is_empty() {
        return Err(Error::Empty { path: path.to_owned() });
    }
    Ok(bytes)
}

fn read_limited(reader: impl Read, path: &Path, limit_bytes: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let size_bytes = reader.take(limit_bytes + 1).read_to_end(&mut bytes).map_err(Error::read(path))? as u64;
    if size_bytes > limit_bytes {
        return Err(Error::TooLarge { path: path.to_owned(), size_bytes, limit_bytes });
    }
    Ok(bytes)
}

/// Returns the lower-case SHA-256 of a file, read in pieces.
pub(crate) fn sha256_of_file(path: &Path) -> Result<String> {
    let file = File::open(path).map_err(Error::read(path))?;
    let mut reader = BufReader::with_capacity(1 << 16, file);
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let count = reader.read(&mut buffer).map_err(Error::read(path))?;
        if count == 0 {
            return Ok(hexadecimal(&hasher.finalize()));
        }
        hasher.update(&buffer[..count]);
    }
}

/// Returns the lower-case SHA-256 of some bytes.
pub(crate) fn sha256_of_bytes(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes))
}

pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    #[test]
    fn gzip_is_unpacked_and_the_limit_holds_for_what_comes_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("list.gz");
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&vec![b'7'; 100_000]).unwrap();
        let packed = encoder.finish().unwrap();
        assert!(packed.len() < 1_000);
        std::fs::write(&path, &packed).unwrap();

        assert_eq!(read_bytes_limited(&path, 100_000).unwrap().len(), 100_000);
        assert!(matches!(read_bytes_limited(&path, 99_999), Err(Error::TooLarge { .. })));

        std::fs::write(&path, &packed[..packed.len() / 2]).unwrap();
        assert!(matches!(read_bytes_limited(&path, 100_000), Err(Error::Read { .. })));
    }

    #[test]
    fn hashes_agree_with_a_known_value() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("abc");
        std::fs::write(&path, "abc").unwrap();
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256_of_file(&path).unwrap(), expected);
        assert_eq!(sha256_of_bytes(b"abc"), expected);
    }
}
