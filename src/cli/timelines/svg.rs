//! The drawing as SVG: one file, no scripts, no links, readable in every browser. Positions and names are in the text of
//! the picture and, for the mouse, in titles.

use std::fmt::Write;

use super::diagram::{Bar, Diagram, Kind, Mark, MarkKind, Row};
use crate::report::escape;

/// Where the stretches begin and end, and what a row takes.
const LEFT: f64 = 130.0;
const RIGHT: f64 = 1050.0;
const TOP: f64 = 60.0;
const ROW: f64 = 56.0;
const BAR: f64 = 12.0;

const STYLE: &str = "text{font:13px sans-serif;fill:#1b1f24}.small{font-size:11px;fill:#57606a}.target{font-weight:bold}\
.way{fill:#1a7f37}.aside{fill:#9a6700}.pgwal{fill:#0969da}.partial{fill:#8c959f}\
.missing{fill:#ffebe9;stroke:#cf222e;stroke-dasharray:3 2}.branch{fill:none;stroke:#57606a}\
.backup{fill:#0550ae}.point{fill:#8250df}.split{fill:#cf222e}";

fn class(kind: Kind) -> &'static str {
    match kind {
        Kind::OnTheWay => "way",
        Kind::Aside => "aside",
        Kind::PgWal => "pgwal",
        Kind::Partial => "partial",
        Kind::Missing => "missing",
    }
}

/// Text for an element or an attribute.
fn xml(text: &str) -> String {
    let mut safe = String::new();
    for c in escape(text).chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            // No characters of XML.
            '\u{FFFE}' | '\u{FFFF}' => safe.push('\u{FFFD}'),
            c => safe.push(c),
        }
    }
    safe
}

/// The whole file.
pub(super) fn svg(diagram: &Diagram) -> String {
    let legend_at = TOP + ROW * diagram.rows.len() as f64 + 10.0;
    let height = legend_at + 40.0;
    let mut out = String::new();
    let mut line = |text: String| {
        out.push_str(&text);
        out.push('\n');
    };
    line("<?xml version=\"1.0\" encoding=\"UTF-8\"?>".to_owned());
    line(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"1200\" height=\"{height:.0}\" \
         viewBox=\"0 0 1200 {height:.0}\" role=\"img\">"
    ));
    line(format!("<title>Timelines, seen from timeline {}</title>", diagram.target));
    line(format!("<style>{STYLE}</style>"));
    line("<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>".to_owned());
    if let Some((first, last)) = diagram.range() {
        line(format!("<text class=\"small\" x=\"{LEFT}\" y=\"30\">{first}</text>"));
        line(format!("<text class=\"small\" x=\"{RIGHT}\" y=\"30\" text-anchor=\"end\">{last}</text>"));
    }
    for (index, row) in diagram.rows.iter().enumerate() {
        line(branch(diagram, index, row));
    }
    for (index, row) in diagram.rows.iter().enumerate() {
        line(of_row(diagram, index, row));
    }
    if diagram.hidden > 0 {
        let more = format!("and {} more timelines", diagram.hidden);
        line(format!("<text class=\"small\" x=\"10\" y=\"{legend_at:.0}\">{more}</text>"));
    }
    line(legend(diagram, legend_at));
    line("</svg>".to_owned());
    out
}

fn x(diagram: &Diagram, lsn: crate::pg::Lsn) -> f64 {
    LEFT + diagram.at(lsn) * (RIGHT - LEFT)
}

fn middle(index: usize) -> f64 {
    TOP + ROW * index as f64
}

fn branch(diagram: &Diagram, index: usize, row: &Row) -> String {
    let Some(parent) = row.parent else { return String::new() };
    let (at, from, to) = (x(diagram, row.begin), middle(parent), middle(index));
    format!("<path class=\"branch\" d=\"M{at:.1} {from:.1}V{to:.1}\"/>")
}

fn of_row(diagram: &Diagram, index: usize, row: &Row) -> String {
    let y = middle(index);
    let mut out = String::from("<g>");
    let class = if row.is_target { "target" } else { "plain" };
    let _ =
        write!(out, "<text class=\"{class}\" x=\"10\" y=\"{:.1}\">timeline {}</text>", y + 4.0, row.timeline);
    row.bars.iter().for_each(|part| bar(&mut out, diagram, y, part));
    row.marks.iter().for_each(|place| mark(&mut out, diagram, y, place));
    let at = x(diagram, row.bars.first().map_or(row.begin, |bar| bar.from));
    // Beginnings far to the right leave no room: such a note ends at the border.
    let (at, anchor) = if at > (LEFT + RIGHT) / 2.0 { (RIGHT, "end") } else { (at, "start") };
    let note = xml(&row.note);
    let _ = write!(
        out,
        "<text class=\"small\" x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{note}</text></g>",
        y + 22.0
    );
    out
}

fn bar(out: &mut String, diagram: &Diagram, y: f64, bar: &Bar) {
    let (from, to) = (x(diagram, bar.from), x(diagram, bar.to));
    let _ = write!(
        out,
        "<rect class=\"{}\" x=\"{from:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{BAR}\"><title>{} to {}: {}</title></rect>",
        class(bar.kind),
        y - BAR / 2.0,
        (to - from).max(1.0),
        bar.from,
        bar.to,
        xml(&bar.kind.text(diagram.target))
    );
}

fn mark(out: &mut String, diagram: &Diagram, y: f64, mark: &Mark) {
    let at = x(diagram, mark.at);
    let title = xml(&mark.text);
    let (class, letter) = match mark.kind {
        MarkKind::Backup => ("backup", "b"),
        MarkKind::RestorePoint => ("point", "r"),
        MarkKind::Split => ("split", "!"),
    };
    let _ = write!(
        out,
        "<g><title>{title}</title><circle class=\"{class}\" cx=\"{at:.1}\" cy=\"{y:.1}\" r=\"5\"/>\
         <text class=\"small\" x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{letter}</text></g>",
        y - 9.0
    );
}

fn legend(diagram: &Diagram, y: f64) -> String {
    let mut entries: Vec<(&str, String)> =
        diagram.kinds().map(|kind| (class(kind), kind.text(diagram.target))).collect();
    let marks = [
        (MarkKind::Backup, "backup", "b: backup"),
        (MarkKind::RestorePoint, "point", "r: restore point"),
        (MarkKind::Split, "split", "!: two servers went on"),
    ];
    let marks = marks.iter().filter(|(kind, ..)| diagram.has(*kind));
    entries.extend(marks.map(|(_, class, text)| (*class, (*text).to_owned())));
    let mut out = String::from("<g>");
    let mut left = 10.0;
    for (class, text) in entries {
        let _ = write!(
            out,
            "<rect class=\"{class}\" x=\"{left:.0}\" y=\"{:.0}\" width=\"12\" height=\"{BAR}\"/>\
             <text class=\"small\" x=\"{:.0}\" y=\"{:.0}\">{}</text>",
            y + 14.0,
            left + 18.0,
            y + 24.0,
            xml(&text)
        );
        left += 40.0 + 6.5 * text.chars().count() as f64;
    }
    out.push_str("</g>");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_outside_is_only_text() {
        assert_eq!(xml("a<b>&\"c'\u{FFFF}\x1b"), "a&lt;b&gt;&amp;&quot;c&#39;\u{FFFD}\\x1B");
    }
}
