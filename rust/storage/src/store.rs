//! The state that an engine shares with its background thread: inserting and committing.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use parking_lot::{MutexGuard, RwLock};
use pingthings_types::{MergePolicy, Points, Version, check_insert_time};
use uuid::Uuid;

use crate::blocks::Blocks;
use crate::buffer::Buffer;
use crate::catalog::{Catalog, Commit};
use crate::catalog_writer::CatalogWriter;
use crate::columns::Slice;
use crate::columns::sort_by_time;
use crate::format::CommitRecord;
use crate::group::Group;
use crate::journal::{InsertRecord, Journal};
use crate::live::{Stream, View, Writer};
use crate::masks::Masks;
use crate::merge::{MergeBase, apply};
use crate::reclaim_state::ReclaimState;
use crate::retention::Pace;
use crate::segment::Segments;
use crate::signal::Signal;
use crate::tree::{Edit, edit_root};
use crate::watch::Watchers;
use crate::{Clock, Error, Options};

/// Maximum number of streams that are committed in one sync.
const STREAMS_PER_SYNC: usize = 256;

/// An open store.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) blocks: Arc<dyn Blocks>,
    pub(crate) segments: Arc<Segments>,
    /// For reading only; changes go through `catalog_writer`.
    pub(crate) catalog: Arc<dyn Catalog>,
    pub(crate) catalog_writer: CatalogWriter,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) options: Options,
    pub(crate) journal: Journal,
    commits: Group<Vec<Commit>, ()>,
    streams: RwLock<HashMap<Uuid, Arc<Stream>>>,
    is_closed: AtomicBool,
    pub(crate) reclaim: ReclaimState,
    pub(crate) pace: Pace,
    pub(crate) watchers: Watchers,
    /// Number of the last journal file that was written to.
    journal_file: AtomicU32,
    /// Wakes the background thread.
    pub(crate) due: Signal,
}

fn check_points(uuid: Uuid, points: &Points) -> Result<(), Error> {
    let (times, values) = (points.times.len(), points.values.len());
    if times != values {
        return Err(Error::ColumnLengths {
            uuid,
            times,
            values,
        });
    }
    let refused = points
        .times
        .iter()
        .position(|&time| check_insert_time(time).is_err());
    if let Some(index) = refused {
        return Err(Error::PointTime {
            uuid,
            index,
            time: points.times[index],
        });
    }
    if let Some(index) = points.values.iter().position(|value| !value.is_finite()) {
        let (time, value) = (points.times[index], points.values[index]);
        return Err(Error::BadValue {
            uuid,
            index,
            time,
            value,
        });
    }
    Ok(())
}

impl Store {
    pub(crate) fn new(
        blocks: Arc<dyn Blocks>,
        segments: Segments,
        catalog: Arc<dyn Catalog>,
        catalog_writer: CatalogWriter,
        clock: Arc<dyn Clock>,
        options: Options,
        journal: Journal,
    ) -> Self {
        Self {
            blocks,
            segments: Arc::new(segments),
            catalog,
            catalog_writer,
            clock,
            options,
            journal,
            commits: Group::default(),
            streams: RwLock::default(),
            is_closed: AtomicBool::new(false),
            reclaim: ReclaimState::default(),
            pace: Pace::default(),
            watchers: Watchers::default(),
            journal_file: AtomicU32::new(0),
            due: Signal::default(),
        }
    }

    /// Fails once the engine is closed.
    pub(crate) fn check_open(&self) -> Result<(), Error> {
        if self.is_closed.load(Ordering::Acquire) {
            Err(Error::Closed)
        } else {
            Ok(())
        }
    }

