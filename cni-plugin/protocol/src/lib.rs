//! CNI configuration, arguments, results, errors of every version.
