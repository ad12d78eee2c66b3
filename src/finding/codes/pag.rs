//! Codes about data pages.

codes! {}
