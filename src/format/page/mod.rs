//! Data pages: what every one has in front ([`header`]), what tells the kinds apart ([`kind`]), whether the tuples of
//! a page agree with its line pointers ([`items`]), and what each byte of it is ([`explain`]).

pub mod bloom;
pub mod brin;
pub mod btree;
pub mod explain;
pub mod fsm;
pub mod gin;
pub mod gin_posting;
pub mod gist;
pub mod hash;
pub mod header;
pub mod heap;
pub mod heap_tuple;
pub mod index_tuple;
pub mod items;
pub mod kind;
pub mod map;
pub mod pageinspect;
pub mod spgist;
mod vm;

pub use header::PageHeaderData;
pub use heap_tuple::HeapTupleHeader;
pub use kind::PageKind;
