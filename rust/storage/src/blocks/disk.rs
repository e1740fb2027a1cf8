//! Files in a directory.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::RwLock;

use super::{Blocks, FileKind, FileName, system};

#[derive(Debug)]
struct OpenFile {
    file: File,
    /// Whether the directory entry still has to be synced.
    is_new: AtomicBool,
}

/// Files in a directory, one folder for each kind.
#[derive(Debug)]
pub struct DiskBlocks {
    directory: PathBuf,
    open: RwLock<HashMap<FileName, Arc<OpenFile>>>,
}

impl DiskBlocks {
    /// Opens the files below `directory`, and creates missing folders.
    pub fn open(directory: &Path) -> io::Result<Self> {
        for kind in FileKind::ALL {
            fs::create_dir_all(directory.join(kind.folder()))?;
        }
        system::sync_folder(directory)?;
        Ok(Self {
            directory: directory.to_owned(),
            open: RwLock::default(),
        })
    }

    fn path(&self, name: FileName) -> PathBuf {
        self.directory.join(name.to_string())
    }

    fn file(&self, name: FileName) -> io::Result<Arc<OpenFile>> {
        if let Some(file) = self.open.read().get(&name) {
            return Ok(Arc::clone(file));
        }
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(self.path(name))?;
        let file = Arc::new(OpenFile {
            file,
            is_new: AtomicBool::new(false),
        });
        Ok(Arc::clone(self.open.write().entry(name).or_insert(file)))
    }

    fn sync_folder(&self, kind: FileKind) -> io::Result<()> {
        system::sync_folder(&self.directory.join(kind.folder()))
    }
}

impl Blocks for DiskBlocks {
    fn list(&self) -> io::Result<Vec<FileName>> {
        let mut names = Vec::new();
        for kind in FileKind::ALL {
            for entry in fs::read_dir(self.directory.join(kind.folder()))? {
                let entry = entry?;
                let name = entry.file_name();
                names.extend(name.to_str().and_then(|name| FileName::parse(kind, name)));
            }
        }
        Ok(names)
    }

    fn create(&self, name: FileName) -> io::Result<()> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(self.path(name))?;
        let file = Arc::new(OpenFile {
            file,
            is_new: AtomicBool::new(true),
        });
        self.open.write().insert(name, file);
        Ok(())
    }

    fn len(&self, name: FileName) -> io::Result<u64> {
        Ok(self.file(name)?.file.metadata()?.len())
    }

    fn read_at(&self, name: FileName, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        system::read_exact_at(&self.file(name)?.file, bytes, offset)
    }

    fn write_at(&self, name: FileName, offset: u64, bytes: &[u8]) -> io::Result<()> {
        system::write_all_at(&self.file(name)?.file, bytes, offset)
    }

    fn sync(&self, name: FileName) -> io::Result<()> {
        let file = self.file(name)?;
        file.file.sync_data()?;
        if file.is_new.load(Ordering::Acquire) {
            self.sync_folder(name.kind)?;
            file.is_new.store(false, Ordering::Release);
        }
        Ok(())
    }

    fn truncate(&self, name: FileName, length: u64) -> io::Result<()> {
        self.file(name)?.file.set_len(length)
    }

    fn remove(&self, name: FileName) -> io::Result<()> {
        self.open.write().remove(&name);
        fs::remove_file(self.path(name))?;
        self.sync_folder(name.kind)
    }
}
