//! The memory oracle: an allocator that counts what the current thread asks for.
//!
//! Memory that C code takes (the zstd library, libFuzzer itself) is not seen here; libFuzzer's own limit on the
//! resident size watches that.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// Bytes of memory that decoding may take, for input of `size` bytes: the bound of `milena-protocol`.
pub fn decoding_bound(size: usize) -> usize {
    16 * size + (64 << 10)
}

/// The allocator of every target.
pub struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

thread_local! {
    static TAKEN: Cell<Taken> = const { Cell::new(Taken { total: 0, live: 0, peak: 0 }) };
}

#[derive(Clone, Copy)]
struct Taken {
    total: usize,
    /// Signed, because a thread may free what it took before it was measured, or what another one took.
    live: isize,
    peak: isize,
}

fn count(taken: usize, freed: usize) {
    // The thread's locals may be gone while it ends; nothing is measured then.
    let _ = TAKEN.try_with(|cell| {
        let Taken { total, live, peak } = cell.get();
        let live = live.wrapping_add_unsigned(taken).wrapping_sub_unsigned(freed);
        cell.set(Taken { total: total.saturating_add(taken), live, peak: peak.max(live) });
    });
}

// SAFETY: every call goes unchanged to the system's allocator; counting touches a thread-local value only.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: the caller's promises about `layout` are those that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: as in `alloc`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(0, layout.size());
        // SAFETY: `pointer` came from `System` with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size, layout.size());
        // SAFETY: `pointer` came from `System` with this layout.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// What `work` asked for, added up, with nothing subtracted for what was freed: above the true peak.
pub fn total<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = TAKEN.get().total;
    let result = work();
    (result, TAKEN.get().total.saturating_sub(before))
}

/// The most that `work` held at a time.
pub fn peak<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = TAKEN.get();
    TAKEN.set(Taken { peak: before.live, ..before });
    let result = work();
    let after = TAKEN.get();
    TAKEN.set(Taken { peak: after.peak.max(before.peak), ..after });
    (result, usize::try_from(after.peak - before.live).unwrap_or(0))
}
