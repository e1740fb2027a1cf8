//! What an engine and its background thread share: inserting and committing.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{MutexGuard, RwLock};
use pingthings_types::{MergePolicy, Points, Version, check_insert_time};
use uuid::Uuid;

use crate::blocks::Blocks;
use crate::buffer::Buffer;
use crate::catalog::{Catalog, Commit};
use crate::columns::Slice;
use crate::columns::sort_by_time;
use crate::group::Group;
use crate::journal::Journal;
use crate::live::{Stream, View, Writer};
use crate::masks::Masks;
use crate::merge::{Existing, apply};
use crate::reclaim::Reclaim;
use crate::segment::Segments;
use crate::tree::{Edit, edit_root};
use crate::{Clock, Error, Options};

/// Everything that is open.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) blocks: Arc<dyn Blocks>,
    pub(crate) segments: Arc<Segments>,
    pub(crate) catalog: Arc<dyn Catalog>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) options: Options,
    pub(crate) journal: Journal,
    commits: Group<Commit, ()>,
    streams: RwLock<HashMap<Uuid, Arc<Stream>>>,
    is_closed: AtomicBool,
    pub(crate) reclaim: Reclaim,
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
        clock: Arc<dyn Clock>,
        options: Options,
        journal: Journal,
    ) -> Self {
        Self {
            blocks,
            segments: Arc::new(segments),
            catalog,
            clock,
            options,
            journal,
            commits: Group::default(),
            streams: RwLock::default(),
            is_closed: AtomicBool::new(false),
            reclaim: Reclaim::default(),
        }
    }

    /// Refuses once the engine is closed.
    pub(crate) fn check_open(&self) -> Result<(), Error> {
        if self.is_closed.load(Ordering::Acquire) {
            Err(Error::Closed)
        } else {
            Ok(())
        }
    }

    /// The stream with this uuid, read from the catalog at its first use.
    pub(crate) fn stream(&self, uuid: Uuid) -> Result<Arc<Stream>, Error> {
        if let Some(stream) = self.streams.read().get(&uuid) {
            return Ok(Arc::clone(stream));
        }
        // The catalog is asked under the lock: a stream must not come in at an old version while
        // another thread brings it in and commits.
        let mut streams = self.streams.write();
        if let Some(stream) = streams.get(&uuid) {
            return Ok(Arc::clone(stream));
        }
        let stream = Arc::new(Stream::new(self.catalog.head(uuid)?));
        streams.insert(uuid, Arc::clone(&stream));
        Ok(stream)
    }

    /// Takes the lock writers take.
    fn writer<'a>(&self, uuid: Uuid, stream: &'a Stream) -> Result<MutexGuard<'a, Writer>, Error> {
        let writer = stream.writer.lock();
        self.check_open()?;
        if stream.view().is_gone {
            return Err(Error::NoSuchStream { uuid });
        }
        Ok(writer)
    }

    /// Adds points, all or none; see [`crate::Engine::insert`].
    pub(crate) fn insert(
        &self,
        uuid: Uuid,
        mut points: Points,
        policy: MergePolicy,
    ) -> Result<Version, Error> {
        check_points(uuid, &points)?;
        let stream = self.stream(uuid)?;
        sort_by_time(&mut points);
        let mut writer = self.writer(uuid, &stream)?;
        let view = stream.view();
        let existing = Existing {
            segments: &self.segments,
            root: view.root,
            buffer: &view.buffer,
        };
        // The journal keeps what was asked for, not what came of it: replayed over the same
        // version it comes to the same.
        let asked = if view.buffer.len() + points.len() < self.options.buffer_points {
            Some(points.clone())
        } else {
            None
        };
        let Some(buffer) = apply(existing, points, policy)? else {
            return Ok(view.version());
        };
        match asked {
            Some(asked) => {
                let file = self.journal.insert(uuid, view.major, policy, &asked)?;
                writer.note(file, self.clock.now_ns());
                let view = View {
                    buffer: Arc::new(buffer),
                    ..view
                };
                let version = view.version();
                stream.publish(view);
                Ok(version)
            }
            // A full buffer goes straight into the tree: that is durable too, and cheaper than
            // writing the points twice.
            None => self.commit(&stream, &mut writer, &view, &buffer, buffer.masks()),
        }
    }

    /// Counts an insert found in the journal as buffered, if its version was not committed since.
    pub(crate) fn replay(&self, file: u32, insert: crate::format::Insert) -> Result<(), Error> {
        let stream = match self.stream(insert.uuid) {
            Err(Error::NoSuchStream { .. }) => return Ok(()),
            other => other?,
        };
        let mut writer = stream.writer.lock();
        let view = stream.view();
        if view.major != insert.major {
            return Ok(());
        }
        let existing = Existing {
            segments: &self.segments,
            root: view.root,
            buffer: &view.buffer,
        };
        let mut points = insert.points;
        sort_by_time(&mut points);
        if let Some(buffer) = apply(existing, points, insert.policy)? {
            self.journal.recovered(file);
            writer.note(file, self.clock.now_ns());
            stream.publish(View {
                buffer: Arc::new(buffer),
                ..view
            });
        }
        Ok(())
    }

    /// Writes a buffer into the tree as a new version; stored points under `masks` go.
    pub(crate) fn commit(
        &self,
        stream: &Stream,
        writer: &mut Writer,
        view: &View,
        buffer: &Buffer,
        masks: &Masks,
    ) -> Result<Version, Error> {
        let points = buffer.points();
        let edit = Edit {
            points: Slice::of(&points),
            masks,
        };
        let plan = edit_root(&self.segments, view.root, edit)?;
        let root = plan.map(|plan| self.segments.append(&plan)).transpose()?;
        let major = view.major + 1;
        let commit = Commit {
            stream: stream.id,
            major,
            root,
            wall_ns: self.clock.now_ns(),
        };
        self.commits
            .submit(commit, |commits| self.write_commits(&commits))?;
        let view = View {
            major,
            root,
            buffer: Arc::default(),
            ..view.clone()
        };
        let version = view.version();
        stream.publish(view);
        writer.since_ns = None;
        self.journal.release(&std::mem::take(&mut writer.journal));
        Ok(version)
    }

    /// Blocks first, then the roots that lead to them: a crash between the two leaves bytes that
    /// nothing refers to, never a root that leads nowhere.
    fn write_commits(&self, commits: &[Commit]) -> Result<(), Error> {
        let lengths = self.segments.sync()?;
        self.catalog
            .commit(commits, &lengths)
            .inspect_err(|_| self.segments.not_recorded(lengths.clone()))
    }

    /// Commits the buffered points of a stream, if there are any.
    pub(crate) fn flush(&self, stream: &Stream) -> Result<Version, Error> {
        let mut writer = stream.writer.lock();
        self.flush_locked(stream, &mut writer)
    }

    fn flush_locked(&self, stream: &Stream, writer: &mut Writer) -> Result<Version, Error> {
        let view = stream.view();
        if view.buffer.len() == 0 || view.is_gone {
            return Ok(view.version());
        }
        self.commit(stream, writer, &view, &view.buffer, view.buffer.masks())
    }

    /// Commits what is buffered, then a version without the points in `[start, end)`.
    pub(crate) fn delete(&self, uuid: Uuid, start: i64, end: i64) -> Result<Version, Error> {
        let stream = self.stream(uuid)?;
        let mut writer = self.writer(uuid, &stream)?;
        self.flush_locked(&stream, &mut writer)?;
        let view = stream.view();
        let masks = Masks::of(start, end);
        self.commit(&stream, &mut writer, &view, &Buffer::default(), &masks)
    }

    /// Forgets a stream and burns its uuid.
    pub(crate) fn obliterate(&self, uuid: Uuid) -> Result<(), Error> {
        let stream = self.stream(uuid)?;
        let mut writer = self.writer(uuid, &stream)?;
        self.catalog.obliterate(uuid)?;
        let view = View {
            is_gone: true,
            root: None,
            buffer: Arc::default(),
            ..stream.view()
        };
        self.release(&stream, view);
        self.streams.write().remove(&uuid);
        writer.since_ns = None;
        self.journal.release(&std::mem::take(&mut writer.journal));
        Ok(())
    }

    fn all_streams(&self) -> Vec<Arc<Stream>> {
        self.streams.read().values().cloned().collect()
    }

    /// Commits the buffers whose oldest point has waited too long.
    pub(crate) fn flush_old(&self) -> Result<(), Error> {
        let limit = self
            .clock
            .now_ns()
            .saturating_sub(self.options.buffer_age_ns);
        for stream in self.all_streams() {
            // A stream that is being written to will be looked at the next time.
            if let Some(mut writer) = stream.writer.try_lock()
                && writer.since_ns.is_some_and(|since| since <= limit)
            {
                self.flush_locked(&stream, &mut writer)?;
            }
        }
        Ok(())
    }

    /// Commits every buffer and refuses further calls; repeating it changes nothing.
    pub(crate) fn close(&self) -> Result<(), Error> {
        if self.is_closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        self.all_streams()
            .iter()
            .try_for_each(|stream| self.flush(stream).map(|_| ()))
    }
}
