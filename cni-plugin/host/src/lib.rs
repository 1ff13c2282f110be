//! What ADD, DEL and CHECK do: address, kernel, endpoint.
