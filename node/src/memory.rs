//! Where the parts have their memory from.

/// What is larger goes back to the system as soon as it is free, in bytes: the allocator's own first choice, which it would raise with
/// the first large list.
#[cfg(target_env = "gnu")]
const LARGE: nix::libc::c_int = 128 << 10;

/// Lets all threads have it from one place; to be called while there is one thread. Else each part's thread has a place of its own,
/// which keeps what that part's first lists needed and no part needs again: a fifth of what the agent of a large cluster holds.
#[allow(unsafe_code)]
pub(crate) fn share() {
    #[cfg(target_env = "gnu")]
    // SAFETY: neither takes or returns a pointer; each sets a number of the allocator's.
    unsafe {
        nix::libc::mallopt(nix::libc::M_ARENA_MAX, 1);
        nix::libc::mallopt(nix::libc::M_MMAP_THRESHOLD, LARGE);
    }
}
