//! Pools, blocks, affinities, handles: a request and what is stored become proposed writes.
