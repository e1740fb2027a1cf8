//! Reading and writing the manifest, alternately in two files, so that one of them is always
//! intact.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::Error;
use crate::blocks::{Blocks, FileName};
use crate::error::io_error;
use crate::format::{
    FILE_HEADER, HeaderProblem, ManifestContent, check_file_header, decode_manifest,
    encode_manifest,
};

/// Upper bound of the length of a manifest, in bytes.
const MAX_LENGTH: u64 = 64 << 20;

/// The manifest: what must be in the directory.
#[derive(Debug)]
pub(crate) struct Manifest {
    blocks: Arc<dyn Blocks>,
    content: Mutex<ManifestContent>,
}

const fn file_of(sequence: u64) -> FileName {
    FileName::manifest(if sequence.is_multiple_of(2) { 2 } else { 1 })
}

impl Manifest {
    /// A manifest that continues from `content`.
    pub(crate) fn new(blocks: Arc<dyn Blocks>, content: ManifestContent) -> Self {
        Self {
            blocks,
            content: Mutex::new(content),
        }
    }

    /// The current content.
    pub(crate) fn content(&self) -> ManifestContent {
        self.content.lock().clone()
    }

    /// Changes the manifest, and returns once the change is on stable storage.
    ///
    /// A failed write changes nothing: the other file is intact, and the next write uses the same
    /// file again.
    pub(crate) fn write(&self, change: impl FnOnce(&mut ManifestContent)) -> Result<(), Error> {
        let mut present = self.content.lock();
        let mut content = present.clone();
        change(&mut content);
        content.sequence += 1;
        let name = file_of(content.sequence);
        let bytes = encode_manifest(name, &content).map_err(|problem| {
            let source = std::io::Error::new(std::io::ErrorKind::InvalidData, problem.0);
            io_error("write to", name, source)
        })?;
        let exists = match self.blocks.len(name) {
            Ok(_) => Ok(()),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => self.blocks.create(name),
            Err(e) => Err(e),
        };
        exists
            .and_then(|()| self.blocks.write_at(name, 0, &bytes))
            .map_err(|e| io_error("write to", name, e))?;
        self.blocks
            .sync(name)
            .map_err(|e| io_error("sync", name, e))?;
        *present = content;
        Ok(())
    }
}

/// The content of the newer of the two files that is intact; `None` if neither file exists.
///
/// # Errors
/// [`Error::Damaged`] if there are files but none is intact; [`Error::FormatVersion`] if a later
/// build wrote one.
pub(crate) fn read(blocks: &dyn Blocks) -> Result<Option<ManifestContent>, Error> {
    let mut newest: Option<ManifestContent> = None;
    let mut damage = None;
    for name in [file_of(1), file_of(2)] {
        match read_file(blocks, name) {
            Ok(Some(content)) => {
                if newest
                    .as_ref()
                    .is_none_or(|n| n.sequence < content.sequence)
                {
                    newest = Some(content);
                }
            }
            Ok(None) => {}
            Err(error @ Error::Damaged { .. }) => damage = Some(error),
            Err(error) => return Err(error),
        }
    }
    match (newest, damage) {
        (None, Some(damage)) => Err(damage),
        (newest, _) => Ok(newest),
    }
}

fn read_file(blocks: &dyn Blocks, name: FileName) -> Result<Option<ManifestContent>, Error> {
    let damaged = |problem: &str| Error::Damaged {
        file: name.to_string(),
        offset: 0,
        problem: problem.to_owned(),
    };
    let length = match blocks.len(name) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(|e| io_error("look at", name, e))?,
    };
    if length > MAX_LENGTH {
        return Err(damaged("it is longer than a manifest can be"));
    }
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
    blocks
        .read_at(name, 0, &mut bytes)
        .map_err(|e| io_error("read", name, e))?;
    let header = bytes.get(..FILE_HEADER).unwrap_or(&bytes);
    match check_file_header(name, header) {
        Err(HeaderProblem::Damaged(problem)) => Err(damaged(problem)),
        Err(problem) => Err(crate::segment::header_error(name, problem)),
        Ok(_) => decode_manifest(name, &bytes)
            .map(Some)
            .map_err(|problem| damaged(problem.0)),
    }
}
