//! Identifiers as the server quotes them.

use super::Major;

/// Key words that are not free to be names, of every major from 14 on.
#[rustfmt::skip]
const RESERVED: &[&str] = &[
    "all", "analyse", "analyze", "and", "any", "array", "as", "asc", "asymmetric", "authorization",
    "between", "bigint", "binary", "bit", "boolean", "both", "case", "cast", "char", "character", "check",
    "coalesce", "collate", "collation", "column", "concurrently", "constraint", "create", "cross",
    "current_catalog", "current_date", "current_role", "current_schema", "current_time",
    "current_timestamp", "current_user", "dec", "decimal", "default", "deferrable", "desc", "distinct",
    "do", "else", "end", "except", "exists", "extract", "false", "fetch", "float", "for", "foreign",
    "freeze", "from", "full", "grant", "greatest", "group", "grouping", "having", "ilike", "in",
    "initially", "inner", "inout", "int", "integer", "intersect", "interval", "into", "is", "isnull",
    "join", "lateral", "leading", "least", "left", "like", "limit", "localtime", "localtimestamp",
    "national", "natural", "nchar", "none", "normalize", "not", "notnull", "null", "nullif", "numeric",
    "offset", "on", "only", "or", "order", "out", "outer", "overlaps", "overlay", "placing", "position",
    "precision", "primary", "real", "references", "returning", "right", "row", "select", "session_user",
    "setof", "similar", "smallint", "some", "substring", "symmetric", "table", "tablesample", "then",
    "time", "timestamp", "to", "trailing", "treat", "trim", "true", "union", "unique", "user", "using",
    "values", "varchar", "variadic", "verbose", "when", "where", "window", "with", "xmlattributes",
    "xmlconcat", "xmlelement", "xmlexists", "xmlforest", "xmlnamespaces", "xmlparse", "xmlpi", "xmlroot",
    "xmlserialize", "xmltable",
];

/// Those that came later.
const RESERVED_SINCE: &[(Major, &[&str])] = &[
    (Major::V16, &["json_array", "json_arrayagg", "json_object", "json_objectagg", "system_user"]),
    (
        Major::V17,
        &[
            "json",
            "json_exists",
            "json_query",
            "json_scalar",
            "json_serialize",
            "json_table",
            "json_value",
            "merge_action",
        ],
    ),
];

/// `quote_identifier`, from 14 on: names that the parser would read otherwise stand in quotes.
pub fn quote_identifier(name: &str, major: Major) -> String {
    let first = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    let plain = name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'));
    let later = RESERVED_SINCE.iter().filter(|(since, _)| *since <= major);
    let reserved = RESERVED.iter().chain(later.flat_map(|(_, words)| words.iter())).any(|word| *word == name);
    if first && plain && !reserved {
        return name.to_owned();
    }
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_need_quotes() {
        let quoted = |name| quote_identifier(name, Major::V16);
        for plain in ["a", "_a1", "id", "name", "json"] {
            assert_eq!(quoted(plain), plain);
        }
        assert_eq!(quoted("between"), "\"between\"");
        assert_eq!(quoted("A"), "\"A\"");
        assert_eq!(quoted("1a"), "\"1a\"");
        assert_eq!(quoted("ü"), "\"ü\"");
        assert_eq!(quoted("a\"b"), "\"a\"\"b\"");
        assert_eq!(quote_identifier("json", Major::V17), "\"json\"");
        assert_eq!(quote_identifier("system_user", Major::V15), "system_user");
    }
}
