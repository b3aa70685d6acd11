//! What forwarding a media packet costs beside arithmetic: nothing.

mod fixture;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use fixture::Fixture;
use model::SrtpSuite;

/// The system's allocator, which counts how often this thread asks it.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[allow(unsafe_code, reason = "an allocator has no other face")]
// SAFETY: everything is handed to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the promises of `GlobalAlloc::alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the promises of `GlobalAlloc::dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[test]
fn a_media_packet_is_forwarded_without_an_allocation() {
    let suites = [None, Some(SrtpSuite::AesCm128Sha1_80), Some(SrtpSuite::AeadAes128Gcm)];
    for near in suites {
        for far in suites {
            let mut fixture = Fixture::new(near, far);
            let first = fixture.next_packet();
            fixture.forward(&mut { first }); // the first one sets up what is kept of its source
            for _ in 0..1000 {
                let mut packet = fixture.next_packet();
                let before = ALLOCATIONS.get();
                fixture.forward(&mut packet);
                assert_eq!(ALLOCATIONS.get(), before, "{near:?} to {far:?}");
            }
        }
    }
}
