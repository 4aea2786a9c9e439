//! The data file: superblock, extents, page map, and the pages themselves.

mod page;

pub(crate) use page::{
    BLOB, BLOB_INDEX, FREE_MAP, INNER, LEAF, PAGE_HEADER, PAGE_MAP, PageAddr, PageId, header,
};
