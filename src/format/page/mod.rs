//! Data pages: what every one has in front ([`header`]), what tells the kinds apart ([`kind`]), and
//! whether the tuples of a page agree with its line pointers ([`items`]).

pub mod header;
pub mod items;
pub mod kind;

pub use header::PageHeaderData;
pub use kind::PageKind;
