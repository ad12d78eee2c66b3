//! `timelines --svg`: one well-formed file without scripts, the same in every run, whatever the history files say.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::fs;

use common::{pgforensic, unpack};

/// Fails unless every element is closed in order and no markup is in the text.
fn assert_well_formed(text: &str) {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find('<') {
        let between = &rest[..start];
        assert!(!between.contains('>'), "{between}");
        let entities = between.split('&').skip(1);
        for entity in entities {
            assert!(
                ["amp;", "lt;", "gt;", "quot;", "#39;"].iter().any(|known| entity.starts_with(known)),
                "{entity}"
            );
        }
        let end = start + rest[start..].find('>').unwrap_or_else(|| panic!("{rest}"));
        let tag = &rest[start + 1..end];
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "{text}");
        } else if !tag.starts_with('?') && !tag.ends_with('/') {
            open.push(tag.split(' ').next().unwrap());
        }
        assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
        rest = &rest[end + 1..];
    }
    assert_eq!(open, [""; 0], "{text}");
}

#[test]
fn the_drawing_is_one_sound_file() {
    let scratch = tempfile::tempdir().unwrap();
    let root = scratch.path();
    unpack("archives/four-timelines.tar.zst", root);
    let history = root.join("four-timelines/00000002.history");
    let hostile = "1\t0/A139C0\tat restore point \"<script>alert('x')</script>\" & \x1b[2J\u{202E}\u{FFFF}\n";
    fs::write(&history, hostile).unwrap();
    let draw = |name: &str| {
        let output = pgforensic(root, &["timelines", "four-timelines", "--deep", "--svg", name]);
        assert!(matches!(output.status.code(), Some(0 | 1)), "{output:?}");
        fs::read_to_string(root.join(name)).unwrap()
    };
    let (first, second) = (draw("one.svg"), draw("two.svg"));
    assert_eq!(first, second);
    assert_well_formed(&first);
    assert!(!first.contains("<script") && !first.contains("href") && !first.contains('\x1b'), "{first}");
    assert!(first.contains("&lt;script&gt;alert(&#39;x&#39;)"), "{first}");
    for id in 1..=4 {
        assert!(first.contains(&format!(">timeline {id}</text>")), "{first}");
    }
}
