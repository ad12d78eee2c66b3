//! pageinspect's functions for BRIN indexes: brinfuncs.c. `brin_page_items` is not here: it needs the types of the columns.

use super::{Function, PageInput, Row, header, some, special};
use crate::format::page::brin::{
    BRIN_PAGETYPE_META, BRIN_PAGETYPE_REGULAR, BRIN_PAGETYPE_REVMAP, BrinMetaPageData, BrinSpecialSpace,
    revmap_tids,
};
use crate::format::page::{PageHeaderData, PageKind};
use crate::format::reader::Reader;
use crate::pg::Major;

const CONTENTS: usize = 24;

pub(super) const BRIN_PAGE_TYPE: Function = Function {
    name: "brin_page_type",
    since: Major::V10,
    kind: Some(PageKind::Brin),
    columns: |_| &["brin_page_type"],
    rows: brin_page_type,
};

pub(super) const BRIN_METAPAGE_INFO: Function = Function {
    name: "brin_metapage_info",
    since: Major::V10,
    kind: Some(PageKind::Brin),
    columns: |_| &["magic", "version", "pagesperrange", "lastrevmappage"],
    rows: brin_metapage_info,
};

pub(super) const BRIN_REVMAP_DATA: Function = Function {
    name: "brin_revmap_data",
    since: Major::V10,
    kind: Some(PageKind::Brin),
    columns: |_| &["pages"],
    rows: brin_revmap_data,
};

fn page_type(input: &PageInput) -> Result<(PageHeaderData, u16), String> {
    let header = header(input)?;
    let special = special(input, &header, 8, BrinSpecialSpace::read);
    let special = special.ok_or("input page is not a valid BRIN page")?;
    Ok((header, special.page_type))
}

fn verified(input: &PageInput, wanted: u16, word: &str) -> Result<PageHeaderData, String> {
    let (header, page_type) = page_type(input)?;
    if page_type != wanted {
        return Err(format!("page is not a BRIN page of type \"{word}\""));
    }
    Ok(header)
}

fn brin_page_type(input: &PageInput) -> Result<Vec<Row>, String> {
    let word = match page_type(input)?.1 {
        BRIN_PAGETYPE_META => "meta".to_owned(),
        BRIN_PAGETYPE_REVMAP => "revmap".to_owned(),
        BRIN_PAGETYPE_REGULAR => "regular".to_owned(),
        unknown => format!("unknown ({unknown:02x})"),
    };
    Ok(vec![vec![Some(word)]])
}

fn brin_metapage_info(input: &PageInput) -> Result<Vec<Row>, String> {
    verified(input, BRIN_PAGETYPE_META, "metapage")?;
    let bytes = input.page.get(CONTENTS..).unwrap_or_default();
    let meta =
        BrinMetaPageData::read(&mut Reader::quick(bytes, input.abi)).map_err(|error| error.to_string())?;
    Ok(vec![vec![
        some(format!("0x{:08X}", meta.brin_magic)),
        some(meta.brin_version as i32),
        some(meta.pages_per_range as i32),
        some(meta.last_revmap_page),
    ]])
}

fn brin_revmap_data(input: &PageInput) -> Result<Vec<Row>, String> {
    let header = verified(input, BRIN_PAGETYPE_REVMAP, "revmap")?;
    Ok(revmap_tids(input.page, &header, input.abi).into_iter().map(|tid| vec![some(tid)]).collect())
}
