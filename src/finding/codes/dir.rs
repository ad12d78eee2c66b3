//! Codes about the data directory.

codes! {}
