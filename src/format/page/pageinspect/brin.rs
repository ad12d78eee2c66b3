//! pageinspect's functions for BRIN indexes: brinfuncs.c.

use super::{Function, PageInput, Row, header, some, special, stored, truth};
use crate::format::datum::{Output, column};
use crate::format::page::brin::{
    BRIN_EMPTY_RANGE_MASK, BRIN_NULLS_MASK, BRIN_OFFSET_MASK, BRIN_PAGETYPE_META, BRIN_PAGETYPE_REGULAR,
    BRIN_PAGETYPE_REVMAP, BRIN_PLACEHOLDER_MASK, BrinMetaPageData, BrinSpecialSpace, TUPLE_HEADER,
    revmap_tids,
};
use crate::format::page::items::{ItemId, LpFlags, line_pointers};
use crate::format::page::{PageHeaderData, PageKind};
use crate::format::pg_type::IndexColumns;
use crate::format::reader::{Data, Reader};
use crate::pg::{Major, Oid};

const CONTENTS: usize = 24;

/// What an operator class stores for each column, by its support function `opcInfo`; 0: the type of the column.
const STORED: &[(Oid, &[Oid])] = &[
    // brin_minmax_opcinfo
    (3383, &[0, 0]),
    // brin_inclusion_opcinfo: the union, and two booleans
    (4105, &[0, 16, 16]),
    // brin_minmax_multi_opcinfo: pg_brin_minmax_multi_summary
    (4616, &[4601]),
    // brin_bloom_opcinfo: pg_brin_bloom_summary
    (4591, &[4600]),
];

pub(super) const BRIN_PAGE_ITEMS: Function = Function {
    name: "brin_page_items",
    since: Major::V10,
    kind: Some(PageKind::Brin),
    takes_range: false,
    columns: |major| {
        if major >= Major::V16 {
            &["itemoffset", "blknum", "attnum", "allnulls", "hasnulls", "placeholder", "empty", "value"]
        } else {
            &["itemoffset", "blknum", "attnum", "allnulls", "hasnulls", "placeholder", "value"]
        }
    },
    rows: brin_page_items,
};

pub(super) const BRIN_PAGE_TYPE: Function = Function {
    name: "brin_page_type",
    since: Major::V10,
    kind: Some(PageKind::Brin),
    takes_range: false,
    columns: |_| &["brin_page_type"],
    rows: brin_page_type,
};

pub(super) const BRIN_METAPAGE_INFO: Function = Function {
    name: "brin_metapage_info",
    since: Major::V10,
    kind: Some(PageKind::Brin),
    takes_range: false,
    columns: |_| &["magic", "version", "pagesperrange", "lastrevmappage"],
    rows: brin_metapage_info,
};

pub(super) const BRIN_REVMAP_DATA: Function = Function {
    name: "brin_revmap_data",
    since: Major::V10,
    kind: Some(PageKind::Brin),
    takes_range: false,
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

fn brin_page_items(input: &PageInput) -> Result<Vec<Row>, String> {
    let header = verified(input, BRIN_PAGETYPE_REGULAR, "regular")?;
    let index = (input.index)()?;
    let mut rows = Vec::new();
    for (item, id) in line_pointers(input.page, &header, input.abi) {
        if id.lp_flags == LpFlags::Unused {
            let mut row = vec![None; (BRIN_PAGE_ITEMS.columns)(input.major).len() - 1];
            row.insert(0, some(item));
            rows.push(row);
        } else {
            rows.extend(summary(input, &index, item, id).map_err(|why| format!("item {item}: {why}"))?);
        }
    }
    Ok(rows)
}

/// A row for each column.
fn summary(input: &PageInput, index: &IndexColumns, item: u16, id: ItemId) -> Result<Vec<Row>, String> {
    let outside = || "is not within the page".to_owned();
    let bytes = input.page.get(id.bytes()).ok_or_else(outside)?;
    let tuple = Data { bytes, big_endian: input.abi.big_endian };
    let (block, info) = tuple.u32(0).zip(tuple.u8(4)).ok_or_else(outside)?;
    let has = |mask: u8| info & mask != 0;
    let count = index.columns.len();
    // A set bit is a null.
    let bit = |number: usize| {
        let byte = tuple.u8(TUPLE_HEADER + number / 8).unwrap_or(0);
        has(BRIN_NULLS_MASK) && byte >> (number % 8) & 1 != 0
    };
    let values = tuple.from((info & BRIN_OFFSET_MASK).into());
    let mut at = 0;
    let mut rows = Vec::new();
    for number in 0..count {
        let all_nulls = bit(number);
        let value =
            if all_nulls { None } else { Some(stored_values(input, index, number, values, &mut at)?) };
        let mut row = vec![
            some(item),
            if input.major >= Major::V14 { some(block) } else { some(block as i32) },
            some(number + 1),
            truth(all_nulls),
            truth(!all_nulls && bit(count + number)),
            truth(has(BRIN_PLACEHOLDER_MASK)),
        ];
        if input.major >= Major::V16 {
            row.push(truth(has(BRIN_EMPTY_RANGE_MASK)));
        }
        row.push(value);
        rows.push(row);
    }
    Ok(rows)
}

/// `{1 .. 7}`: what the operator class stores of one column.
fn stored_values(
    input: &PageInput,
    index: &IndexColumns,
    number: usize,
    values: Data,
    at: &mut usize,
) -> Result<String, String> {
    let named = |why: &str| format!("column {}: {why}", number + 1);
    let of_index = index.columns.get(number).ok_or_else(|| named("is not in pg_attribute"))?;
    let (_, types) = STORED.iter().find(|(function, _)| *function == of_index.support).ok_or_else(|| {
        named(&format!("what its operator class stores is not known here (opcInfo {})", of_index.support))
    })?;
    let output = Output { major: input.major, abi: input.abi, types: &index.types };
    let mut texts = Vec::new();
    for type_oid in *types {
        let type_oid = if *type_oid == 0 { of_index.attribute.atttypid } else { *type_oid };
        let layout = index.types.layout(type_oid);
        let layout = layout.ok_or_else(|| named(&format!("type {type_oid} is not in pg_type")))?;
        let (column, next) =
            column(values, *at, layout, input.abi).ok_or_else(|| named("does not fit into the entry"))?;
        let value = stored(&column).map_err(|why| named(&why))?;
        texts.push(output.text(type_oid, &value).map_err(|why| named(&why.to_string()))?);
        *at = next;
    }
    Ok(format!("{{{}}}", texts.join(" .. ")))
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
