//! Opening the files of an earlier process, and replaying its journal exactly once.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use uuid::Uuid;

use crate::aside::{prune, set_aside};
use crate::blocks::{Blocks, FileKind, FileName};
use crate::catalog::{Catalog, CatalogState};
use crate::catalog_writer::CatalogWriter;
use crate::error::io_error;
use crate::format::{CommitRecord, Insert, ManifestContent};
use crate::journal::{Contents, Journal, ReadOptions, read_file};
use crate::manifest::{self, Manifest};
use crate::roll_forward::{UncommittedData, Witness};
use crate::segment::Segments;
use crate::store::Store;
use crate::{Clock, Error, Options};

/// The state of a directory before anything in it is changed.
struct DirectoryState {
    state: CatalogState,
    manifest: ManifestContent,
    journal: BTreeMap<u32, Contents>,
    uncommitted: UncommittedData,
    /// Commits that the segments contain but the catalog lacks.
    commits: Vec<CommitRecord>,
    /// What is missing or damaged; empty unless salvaging.
    missing: Vec<Error>,
}

/// Opens a store. When salvaging, also returns what is missing.
pub(crate) fn open(
    blocks: Arc<dyn Blocks>,
    catalog: Arc<dyn Catalog>,
    clock: Arc<dyn Clock>,
    options: Options,
) -> Result<(Store, Vec<Error>), Error> {
    let mut found = inspect(&*blocks, &*catalog, &options)?;
    // Nothing was changed up to here.
    for record in &found.commits {
        found
            .uncommitted
            .roll_forward(&*blocks, &*catalog, record)?;
    }
    let now = clock.now_ns();
    let segments = Segments::open(
        Arc::clone(&blocks),
        &catalog.segments()?,
        &catalog.holes()?,
        &options,
        &mut found.missing,
        now,
    )?;
    let last = catalog.state()?.change;
    let witnessed = found.journal.values().map(|contents| contents.change);
    let last = witnessed.fold(last.max(found.manifest.change), u64::max);
    let manifest = Arc::new(Manifest::new(Arc::clone(&blocks), found.manifest.clone()));
    let change = Arc::new(AtomicU64::new(last));
    let catalog_writer = CatalogWriter::new(
        Arc::clone(&catalog),
        found.state.id,
        Arc::clone(&manifest),
        Arc::clone(&change),
    );
    let last_journal = found
        .journal
        .last_key_value()
        .map_or(0, |(number, _)| *number);
    let journal = Journal::new(
        Arc::clone(&blocks),
        manifest,
        change,
        last_journal.max(found.manifest.last_journal),
        &options,
    );
    let store = Store::new(
        blocks,
        segments,
        catalog,
        catalog_writer,
        clock,
        options,
        journal,
    );
    replay(&store, found.journal, &mut found.missing)?;
    // Neither has to succeed: the background thread and the next open try again.
    let _ = store.begin_retention();
    let _ = prune(&*store.blocks, now);
    Ok((store, found.missing))
}

