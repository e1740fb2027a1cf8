//! The memory of large columns, which is pooled for later reads.
//!
//! Most of the cost of a large read is fresh memory, because the kernel clears each page when it is
//! first written. So the next read reuses the memory that a caller has released, and fresh pages
//! are requested many at a time. Memory that is not used for a while is returned to the system.

use std::{
    io,
    sync::{Arc, Weak},
    time::Duration,
};

use memmap2::{MmapMut, MmapOptions};
use parking_lot::Mutex;
use tokio::{runtime::Handle, time::Instant};

use crate::fork::epoch;

/// How long unused memory is kept.
const IDLE_TIME: Duration = Duration::from_secs(10);

/// Maximum size of the unused memory.
const MAX_BYTES: usize = 256 << 20;

/// How much fresh memory is requested at a time. At most this much of a column is unused.
const GROWTH_BYTES: usize = 256 << 10;

/// The minimum address space of a buffer. It takes no memory until it is written.
const MIN_ADDRESS_SPACE: usize = 256 << 20;

/// A buffer of memory pages, for one column.
#[derive(Debug)]
pub(crate) struct PageBuffer {
    pages: MmapMut,
    used: usize,
    /// Size of the part that was ever requested from the system. This is the memory that the buffer
    /// uses.
    taken: usize,
}

impl PageBuffer {
    /// Reserves address space for at least this many bytes.
    fn new(room: usize) -> io::Result<Self> {
        let reserve = |room| MmapOptions::new().len(room).no_reserve_swap().map_anon();
        // Some systems count reserved address space as memory. There, only the required size is
        // reserved.
        let pages = reserve(room.max(MIN_ADDRESS_SPACE)).or_else(|_| reserve(room))?;
        Ok(Self {
            pages,
            used: 0,
            taken: 0,
        })
    }

    pub(crate) const fn len(&self) -> usize {
        self.used
    }

    /// The maximum number of bytes.
    pub(crate) fn room(&self) -> usize {
        self.pages.len()
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.pages[..self.used]
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.pages[..self.used]
    }

    /// The memory that the buffer uses.
    pub(crate) const fn memory(&self) -> usize {
        self.taken
    }

    /// Appends bytes, for which there must be room.
    pub(crate) fn extend(&mut self, bytes: &[u8]) {
        self.grow(bytes.len()).copy_from_slice(bytes);
    }

    /// Appends bytes, for which there must be room, and returns them to be written.
    pub(crate) fn grow(&mut self, more: usize) -> &mut [u8] {
        let (start, end) = (self.used, self.used + more);
        if end > self.taken {
            self.take((end - self.taken).next_multiple_of(GROWTH_BYTES));
        }
        self.used = end;
        &mut self.pages[start..end]
    }

    /// Requests more memory. The size of the pages is left to the system. Huge pages are faster if
    /// the system has them, but many times slower on a virtual machine whose host has reclaimed
    /// them.
    fn take(&mut self, more: usize) {
        let more = more.min(self.pages.len() - self.taken);
        // Systems without this call provide each page when it is first written.
        #[cfg(target_os = "linux")]
        let _ = self
            .pages
            .advise_range(memmap2::Advice::PopulateWrite, self.taken, more);
        self.taken += more;
    }

    /// Keeps only the first `length` bytes.
    pub(crate) fn truncate(&mut self, length: usize) {
        self.used = self.used.min(length);
    }
}

/// Unused buffers.
#[derive(Debug)]
pub(crate) struct PagePool {
    state: Mutex<State>,
    /// The runtime of the task that returns memory to the system.
    runtime: Handle,
    epoch: u64,
}

#[derive(Debug)]
struct State {
    buffers: Vec<PageBuffer>,
    most: usize,
    last_use: Instant,
    has_timer: bool,
}

impl State {
    fn memory(&self) -> usize {
        self.buffers.iter().map(PageBuffer::memory).sum()
    }
}

impl PagePool {
    /// Creates an empty pool. Must be called on the runtime.
    pub(crate) fn new() -> Self {
        Self {
            state: Mutex::new(State {
                buffers: Vec::new(),
                most: MAX_BYTES,
                last_use: Instant::now(),
                has_timer: false,
            }),
            runtime: Handle::current(),
            epoch: epoch(),
        }
    }

