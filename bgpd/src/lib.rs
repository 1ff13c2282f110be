//! The BGP speaker of a node, or of a router without one.
