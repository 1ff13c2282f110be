//! What a speaker knows and tells: Adj-RIB-In, decision, policy, reflection, groups of Adj-RIB-Out, changes for the FIB.

pub mod policy;
