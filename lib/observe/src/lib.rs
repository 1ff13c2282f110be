//! Logging, metrics, health, shutdown, the local status socket.
