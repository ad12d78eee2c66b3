//! Codes about timelines and their history files.

codes! {}
