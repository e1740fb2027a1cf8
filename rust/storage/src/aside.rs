//! The folder `set-aside`: bytes that nothing refers to are copied there before they are removed,
//! in case they were needed after all.

use crate::Error;
use crate::blocks::{Blocks, FileKind, FileName};
use crate::error::io_error;
use crate::format::{FILE_HEADER, file_header};

/// How long a file is kept.
const MAX_AGE_NS: i64 = 30 * 24 * 3_600 * 1_000_000_000;

/// How many bytes are kept in total; beyond that the oldest files are removed first.
const MAX_BYTES: u64 = 1 << 30;

/// Copies `bytes`, found in the file `name` at offset `from`, to a new file in `set-aside`.
pub(crate) fn set_aside(
    blocks: &dyn Blocks,
    now_ns: i64,
    (name, from): (FileName, u64),
    bytes: &[u8],
) -> Result<(), Error> {
    let names = blocks.list().map_err(|e| io_error("list", "files", e))?;
    let last = names
        .iter()
        .filter(|name| name.kind == FileKind::Aside)
        .max();
    let aside = FileName::aside(last.map_or(1, |last| last.number + 1));
    let mut content = file_header(aside).to_vec();
    let text = name.to_string();
    content.extend_from_slice(&now_ns.to_le_bytes());
    content.extend_from_slice(&from.to_le_bytes());
    content.extend_from_slice(&u32::try_from(text.len()).unwrap_or(0).to_le_bytes());
    content.extend_from_slice(text.as_bytes());
    content.extend_from_slice(bytes);
    blocks
        .create(aside)
        .and_then(|()| blocks.write_at(aside, 0, &content))
        .and_then(|()| blocks.sync(aside))
        .map_err(|e| io_error("write to", aside, e))
        .inspect_err(|_| {
            let _ = blocks.remove(aside);
        })
}

/// Removes files that are too old, and the oldest files beyond the total size limit.
pub(crate) fn prune(blocks: &dyn Blocks, now_ns: i64) -> Result<(), Error> {
    let names = blocks.list().map_err(|e| io_error("list", "files", e))?;
    let mut asides: Vec<FileName> = names
        .into_iter()
        .filter(|name| name.kind == FileKind::Aside)
        .collect();
    asides.sort_unstable_by_key(|name| std::cmp::Reverse(name.number));
    let mut total = 0_u64;
    for name in asides {
        let length = blocks.len(name).map_err(|e| io_error("look at", name, e))?;
        total = total.saturating_add(length);
        let mut when = [0; 8];
        let is_old = blocks
            .read_at(name, FILE_HEADER as u64, &mut when)
            .is_ok_and(|()| i64::from_le_bytes(when) < now_ns.saturating_sub(MAX_AGE_NS));
        if is_old || total > MAX_BYTES {
            blocks
                .remove(name)
                .map_err(|e| io_error("remove", name, e))?;
        }
    }
    Ok(())
}
