//! Evaluating a selector takes no memory: counted by the allocator of this test program.

#![allow(clippy::expect_used, clippy::indexing_slicing)] // a test program: a broken expectation is a failed test

use ocicat_selector::Selector;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

#[allow(unsafe_code)]
// SAFETY: every call goes to the system's allocator with the caller's arguments; counting touches only a
// thread-local cell that needs no memory of its own.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|n| n.set(n.get() + 1));
        // SAFETY: as above.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations_of(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.with(Cell::get);
    work();
    ALLOCATIONS.with(Cell::get) - before
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations_of(|| drop(std::hint::black_box(Box::new(1)))), 1);
}

#[test]
fn evaluation_does_not_allocate() {
    let selector = Selector::parse(
        "a == 'x' && b in {'1','2','3'} && !(has(c) || d contains 'ab' || e starts with 'q') \
         || (f ends with 'z' || g not in {'u','v'}) && all() && global() && !!h != 'w'",
    )
    .expect("a selector");
    let pairs = [("a", "x"), ("b", "2"), ("d", "xaby"), ("f", "xyz"), ("h", "w")];
    let vec: Vec<(String, String)> = pairs.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
    let tree: BTreeMap<String, String> = vec.iter().cloned().collect();
    let hash: HashMap<String, String> = vec.iter().cloned().collect();
    let mut verdicts = 0;
    let count = allocations_of(|| {
        for _ in 0..100 {
            verdicts += u32::from(selector.matches(&pairs));
            verdicts += u32::from(selector.matches(&vec));
            verdicts += u32::from(selector.matches(&tree));
            verdicts += u32::from(selector.matches(&hash));
        }
    });
    assert_eq!(count, 0);
    assert!(verdicts == 0 || verdicts == 400, "the containers disagree");
}
