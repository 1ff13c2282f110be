//! From one node's view of Calico's resources to what its speaker shall do.