    /// An empty buffer with room for this many bytes.
    pub(crate) fn get(&self, room: usize) -> io::Result<PageBuffer> {
        let mut state = self.state.lock();
        state.last_use = Instant::now();
        // The smallest one, because its memory counts as that of the new column.
        let all = state.buffers.iter().enumerate();
        let found = all.filter(|(_, block)| block.room() >= room);
        let found = found.min_by_key(|(_, block)| block.memory());
        let found = found.map(|(index, _)| index);
        let spare = found.map(|index| state.buffers.swap_remove(index));
        drop(state);
        spare.map_or_else(|| PageBuffer::new(room), Ok)
    }

    /// Takes back a buffer that is no longer used. It is released if the pool is full.
    pub(crate) fn put(self: &Arc<Self>, mut block: PageBuffer) {
        block.used = 0;
        // The child of a fork has no runtime, and a thread of the parent may have held the lock.
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
        state.buffers.push(block);
        state.last_use = Instant::now();
        if !std::mem::replace(&mut state.has_timer, true) {
            self.runtime.spawn(release_when_idle(Arc::downgrade(self)));
        }
    }

    /// Releases unused buffers until they use at most `most` bytes.
    pub(crate) fn shrink(&self, most: u64) {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let mut state = self.state.lock();
        let mut gone = Vec::new();
        while state.memory() > most {
            gone.extend(state.buffers.pop());
        }
        drop(state);
    }
}

/// Returns unused buffers to the system when none was needed for a while.
async fn release_when_idle(page_pool: Weak<PagePool>) {
    loop {
        tokio::time::sleep(IDLE_TIME).await;
        let Some(page_pool) = page_pool.upgrade() else {
            return;
        };
        let mut state = page_pool.state.lock();
        if state.last_use.elapsed() >= IDLE_TIME {
            state.has_timer = false;
            let gone = std::mem::take(&mut state.buffers);
            drop(state);
            drop(gone);
            return;
        }
    }
}

/// The bytes of a finished column. Dropping them returns the buffer to the pool.
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
            self.page_pool.put(block);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn released_memory_is_reused_and_finally_returned() {
        let page_pool = Arc::new(PagePool::new());
        let mut block = page_pool.get(10).unwrap();
        block.extend(b"some");
        block.extend(b"thing");
        let start = block.bytes().as_ptr();
        let column = PageBytes::new(block, Arc::clone(&page_pool));
        assert_eq!(column.as_ref(), b"something");
        drop(column);
        let again = page_pool.get(10).unwrap();
        assert_eq!((again.len(), again.memory()), (0, GROWTH_BYTES));
        assert_eq!(again.pages.as_ptr(), start);
        page_pool.put(again);
        tokio::time::sleep(IDLE_TIME * 3).await;
        assert_eq!(page_pool.state.lock().buffers.len(), 0);
        assert!(!page_pool.state.lock().has_timer);
    }

    #[tokio::test]
    async fn the_size_of_the_pool_is_limited() {
        let page_pool = Arc::new(PagePool::new());
        let block = |bytes| {
            let mut block = PageBuffer::new(bytes).unwrap();
            block.extend(&vec![1; bytes]);
            block
        };
        page_pool.put(block(GROWTH_BYTES + 1));
        page_pool.put(block(1));
        assert_eq!(page_pool.state.lock().memory(), 3 * GROWTH_BYTES);
        assert_eq!(page_pool.get(1).unwrap().memory(), GROWTH_BYTES);
        page_pool.shrink(u64::try_from(3 * GROWTH_BYTES).unwrap());
        assert_eq!(page_pool.state.lock().memory(), 2 * GROWTH_BYTES);
        page_pool.shrink(u64::try_from(GROWTH_BYTES).unwrap());
        assert_eq!(page_pool.state.lock().memory(), 0);
        page_pool.state.lock().most = GROWTH_BYTES;
        page_pool.put(block(GROWTH_BYTES + 1));
        assert_eq!(page_pool.state.lock().memory(), 0);
    }
}
