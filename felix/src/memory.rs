//! Memory that the first lists took.

/// Gives the system back what the allocator keeps of it. Answers of a large cluster's lists come and go between values
/// that stay, and what is free among those would be the agent's for good.
#[allow(unsafe_code)]
pub(crate) fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes and returns no pointer, and holds the allocator's own locks.
    unsafe {
        nix::libc::malloc_trim(0);
    }
}
