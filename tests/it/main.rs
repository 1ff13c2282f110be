//! The workspace's one integration test binary; modules by theme.

mod law;
