//! The BGP session state machine, without a socket and without a clock.
