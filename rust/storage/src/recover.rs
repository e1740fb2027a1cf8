//! Opening what an earlier process left: the journal is replayed, exactly once.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use uuid::Uuid;

use crate::aside::{prune, set_aside};
use crate::blocks::{Blocks, FileKind, FileName};
use crate::catalog::{Catalog, CatalogState};
use crate::error::io_error;
use crate::format::{CommitRecord, Content, Insert};
use crate::journal::{Contents, Journal, Reading, read_file};
use crate::ledger::Ledger;
use crate::manifest::{self, Manifest};
use crate::roll_forward::{Unrecorded, Witness};
use crate::segment::Segments;
use crate::store::Store;
use crate::{Clock, Error, Options};

/// What is in a directory, before anything in it is changed.
struct Found {
    state: CatalogState,
    manifest: Content,
    journal: BTreeMap<u32, Contents>,
    unrecorded: Unrecorded,
    /// What the catalog lacks and the segments have.
    commits: Vec<CommitRecord>,
    /// What is not there any more; nothing unless in salvage.
    missing: Vec<Error>,
}

/// Opens a store; in salvage, gives what is missing.
pub(crate) fn open(
    blocks: Arc<dyn Blocks>,
    catalog: Arc<dyn Catalog>,
    clock: Arc<dyn Clock>,
    options: Options,
) -> Result<(Store, Vec<Error>), Error> {
    let mut found = look(&*blocks, &*catalog, &options)?;
    // Only now anything is changed.
    for record in &found.commits {
        found.unrecorded.roll_forward(&*blocks, &*catalog, record)?;
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
    let ledger = Ledger::new(
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
    let store = Store::new(blocks, segments, catalog, ledger, clock, options, journal);
    replay(&store, found.journal, &mut found.missing)?;
    // Neither needs to succeed: both are tried again the next time.
    let _ = store.begin_retention();
    let _ = prune(&*store.blocks, now);
    Ok((store, found.missing))
}

/// Looks at everything, and refuses what is not whole unless in salvage.
fn look(blocks: &dyn Blocks, catalog: &dyn Catalog, options: &Options) -> Result<Found, Error> {
    let mut names = blocks.list().map_err(|e| io_error("list", "files", e))?;
    names.sort_unstable();
    let state = catalog.state()?;
    let mut missing = Vec::new();
    let mut meet = |error: Error| {
        if options.salvage {
            missing.push(error);
            Ok(())
        } else {
            Err(error)
        }
    };
    let has_data = |name: &FileName| matches!(name.kind, FileKind::Segment | FileKind::Journal);
    if names.iter().any(has_data) && catalog.is_unused()? {
        // Files are made for streams only, and going on would take these as left over.
        meet(Error::CatalogDamaged {
            problem: "it has no stream, but there are files with data".to_owned(),
        })?;
    }
    let manifest = match manifest::read(blocks) {
        Ok(Some(content)) if content.id != state.id => {
            meet(Error::CatalogDamaged {
                problem: "it is that of another directory, by the manifest".to_owned(),
            })?;
            None
        }
        Ok(None) if state.change > 0 => {
            meet(Error::Damaged {
                file: "manifest".to_owned(),
                offset: 0,
                problem: "it is missing".to_owned(),
            })?;
            None
        }
        // A process died while it wrote the first one.
        Err(Error::Damaged { .. }) if state.change == 0 => None,
        Err(error @ Error::Damaged { .. }) => {
            meet(error)?;
            None
        }
        other => other?,
    };
    let journal = read_journal(blocks, &names, manifest.as_ref(), options, &mut missing)?;
    let committed = catalog.segments()?;
    let unrecorded = Unrecorded::find(blocks, &names, &committed)?;
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
    let commits = unrecorded.commits(state, &witnesses, &mut missing, options.salvage)?;
    check_inserts(catalog, &journal, &commits, &mut missing, options.salvage)?;
    Ok(Found {
        state,
        manifest: manifest.unwrap_or_else(|| Content {
            id: state.id,
            ..Content::default()
        }),
        journal,
        unrecorded,
        commits,
        missing,
    })
}

/// Reads every journal file, and looks whether those are there and as long as they have to be.
fn read_journal(
    blocks: &dyn Blocks,
    names: &[FileName],
    manifest: Option<&Content>,
    options: &Options,
    missing: &mut Vec<Error>,
) -> Result<BTreeMap<u32, Contents>, Error> {
    let files = names.iter().filter(|name| name.kind == FileKind::Journal);
    let numbers: Vec<u32> = files.map(|name| name.number).collect();
    let last = numbers.iter().copied().max().unwrap_or(0);
    let is_salvage = options.salvage;
    let mut meet = |error: Error| {
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
            meet(damaged(
                number,
                0,
                "it is missing, with acknowledged inserts".to_owned(),
            ))?;
        }
    }
    let mut journal = BTreeMap::new();
    for number in numbers {
        // None if it has to be there, and how long it is if it is not written to any more.
        let listed = manifest.and_then(|content| content.journal.get(&number));
        let is_unknown = listed.is_none() && number == last;
        let reading = Reading {
            is_open: is_unknown || listed == Some(&None),
            may_be_new: is_unknown,
            is_salvage,
        };
        let mut contents = read_file(blocks, FileName::journal(number), reading)?;
        for error in contents.missing.drain(..) {
            meet(error)?;
        }
        if let Some(&Some(length)) = listed
            && contents.length != length
        {
            let problem = format!("{length} bytes of it were acknowledged");
            meet(damaged(number, contents.length, problem))?;
        }
        journal.insert(number, contents);
    }
    Ok(journal)
}

/// Looks whether the catalog knows the streams and versions that the journal is about.
fn check_inserts(
    catalog: &dyn Catalog,
    journal: &BTreeMap<u32, Contents>,
    commits: &[CommitRecord],
    missing: &mut Vec<Error>,
    is_salvage: bool,
) -> Result<(), Error> {
    let mut heads = HashMap::new();
    let mut told = BTreeSet::new();
    for Insert { uuid, major, .. } in journal.values().flat_map(|contents| &contents.inserts) {
        let head = match heads.get(uuid) {
            Some(head) => *head,
            None => head(catalog, *uuid, commits)?,
        };
        heads.insert(*uuid, head);
        let problem = match head {
            Standing::At(head) if head < *major => {
                format!("it lacks version {major} of stream `{uuid}`")
            }
            Standing::Unknown => format!("it lacks stream `{uuid}`, which the journal has"),
            Standing::At(_) | Standing::Obliterated => continue,
        };
        let error = Error::CatalogDamaged { problem };
        if !is_salvage {
            return Err(error);
        }
        if told.insert((*uuid, *major)) {
            missing.push(error);
        }
    }
    Ok(())
}

/// Where a stream is by the catalog.
#[derive(Clone, Copy)]
enum Standing {
    At(u64),
    Obliterated,
    Unknown,
}

fn head(catalog: &dyn Catalog, uuid: Uuid, commits: &[CommitRecord]) -> Result<Standing, Error> {
    match catalog.head(uuid) {
        Ok(head) => {
            let later = commits.iter().flat_map(|record| &record.commits);
            let later = later.filter(|commit| commit.stream == head.stream);
            let major = later.map(|commit| commit.major).fold(head.major, u64::max);
            Ok(Standing::At(major))
        }
        Err(Error::NoSuchStream { .. }) if catalog.is_burnt(uuid)? => Ok(Standing::Obliterated),
        Err(Error::NoSuchStream { .. }) => Ok(Standing::Unknown),
        Err(error) => Err(error),
    }
}

/// Brings back what was acknowledged and is in no tree, and leaves only the files that have some
/// of it.
fn replay(
    store: &Store,
    journal: BTreeMap<u32, Contents>,
    missing: &mut Vec<Error>,
) -> Result<(), Error> {
    let mut waiting = BTreeMap::new();
    let mut over = Vec::new();
    let last = store.journal.last();
    for (number, contents) in journal {
        let name = FileName::journal(number);
        if !missing.is_empty() {
            // In salvage nothing goes that somebody might still make something of.
            let bytes = whole_file(&*store.blocks, name)?;
            set_aside(&*store.blocks, store.clock.now_ns(), (name, 0), &bytes)?;
        }
        for insert in contents.inserts {
            store.replay(number, insert, !missing.is_empty())?;
        }
        if !missing.is_empty() {
            // The file is not whole, so what is left of it goes into trees at once.
            missing.extend(store.flush_each());
            over.push(name);
        } else if store.journal.is_waiting(number) {
            write_again(&*store.blocks, name, contents.length)?;
            waiting.insert(number, Some(contents.length));
        } else {
            over.push(name);
        }
    }
    // If that fails, nothing is acknowledged until it succeeds; what is there can be read.
    let settled = store.ledger.settle_with(|content| {
        content.journal.retain(|number, _| *number > last);
        content.journal.extend(waiting);
    });
    if settled.is_ok() {
        for name in over {
            match store.blocks.remove(name) {
                // It went when what was in it was committed.
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                other => other.map_err(|e| io_error("remove", name, e))?,
            }
        }
    }
    Ok(())
}

fn whole_file(blocks: &dyn Blocks, name: FileName) -> Result<Vec<u8>, Error> {
    let failed = |e| io_error("read", name, e);
    let length = blocks.len(name).map_err(failed)?;
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
    blocks.read_at(name, 0, &mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// Cuts a file to what is whole and writes that once more: new inserts go to another file, so this
/// one has to be whole the next time, and after a sync that failed the system may show bytes that
/// are not on the disk.
fn write_again(blocks: &dyn Blocks, name: FileName, length: u64) -> Result<(), Error> {
    blocks
        .truncate(name, length)
        .map_err(|e| io_error("truncate", name, e))?;
    let bytes = whole_file(blocks, name)?;
    blocks
        .write_at(name, 0, &bytes)
        .map_err(|e| io_error("write to", name, e))?;
    blocks.sync(name).map_err(|e| io_error("sync", name, e))
}
