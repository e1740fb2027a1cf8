//! Opening what an earlier process left: the journal is replayed, exactly once.

use std::collections::HashMap;
use std::sync::Arc;

use crate::blocks::{Blocks, FileKind, FileName};
use crate::catalog::Catalog;
use crate::error::io_error;
use crate::format::Insert;
use crate::journal::{Journal, read_file};
use crate::ledger::Ledger;
use crate::segment::Segments;
use crate::store::Store;
use crate::{Clock, Error, Options};

/// Opens a store.
pub(crate) fn open(
    blocks: Arc<dyn Blocks>,
    catalog: Arc<dyn Catalog>,
    clock: Arc<dyn Clock>,
    options: Options,
) -> Result<Store, Error> {
    let listed = blocks.list().map_err(|e| io_error("list", "files", e))?;
    if !listed.is_empty() && catalog.is_unused()? {
        // Files are made for streams only, and going on would remove these as left over.
        return Err(Error::CatalogDamaged {
            problem: "it has no stream, but there are files with data".to_owned(),
        });
    }
    let mut files: Vec<FileName> = listed
        .into_iter()
        .filter(|name| name.kind == FileKind::Journal)
        .collect();
    files.sort_unstable();
    let last = files.last().map_or(0, |name| name.number);
    for &name in &files {
        check_file(&*blocks, &*catalog, name, name.number == last)?;
    }
    let segments = Segments::open(
        Arc::clone(&blocks),
        &catalog.segments()?,
        &catalog.holes()?,
        &options,
    )?;
    let journal = Journal::new(Arc::clone(&blocks), last, &options);
    let ledger = Ledger::new(Arc::clone(&catalog), catalog.state()?.change);
    // If that fails, nothing is acknowledged until it succeeds; what is there can be read.
    let _ = ledger.settle();
    let store = Store::new(blocks, segments, catalog, ledger, clock, options, journal);
    for name in files {
        recover_file(&store, name, name.number == last)?;
    }
    Ok(store)
}

/// Refuses a journal that is damaged or knows of versions the catalog does not: before anything
/// the catalog does not know is removed.
fn check_file(
    blocks: &dyn Blocks,
    catalog: &dyn Catalog,
    name: FileName,
    is_last: bool,
) -> Result<(), Error> {
    let mut heads = HashMap::new();
    for Insert { uuid, major, .. } in read_file(blocks, name, is_last)?.inserts {
        let head = match heads.get(&uuid) {
            Some(head) => *head,
            None => match catalog.head(uuid) {
                Ok(head) => head.major,
                Err(Error::NoSuchStream { .. }) if catalog.is_burnt(uuid)? => continue,
                Err(Error::NoSuchStream { .. }) => {
                    return Err(Error::CatalogDamaged {
                        problem: format!("it lacks stream `{uuid}`, which the journal has"),
                    });
                }
                Err(error) => return Err(error),
            },
        };
        heads.insert(uuid, head);
        if head < major {
            return Err(Error::CatalogDamaged {
                problem: format!("it lacks version {major} of stream `{uuid}`"),
            });
        }
    }
    Ok(())
}

fn recover_file(store: &Store, name: FileName, is_last: bool) -> Result<(), Error> {
    let blocks = &*store.blocks;
    let contents = read_file(blocks, name, is_last)?;
    for insert in contents.inserts {
        store.replay(name.number, insert)?;
    }
    if !store.journal.is_waiting(name.number) {
        blocks
            .remove(name)
            .map_err(|e| io_error("remove", name, e))?;
    } else if contents.is_torn {
        // New inserts go to another file, so this one has to be whole the next time.
        blocks
            .truncate(name, contents.length)
            .map_err(|e| io_error("truncate", name, e))?;
        blocks.sync(name).map_err(|e| io_error("sync", name, e))?;
    }
    Ok(())
}
