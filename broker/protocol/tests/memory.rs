//! Decoding takes at most 16 bytes of memory per byte of input and 64 KiB besides, whatever the input says.
//!
//! A counting allocator adds up what one decoding asks for; nothing is subtracted when it is freed, so the
//! figure is above the true peak.

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use support::{entries, golden};

struct Counting;

thread_local! {
    static ALLOCATED: Cell<usize> = const { Cell::new(0) };
}

fn count(size: usize) {
    // The thread's locals may be gone while it ends; nothing is measured then.
    let _ = ALLOCATED.try_with(|total| total.set(total.get().saturating_add(size)));
}

// SAFETY: every call goes unchanged to the system's allocator; counting touches a thread-local integer only.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's promises about `layout` are those that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: `pointer` came from `System` with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        // SAFETY: `pointer` came from `System` with this layout.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn check(
    name: &str,
    version: i16,
    bytes: &[u8],
    decode: fn(&[u8], i16) -> Result<usize, milena_protocol::DecodeError>,
) {
    let before = ALLOCATED.get();
    let found = decode(bytes, version);
    let taken = ALLOCATED.get() - before;
    let bound = 16 * bytes.len() + 64 * 1024;
    assert!(taken <= bound, "{name} {version} took {taken} bytes for {} ({found:?})", bytes.len());
}

#[test]
fn hostile_input_cannot_make_decoding_expensive() {
    // One byte over and over: as small elements, as small lengths, as lengths beyond the end.
    let mut inputs: Vec<Vec<u8>> =
        [0u8, 1, 2, 3, 4, 8, 16, 0x7f, 0xff].iter().map(|byte| vec![*byte; 64 * 1024]).collect();
    // Counts that claim as many elements as could stand in the rest, compact and plain.
    for offset in 0..40 {
        for (claim, filler) in
            [(vec![0x81, 0x80, 0x04], 1u8), (vec![0, 0, 0x80, 0], 0), (vec![0xff, 0xff, 0x03], 0)]
        {
            let mut input = vec![filler; 64 * 1024];
            input.splice(offset..offset + claim.len(), claim);
            inputs.push(input);
        }
    }
    for entry in entries() {
        for version in entry.versions {
            for input in &inputs {
                check(entry.name, version, input, entry.decode);
            }
        }
    }
}

#[test]
fn golden_lines_are_cheap() {
    let entries = entries();
    for line in golden() {
        let entry =
            entries.iter().find(|entry| entry.name == line.name).expect("every golden message exists");
        check(entry.name, line.version, &line.bytes, entry.decode);
    }
}