/// Reads everything, and refuses a directory that is not intact unless salvaging.
fn inspect(
    blocks: &dyn Blocks,
    catalog: &dyn Catalog,
    options: &Options,
) -> Result<DirectoryState, Error> {
    let mut names = blocks.list().map_err(|e| io_error("list", "files", e))?;
    names.sort_unstable();
    let state = catalog.state()?;
    let mut missing = Vec::new();
    let mut report = |error: Error| {
        if options.salvage {
            missing.push(error);
            Ok(())
        } else {
            Err(error)
        }
    };
    let has_data = |name: &FileName| matches!(name.kind, FileKind::Segment | FileKind::Journal);
    if names.iter().any(has_data) && catalog.is_unused()? {
        // Files are created only for streams, so the catalog was lost. Continuing would treat these
        // files as left over.
        report(Error::CatalogDamaged {
            problem: "it has no streams, but there are files with data".to_owned(),
        })?;
    }
    let manifest = match manifest::read(blocks) {
        Ok(Some(content)) if content.id != state.id => {
            report(Error::CatalogDamaged {
                problem: "it belongs to another directory, according to the manifest".to_owned(),
            })?;
            None
        }
        Ok(None) if state.change > 0 => {
            report(Error::Damaged {
                file: "manifest".to_owned(),
                offset: 0,
                problem: "it is missing".to_owned(),
            })?;
            None
        }
        // An earlier process died while it wrote the first manifest.
        Err(Error::Damaged { .. }) if state.change == 0 => None,
        Err(error @ Error::Damaged { .. }) => {
            report(error)?;
            None
        }
        other => other?,
    };
    let journal = read_journal(blocks, &names, manifest.as_ref(), options, &mut missing)?;
    let committed = catalog.segments()?;
    let uncommitted = UncommittedData::find(blocks, &names, &committed)?;
    let mut witnesses: Vec<Witness> = journal
        .iter()
        .map(|(&number, contents)| Witness {
            name: FileName::journal(number).to_string(),
            change: contents.change,
        })
        .collect();
    witnesses.extend(manifest.as_ref().map(|content| Witness {
        name: "the manifest".to_owned(),
        change: content.change,
    }));
    let commits = uncommitted.commits(state, &witnesses, &mut missing, options.salvage)?;
    check_inserts(catalog, &journal, &commits, &mut missing, options.salvage)?;
    Ok(DirectoryState {
        state,
        manifest: manifest.unwrap_or_else(|| ManifestContent {
            id: state.id,
            ..ManifestContent::default()
        }),
        journal,
        uncommitted,
        commits,
        missing,
    })
}

/// Reads every journal file, and checks that the files in the manifest exist and are complete.
fn read_journal(
    blocks: &dyn Blocks,
    names: &[FileName],
    manifest: Option<&ManifestContent>,
    options: &Options,
    missing: &mut Vec<Error>,
) -> Result<BTreeMap<u32, Contents>, Error> {
    let files = names.iter().filter(|name| name.kind == FileKind::Journal);
    let numbers: Vec<u32> = files.map(|name| name.number).collect();
    let last = numbers.iter().copied().max().unwrap_or(0);
    let is_salvage = options.salvage;
    let mut report = |error: Error| {
        if is_salvage {
            missing.push(error);
            Ok(())
        } else {
            Err(error)
        }
    };
    let damaged = |number, offset, problem: String| Error::Damaged {
        file: FileName::journal(number).to_string(),
        offset,
        problem,
    };
    for (&number, _) in manifest.iter().flat_map(|content| &content.journal) {
        if !numbers.contains(&number) {
            report(damaged(
                number,
                0,
                "it is missing, and it held acknowledged inserts".to_owned(),
            ))?;
        }
    }
    let mut journal = BTreeMap::new();
    for number in numbers {
        // The outer `None` if the manifest does not list the file; the inner `None` if it was still
        // written to.
        let listed = manifest.and_then(|content| content.journal.get(&number));
        let is_unlisted = listed.is_none() && number == last;
        let read_options = ReadOptions {
            is_open: is_unlisted || listed == Some(&None),
            may_be_new: is_unlisted,
            is_salvage,
        };
        let mut contents = read_file(blocks, FileName::journal(number), read_options)?;
        for error in contents.missing.drain(..) {
            report(error)?;
        }
        if let Some(&Some(length)) = listed
            && contents.length != length
        {
            let problem = format!("it should be {length} bytes long");
            report(damaged(number, contents.length, problem))?;
        }
        journal.insert(number, contents);
    }
    Ok(journal)
}

/// Checks that the catalog has the streams and versions that the journal refers to.
fn check_inserts(
    catalog: &dyn Catalog,
    journal: &BTreeMap<u32, Contents>,
    commits: &[CommitRecord],
    missing: &mut Vec<Error>,
    is_salvage: bool,
) -> Result<(), Error> {
    let mut heads = HashMap::new();
    let mut reported = BTreeSet::new();
    for Insert { uuid, major, .. } in journal.values().flat_map(|contents| &contents.inserts) {
        let head = match heads.get(uuid) {
            Some(head) => *head,
            None => position(catalog, *uuid, commits)?,
        };
        heads.insert(*uuid, head);
        let problem = match head {
            StreamPosition::At(head) if head < *major => {
                format!("it lacks version {major} of stream `{uuid}`")
            }
            StreamPosition::Unknown => {
                format!("it lacks stream `{uuid}`, which the journal refers to")
            }
            StreamPosition::At(_) | StreamPosition::Obliterated => continue,
        };
        let error = Error::CatalogDamaged { problem };
        if !is_salvage {
            return Err(error);
        }
        if reported.insert((*uuid, *major)) {
            missing.push(error);
        }
    }
    Ok(())
}

