//! Positioned reads and writes, and syncing a folder, for each operating system.

#[cfg(unix)]
mod unix {
    use std::fs::File;
    use std::io;
    use std::os::unix::fs::FileExt;
    use std::path::Path;

    pub(in crate::blocks) fn read_exact_at(
        file: &File,
        bytes: &mut [u8],
        offset: u64,
    ) -> io::Result<()> {
        file.read_exact_at(bytes, offset)
    }

    pub(in crate::blocks) fn write_all_at(
        file: &File,
        bytes: &[u8],
        offset: u64,
    ) -> io::Result<()> {
        file.write_all_at(bytes, offset)
    }

    pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
        File::open(folder)?.sync_all()
    }
}

#[cfg(windows)]
mod windows {
    use std::fs::File;
    use std::io;
    use std::os::windows::fs::FileExt;
    use std::path::Path;

    pub(in crate::blocks) fn read_exact_at(
        file: &File,
        mut bytes: &mut [u8],
        mut offset: u64,
    ) -> io::Result<()> {
        while !bytes.is_empty() {
            match file.seek_read(bytes, offset) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(length) => {
                    bytes = &mut bytes[length..];
                    offset += length as u64;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    pub(in crate::blocks) fn write_all_at(
        file: &File,
        mut bytes: &[u8],
        mut offset: u64,
    ) -> io::Result<()> {
        while !bytes.is_empty() {
            match file.seek_write(bytes, offset) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(length) => {
                    bytes = &bytes[length..];
                    offset += length as u64;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Windows cannot open a folder to sync it; its entries are in the journal of the file system.
    #[allow(
        clippy::unnecessary_wraps,
        reason = "on other systems syncing a folder can fail"
    )]
    pub(crate) fn sync_folder(_folder: &Path) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(unix)]
pub(crate) use unix::sync_folder;
#[cfg(unix)]
pub(super) use unix::{read_exact_at, write_all_at};
#[cfg(windows)]
pub(crate) use windows::sync_folder;
#[cfg(windows)]
pub(super) use windows::{read_exact_at, write_all_at};