    /// The stream with this uuid, which is read from the catalog when it is first used.
    pub(crate) fn stream(&self, uuid: Uuid) -> Result<Arc<Stream>, Error> {
        if let Some(stream) = self.streams.read().get(&uuid) {
            return Ok(Arc::clone(stream));
        }
        // The catalog is read under the lock. Otherwise another thread could add the stream and
        // commit in between, and this one would be added with an old version.
        let mut streams = self.streams.write();
        if let Some(stream) = streams.get(&uuid) {
            return Ok(Arc::clone(stream));
        }
        let failures = self.catalog_writer.failures();
        let stream = Arc::new(Stream::new(uuid, self.catalog.head(uuid)?, failures));
        streams.insert(uuid, Arc::clone(&stream));
        Ok(stream)
    }

    /// Locks the stream for writing.
    fn writer<'a>(&self, stream: &'a Stream) -> Result<MutexGuard<'a, Writer>, Error> {
        let mut writer = stream.writer.lock();
        self.check_open()?;
        self.reconcile(stream, &mut writer)?;
        if stream.view().is_gone {
            return Err(Error::NoSuchStream { uuid: stream.uuid });
        }
        Ok(writer)
    }

    /// Compares a stream with the catalog after a failed catalog change. It settles first, so that
    /// the outcome of the change is known, and then takes over the version in the catalog.
    fn reconcile(&self, stream: &Stream, writer: &mut Writer) -> Result<(), Error> {
        self.catalog_writer.settle()?;
        let failures = self.catalog_writer.failures();
        if writer.failures == failures {
            return Ok(());
        }
        let view = stream.view();
        match self.catalog.head(stream.uuid) {
            Ok(head) if head.major == view.major => {}
            // The failed commit contained everything that was buffered.
            Ok(head) if head.major > view.major => {
                let view = View {
                    major: head.major,
                    root: head.root,
                    buffer: Arc::default(),
                    ..view
                };
                self.replace(stream, writer, view);
            }
            Ok(_) => {
                let (uuid, major) = (stream.uuid, view.major);
                return Err(Error::CatalogDamaged {
                    problem: format!("it lacks version {major} of stream `{uuid}`"),
                });
            }
            Err(Error::NoSuchStream { .. }) if !view.is_gone => self.remove(stream, writer),
            Err(Error::NoSuchStream { .. }) => {}
            Err(error) => return Err(error),
        }
        writer.failures = failures;
        Ok(())
    }

    /// Adds points; see [`crate::Engine::insert`].
    pub(crate) fn insert(
        &self,
        uuid: Uuid,
        mut points: Points,
        policy: MergePolicy,
    ) -> Result<Version, Error> {
        check_points(uuid, &points)?;
        let stream = self.stream(uuid)?;
        sort_by_time(&mut points);
        let mut writer = self.writer(&stream)?;
        let view = stream.view();
        let existing = MergeBase {
            segments: &self.segments,
            root: view.root,
            buffer: &view.buffer,
        };
        // The journal stores the request, not its result: a replay on top of the same version has
        // the same result.
        let is_buffered = view.buffer.len() + points.len() < self.options.buffer_points;
        let record = is_buffered
            .then(|| InsertRecord::new(uuid, view.major, policy, &points))
            .transpose()?;
        let watched = self.watchers.copy(uuid, &points);
        let Some(buffer) = apply(existing, points, policy)? else {
            return Ok(view.version());
        };
        let version = match record {
            Some(record) => {
                let file = self.journal.insert(record)?;
                if self.journal_file.fetch_max(file, Ordering::Relaxed) < file {
                    self.due.wake();
                }
                writer.note(file, self.clock.now_ns());
                let view = View {
                    buffer: Arc::new(buffer),
                    ..view
                };
                let version = view.version();
                stream.publish(view);
                version
            }
            // A full buffer is committed directly: that is durable as well, and cheaper than
            // writing the points twice.
            None => self.commit(&stream, &mut writer, &view, &buffer, buffer.masks())?,
        };
        if let Some(watched) = watched {
            self.watchers.notify(uuid, &watched);
        }
        Ok(version)
    }

    /// Applies an insert from the journal to the buffer, unless its version was committed since.
    /// When salvaging, its version may be missing.
    pub(crate) fn replay(
        &self,
        file: u32,
        insert: crate::format::Insert,
        is_salvage: bool,
    ) -> Result<(), Error> {
        let stream = match self.stream(insert.uuid) {
            Err(Error::NoSuchStream { .. }) => return Ok(()),
            other => other?,
        };
        let mut writer = stream.writer.lock();
        let view = stream.view();
        if view.major != insert.major && !(is_salvage && view.major < insert.major) {
            return Ok(());
        }
        let existing = MergeBase {
            segments: &self.segments,
            root: view.root,
            buffer: &view.buffer,
        };
        let mut points = insert.points;
        sort_by_time(&mut points);
        if let Some(buffer) = apply(existing, points, insert.policy)? {
            self.journal.add_waiting(file);
            writer.note(file, self.clock.now_ns());
            stream.publish(View {
                buffer: Arc::new(buffer),
                ..view
            });
        }
        Ok(())
    }

    /// Commits a buffer as a new version; stored points under `masks` are removed.
    pub(crate) fn commit(
        &self,
        stream: &Stream,
        writer: &mut Writer,
        view: &View,
        buffer: &Buffer,
        masks: &Masks,
    ) -> Result<Version, Error> {
        let commit = self.plan(stream, view, buffer, masks)?;
        self.submit(vec![commit])?;
        Ok(self.finish(stream, writer, view, commit))
    }

    /// Appends the blocks of a new version, which becomes effective once it is submitted.
    fn plan(
        &self,
        stream: &Stream,
        view: &View,
        buffer: &Buffer,
        masks: &Masks,
    ) -> Result<Commit, Error> {
        let points = buffer.points();
        let edit = Edit {
            points: Slice::of(&points),
            masks,
        };
        let plan = edit_root(&self.segments, view.root, edit)?;
        Ok(Commit {
            stream: stream.id,
            major: view.major + 1,
            root: plan.map(|plan| self.segments.append(&plan)).transpose()?,
            wall_ns: self.clock.now_ns(),
        })
    }

    fn submit(&self, commits: Vec<Commit>) -> Result<(), Error> {
        self.commits
            .submit(commits, |groups| self.write_commits(&groups.concat()))
    }

    /// Publishes a submitted version to readers.
    fn finish(&self, stream: &Stream, writer: &mut Writer, view: &View, commit: Commit) -> Version {
        let view = View {
            major: commit.major,
            root: commit.root,
            buffer: Arc::default(),
            ..view.clone()
        };
        let version = view.version();
        self.replace(stream, writer, view);
        version
    }

    /// Publishes a view without journal inserts, and releases those.
    fn replace(&self, stream: &Stream, writer: &mut Writer, view: View) {
        stream.publish(view);
        writer.since_ns = None;
        self.journal.release(&std::mem::take(&mut writer.journal));
    }

    /// Syncs the blocks before it commits the roots. A crash between the two leaves unreferenced
    /// bytes, but never a root without blocks.
    fn write_commits(&self, commits: &[Commit]) -> Result<(), Error> {
        self.catalog_writer.commit(|catalog, record| {
            let lengths = self.segments.sync(CommitRecord {
                commits: commits.to_vec(),
                ..record
            })?;
            catalog.commit(commits, lengths.get())?;
            lengths.mark_recorded();
            Ok(())
        })
    }

    /// Commits the buffered points of a stream, if there are any.
    pub(crate) fn flush(&self, stream: &Stream) -> Result<Version, Error> {
        let mut writer = stream.writer.lock();
        self.flush_locked(stream, &mut writer)
    }

    fn flush_locked(&self, stream: &Stream, writer: &mut Writer) -> Result<Version, Error> {
        self.reconcile(stream, writer)?;
        let view = stream.view();
        if view.buffer.len() == 0 || view.is_gone {
            return Ok(view.version());
        }
        self.commit(stream, writer, &view, &view.buffer, view.buffer.masks())
    }

    /// Commits the buffer, then a version without the points in `[start, end)`.
    pub(crate) fn delete(&self, uuid: Uuid, start: i64, end: i64) -> Result<Version, Error> {
        let stream = self.stream(uuid)?;
        let mut writer = self.writer(&stream)?;
        self.flush_locked(&stream, &mut writer)?;
        let view = stream.view();
        let masks = Masks::of(start, end);
        self.commit(&stream, &mut writer, &view, &Buffer::default(), &masks)
    }

    /// Obliterates a stream.
    pub(crate) fn obliterate(&self, uuid: Uuid) -> Result<(), Error> {
        let stream = self.stream(uuid)?;
        let mut writer = self.writer(&stream)?;
        self.catalog_writer
            .change(|catalog| catalog.obliterate(uuid))?;
        self.remove(&stream, &mut writer);
        Ok(())
    }

    /// Removes a stream that is no longer in the catalog.
    fn remove(&self, stream: &Stream, writer: &mut Writer) {
        let view = View {
            is_gone: true,
            root: None,
            buffer: Arc::default(),
            ..stream.view()
        };
        self.streams.write().remove(&stream.uuid);
        self.note_readers(stream, &view);
        let guard = Arc::default();
        self.replace(stream, writer, View { guard, ..view });
    }

    fn all_streams(&self) -> Vec<Arc<Stream>> {
        self.streams.read().values().cloned().collect()
    }

    /// Commits the buffers whose oldest point has waited too long, or is in a journal file that
    /// exceeds the allowed length of the journal.
    pub(crate) fn flush_old(&self) -> Result<(), Error> {
        let limit = self
            .clock
            .now_ns()
            .saturating_sub(self.options.buffer_age_ns);
        let horizon = self.journal.horizon();
        let is_old = |writer: &Writer| {
            writer.since_ns.is_some_and(|since| since <= limit)
                || writer
                    .journal
                    .first()
                    .is_some_and(|(file, _)| *file <= horizon)
        };
        // A stream that is being written to is handled by the next run.
        self.flush_streams(|stream| stream.writer.try_lock().filter(|writer| is_old(writer)))
    }

    /// Commits the buffer of each stream separately; returns the errors.
    pub(crate) fn flush_each(&self) -> Vec<Error> {
        let streams = self.all_streams();
        let flushed = streams.iter().map(|stream| self.flush(stream));
        flushed.filter_map(Result::err).collect()
    }

    /// Commits every buffer, and makes later calls fail; repeated calls do nothing.
    pub(crate) fn close(&self) -> Result<(), Error> {
        if self.is_closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        self.flush_streams(|stream| Some(stream.writer.lock()))
    }

    /// Commits the buffers of the streams that `pick` locks, many of them in one sync.
    fn flush_streams(
        &self,
        pick: impl Fn(&Stream) -> Option<MutexGuard<'_, Writer>>,
    ) -> Result<(), Error> {
        for streams in self.all_streams().chunks(STREAMS_PER_SYNC) {
            let mut planned = Vec::new();
            let mut failed = Ok(());
            for stream in streams {
                let Some(mut writer) = pick(stream) else {
                    continue;
                };
                if stream.view().buffer.len() == 0 {
                    continue;
                }
                let reconciled = self.reconcile(stream, &mut writer);
                let view = stream.view();
                if reconciled.is_ok() && (view.buffer.len() == 0 || view.is_gone) {
                    continue;
                }
                let plan = || self.plan(stream, &view, &view.buffer, view.buffer.masks());
                match reconciled.and_then(|()| plan()) {
                    Ok(commit) => planned.push((stream, writer, view, commit)),
                    Err(error) => {
                        failed = Err(error);
                        break;
                    }
                }
            }
            if !planned.is_empty() {
                self.submit(planned.iter().map(|(_, _, _, commit)| *commit).collect())?;
            }
            for (stream, mut writer, view, commit) in planned {
                self.finish(stream, &mut writer, &view, commit);
            }
            failed?;
        }
        Ok(())
    }
}
