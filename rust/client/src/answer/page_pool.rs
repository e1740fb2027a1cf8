//! Memory of large columns, kept for the next ones.
//!
//! Most of what a large read costs is memory that nobody has touched before: the kernel clears each
//! page when it is first written. So what a caller has let go of is written again by the next read,
//! and fresh pages are asked for many at a time. What nobody wants for a while goes back to the
//! system.

use std::{
    io,
    sync::{Arc, Weak},
    time::Duration,
};

use memmap2::{MmapMut, MmapOptions};
use parking_lot::Mutex;
use tokio::{runtime::Handle, time::Instant};

use crate::fork::epoch;

/// How long memory is kept that nobody wants.
const KEPT_FOR: Duration = Duration::from_secs(10);

/// How much is kept at most.
const MOST: usize = 256 << 20;

/// How much fresh memory is asked for at a time; of that much, a column may need nothing.
const STEP: usize = 256 << 10;

/// What a block has room for, at least. Nothing of it is taken before it is written.
const ROOM: usize = 256 << 20;

/// Pages of one column.
#[derive(Debug)]
pub(crate) struct PageBuffer {
    pages: MmapMut,
    used: usize,
    /// How much of it was ever asked for: that much memory it takes.
    taken: usize,
}

impl PageBuffer {
    /// Pages of its own with room for so many bytes and more.
    fn new(room: usize) -> io::Result<Self> {
        let reserve = |room| MmapOptions::new().len(room).no_reserve_swap().map_anon();
        // Where even room that is not used is counted, there must not be more of it than is needed.
        let pages = reserve(room.max(ROOM)).or_else(|_| reserve(room))?;
        Ok(Self {
            pages,
            used: 0,
            taken: 0,
        })
    }

    pub(crate) const fn len(&self) -> usize {
        self.used
    }

    /// How many bytes fit in all.
    pub(crate) fn room(&self) -> usize {
        self.pages.len()
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.pages[..self.used]
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.pages[..self.used]
    }

    /// What it takes of the machine's memory.
    pub(crate) const fn memory(&self) -> usize {
        self.taken
    }

    /// Adds bytes for which there is room.
    pub(crate) fn extend(&mut self, bytes: &[u8]) {
        self.grow(bytes.len()).copy_from_slice(bytes);
    }

    /// So many bytes more, for which there is room, to be written.
    pub(crate) fn grow(&mut self, more: usize) -> &mut [u8] {
        let (start, end) = (self.used, self.used + more);
        if end > self.taken {
            self.take((end - self.taken).next_multiple_of(STEP));
        }
        self.used = end;
        &mut self.pages[start..end]
    }

    /// Asks for so many bytes more. The size of pages is the system's choice: large ones take less
    /// time where it has them, and many times as long on a virtual machine whose host took them
    /// back.
    fn take(&mut self, more: usize) {
        let more = more.min(self.pages.len() - self.taken);
        // A system that does not know this gives each page when it is first written.
        #[cfg(target_os = "linux")]
        let _ = self
            .pages
            .advise_range(memmap2::Advice::PopulateWrite, self.taken, more);
        self.taken += more;
    }

    /// Forgets all bytes but the first.
    pub(crate) fn truncate(&mut self, length: usize) {
        self.used = self.used.min(length);
    }
}

/// Blocks that are not in use.
#[derive(Debug)]
pub(crate) struct PagePool {
    state: Mutex<State>,
    /// Where memory is given back in time.
    runtime: Handle,
    epoch: u64,
}

#[derive(Debug)]
struct State {
    blocks: Vec<PageBuffer>,
    most: usize,
    last_use: Instant,
    is_watched: bool,
}

impl State {
    fn memory(&self) -> usize {
        self.blocks.iter().map(PageBuffer::memory).sum()
    }
}

impl PagePool {
    /// None yet. Must be called on the runtime.
    pub(crate) fn new() -> Self {
        Self {
            state: Mutex::new(State {
                blocks: Vec::new(),
                most: MOST,
                last_use: Instant::now(),
                is_watched: false,
            }),
            runtime: Handle::current(),
            epoch: epoch(),
        }
    }