/// The latest version of a stream according to the catalog.
#[derive(Clone, Copy)]
enum StreamPosition {
    At(u64),
    Obliterated,
    Unknown,
}

fn position(
    catalog: &dyn Catalog,
    uuid: Uuid,
    commits: &[CommitRecord],
) -> Result<StreamPosition, Error> {
    match catalog.head(uuid) {
        Ok(head) => {
            let later = commits.iter().flat_map(|record| &record.commits);
            let later = later.filter(|commit| commit.stream == head.stream);
            let major = later.map(|commit| commit.major).fold(head.major, u64::max);
            Ok(StreamPosition::At(major))
        }
        Err(Error::NoSuchStream { .. }) if catalog.is_uuid_retired(uuid)? => {
            Ok(StreamPosition::Obliterated)
        }
        Err(Error::NoSuchStream { .. }) => Ok(StreamPosition::Unknown),
        Err(error) => Err(error),
    }
}

/// Replays the inserts that are not in a tree into buffers, and removes the files that contain
/// none.
fn replay(
    store: &Store,
    journal: BTreeMap<u32, Contents>,
    missing: &mut Vec<Error>,
) -> Result<(), Error> {
    let mut waiting = BTreeMap::new();
    let mut finished = Vec::new();
    let last = store.journal.last();
    for (number, contents) in journal {
        let name = FileName::journal(number);
        if !missing.is_empty() {
            // When salvaging, keep a copy of everything that may still be of use.
            let bytes = read_file_bytes(&*store.blocks, name)?;
            set_aside(&*store.blocks, store.clock.now_ns(), (name, 0), &bytes)?;
        }
        for insert in contents.inserts {
            store.replay(number, insert, !missing.is_empty())?;
        }
        if !missing.is_empty() {
            // The file is damaged, so its inserts are committed at once.
            missing.extend(store.flush_each());
            finished.push(name);
        } else if store.journal.is_waiting(number) {
            rewrite_and_sync(&*store.blocks, name, contents.length)?;
            waiting.insert(number, Some(contents.length));
        } else {
            finished.push(name);
        }
    }
    // If this fails, writes are refused until it succeeds; the data can be read.
    let settled = store.catalog_writer.settle_with(|content| {
        content.journal.retain(|number, _| *number > last);
        content.journal.extend(waiting);
    });
    if settled.is_ok() {
        for name in finished {
            match store.blocks.remove(name) {
                // It was removed when its inserts were committed.
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                other => other.map_err(|e| io_error("remove", name, e))?,
            }
        }
    }
    Ok(())
}

fn read_file_bytes(blocks: &dyn Blocks, name: FileName) -> Result<Vec<u8>, Error> {
    let failed = |e| io_error("read", name, e);
    let length = blocks.len(name).map_err(failed)?;
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
    blocks.read_at(name, 0, &mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// Cuts a file to its intact part, then rewrites and syncs that. New inserts go to another file, so
/// this one has to be complete at the next open. Rewriting is necessary because after a failed sync
/// the system may show bytes that are not on the disk.
fn rewrite_and_sync(blocks: &dyn Blocks, name: FileName, length: u64) -> Result<(), Error> {
    blocks
        .truncate(name, length)
        .map_err(|e| io_error("truncate", name, e))?;
    let bytes = read_file_bytes(blocks, name)?;
    blocks
        .write_at(name, 0, &bytes)
        .map_err(|e| io_error("write to", name, e))?;
    blocks.sync(name).map_err(|e| io_error("sync", name, e))
}
