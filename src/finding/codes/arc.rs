//! Codes about WAL segments, and directories that archive them.

codes! {}
