//! Bytes that nothing leads to are set aside for a while before they go: should they have been
//! needed after all, they are not lost.

use crate::Error;
use crate::blocks::{Blocks, FileKind, FileName};
use crate::error::io_error;
use crate::format::{FILE_HEADER, file_header};

/// How long they are kept.
const KEPT_NS: i64 = 30 * 24 * 3_600 * 1_000_000_000;

/// How many bytes are kept; beyond them the oldest go first.
const KEPT_BYTES: u64 = 1 << 30;

/// Copies `bytes`, which were in the file `name` from `from` on.
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

/// Removes what was set aside long ago, and the oldest of what is too much.
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
            .is_ok_and(|()| i64::from_le_bytes(when) < now_ns.saturating_sub(KEPT_NS));
        if is_old || total > KEPT_BYTES {
            blocks
                .remove(name)
                .map_err(|e| io_error("remove", name, e))?;
        }
    }
    Ok(())
}