    /// An empty block with room for so many bytes.
    pub(crate) fn block(&self, room: usize) -> io::Result<PageBuffer> {
        let mut state = self.state.lock();
        state.last_use = Instant::now();
        // The one that takes least: what it takes counts as this column's from now on.
        let all = state.blocks.iter().enumerate();
        let fitting = all.filter(|(_, block)| block.room() >= room);
        let fitting = fitting.min_by_key(|(_, block)| block.memory());
        let fitting = fitting.map(|(index, _)| index);
        let spare = fitting.map(|index| state.blocks.swap_remove(index));
        drop(state);
        spare.map_or_else(|| PageBuffer::new(room), Ok)
    }

    /// Keeps a block that is not used any more, or gives its memory back.
    pub(crate) fn keep(self: &Arc<Self>, mut block: PageBuffer) {
        block.used = 0;
        // In a child of a fork, where there is no runtime, and somebody may have held the lock.
        if self.epoch != epoch() {
            return;
        }
        let Some(mut state) = self.state.try_lock() else {
            return;
        };
        if state.memory() + block.memory() > state.most {
            drop(state);
            return;
        }
        state.blocks.push(block);
        state.last_use = Instant::now();
        if !std::mem::replace(&mut state.is_watched, true) {
            self.runtime.spawn(give_back(Arc::downgrade(self)));
        }
    }

    /// Lets go of what goes beyond so many bytes.
    pub(crate) fn shrink(&self, most: u64) {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let mut state = self.state.lock();
        let mut gone = Vec::new();
        while state.memory() > most {
            gone.extend(state.blocks.pop());
        }
        drop(state);
    }
}

/// Gives spare blocks back to the system once nobody has wanted any for a while.
async fn give_back(page_pool: Weak<PagePool>) {
    loop {
        tokio::time::sleep(KEPT_FOR).await;
        let Some(page_pool) = page_pool.upgrade() else {
            return;
        };
        let mut state = page_pool.state.lock();
        if state.last_use.elapsed() >= KEPT_FOR {
            state.is_watched = false;
            let gone = std::mem::take(&mut state.blocks);
            drop(state);
            drop(gone);
            return;
        }
    }
}

/// A block whose bytes somebody reads.
#[derive(Debug)]
pub(crate) struct PageBytes {
    block: Option<PageBuffer>,
    page_pool: Arc<PagePool>,
}

impl PageBytes {
    pub(crate) const fn new(block: PageBuffer, page_pool: Arc<PagePool>) -> Self {
        Self {
            block: Some(block),
            page_pool,
        }
    }
}

impl AsRef<[u8]> for PageBytes {
    fn as_ref(&self) -> &[u8] {
        self.block.as_ref().map_or(&[], PageBuffer::bytes)
    }
}

impl Drop for PageBytes {
    fn drop(&mut self) {
        if let Some(block) = self.block.take() {
            self.page_pool.keep(block);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_let_go_is_written_again_and_given_back_in_the_end() {
        let page_pool = Arc::new(PagePool::new());
        let mut block = page_pool.block(10).unwrap();
        block.extend(b"some");
        block.extend(b"thing");
        let start = block.bytes().as_ptr();
        let lent = PageBytes::new(block, Arc::clone(&page_pool));
        assert_eq!(lent.as_ref(), b"something");
        drop(lent);
        let again = page_pool.block(10).unwrap();
        assert_eq!((again.len(), again.memory()), (0, STEP));
        assert_eq!(again.pages.as_ptr(), start);
        page_pool.keep(again);
        tokio::time::sleep(KEPT_FOR * 3).await;
        assert_eq!(page_pool.state.lock().blocks.len(), 0);
        assert!(!page_pool.state.lock().is_watched);
    }

    #[tokio::test]
    async fn no_more_is_kept_than_is_allowed() {
        let page_pool = Arc::new(PagePool::new());
        let block = |bytes| {
            let mut block = PageBuffer::new(bytes).unwrap();
            block.extend(&vec![1; bytes]);
            block
        };
        page_pool.keep(block(STEP + 1));
        page_pool.keep(block(1));
        assert_eq!(page_pool.state.lock().memory(), 3 * STEP);
        assert_eq!(page_pool.block(1).unwrap().memory(), STEP);
        page_pool.shrink(u64::try_from(3 * STEP).unwrap());
        assert_eq!(page_pool.state.lock().memory(), 2 * STEP);
        page_pool.shrink(u64::try_from(STEP).unwrap());
        assert_eq!(page_pool.state.lock().memory(), 0);
        page_pool.state.lock().most = STEP;
        page_pool.keep(block(STEP + 1));
        assert_eq!(page_pool.state.lock().memory(), 0);
    }
}
