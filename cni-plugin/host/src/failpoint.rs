//! Places at which a test lets the process die: the step tables of `cni-plugin/DESIGN.md` name them.

pub(crate) use ::failpoint::failpoint;
