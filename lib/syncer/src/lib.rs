//! Lists and watch events in, a consistent stream of changes out.
