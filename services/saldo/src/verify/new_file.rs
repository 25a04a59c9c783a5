//! A file that is beside its place until it is whole: whoever reads it sees the old one or the new one. A crash leaves the
//! old one, and a `.part` that the next run overwrites. Errors name the file that was asked for.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// A file in the making. Dropped, it is gone.
pub(super) struct NewFile {
    file: PathBuf,
    part: PathBuf,
    lines: BufWriter<File>,
}

impl NewFile {
    pub(super) fn create(file: PathBuf) -> io::Result<Self> {
        let mut part = file.clone().into_os_string();
        part.push(".part");
        let part = PathBuf::from(part);
        let lines = BufWriter::new(File::create(&part).map_err(|error| about(&file, &error))?);
        Ok(Self { file, part, lines })
    }

    /// Where it is to be.
    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    /// Puts it in its place, durably.
    pub(super) fn keep(mut self) -> io::Result<()> {
        self.flush()?;
        let kept = self.lines.get_ref().sync_all().and_then(|()| std::fs::rename(&self.part, &self.file));
        kept.map_err(|error| about(&self.file, &error))
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.lines.write(bytes).map_err(|error| about(&self.file, &error))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.lines.flush().map_err(|error| about(&self.file, &error))
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        // After `keep` there is none.
        let _ = std::fs::remove_file(&self.part);
    }
}

/// The error, and which file it is about.
pub(super) fn about(file: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever reads of an error knows of no `.part`.
    #[test]
    fn errors_name_the_file_that_was_asked_for() {
        let folder = std::env::temp_dir().join(format!("saldo-new-file-{}", std::process::id()));
        let file = folder.join("saldo.prom");
        let told = |error: io::Error| {
            let (told, wanted) = (error.to_string(), format!("{}: ", file.display()));
            assert!(told.starts_with(&wanted), "{told}");
        };
        told(NewFile::create(file.clone()).err().unwrap());
        // In its place is what it cannot replace.
        std::fs::create_dir_all(&file).unwrap();
        let mut new = NewFile::create(file.clone()).unwrap();
        new.write_all(b"text").unwrap();
        told(new.keep().unwrap_err());
        let left = std::fs::read_dir(&folder).unwrap().count();
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(left, 1, "no .part is left");
        // A disk that is full.
        let full = File::options().write(true).open("/dev/full").unwrap();
        let mut full = NewFile { file: file.clone(), part: file.clone(), lines: BufWriter::new(full) };
        full.write_all(b"text").unwrap();
        told(full.keep().unwrap_err());
    }
}
