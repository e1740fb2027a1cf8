//! Files in memory.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use parking_lot::RwLock;

use super::{Blocks, FileName};

/// Files in memory, dropped with the value.
#[derive(Debug, Default)]
pub struct MemoryBlocks {
    files: RwLock<HashMap<FileName, Arc<RwLock<Vec<u8>>>>>,
}

impl MemoryBlocks {
    fn file(&self, name: FileName) -> io::Result<Arc<RwLock<Vec<u8>>>> {
        self.files
            .read()
            .get(&name)
            .cloned()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

fn position(offset: u64) -> io::Result<usize> {
    usize::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge.into())
}

impl Blocks for MemoryBlocks {
    fn list(&self) -> io::Result<Vec<FileName>> {
        Ok(self.files.read().keys().copied().collect())
    }

    fn create(&self, name: FileName) -> io::Result<()> {
        self.files.write().insert(name, Arc::default());
        Ok(())
    }

    fn len(&self, name: FileName) -> io::Result<u64> {
        Ok(self.file(name)?.read().len() as u64)
    }

    fn read_at(&self, name: FileName, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        let file = self.file(name)?;
        let file = file.read();
        let from = position(offset)?;
        let source = from
            .checked_add(bytes.len())
            .and_then(|to| file.get(from..to))
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        bytes.copy_from_slice(source);
        Ok(())
    }

    fn write_at(&self, name: FileName, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let file = self.file(name)?;
        let mut file = file.write();
        let from = position(offset)?;
        if from > file.len() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let over = bytes.len().min(file.len() - from);
        file[from..from + over].copy_from_slice(&bytes[..over]);
        file.extend_from_slice(&bytes[over..]);
        Ok(())
    }

    fn sync(&self, name: FileName) -> io::Result<()> {
        self.file(name).map(|_| ())
    }

    fn truncate(&self, name: FileName, length: u64) -> io::Result<()> {
        let file = self.file(name)?;
        file.write().truncate(position(length)?);
        Ok(())
    }

    fn remove(&self, name: FileName) -> io::Result<()> {
        self.files
            .write()
            .remove(&name)
            .map(|_| ())
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}
