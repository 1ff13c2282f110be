//! The workspace's one integration test binary; modules by theme. All but `law` run real programs as root.

mod golden;
mod law;
