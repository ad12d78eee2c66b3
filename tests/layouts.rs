//! Our offsets against the C compiler's: `testdata/layouts/pgNN.tsv` holds what `offsetof` and `sizeof` say for
//! the server's headers of each major, and where headers are installed the compiler is asked again.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use common::{MAJORS, testdata_text};
use pgforensic::format::control::Layout;
use pgforensic::format::reader::Abi;
use pgforensic::pg::Major;

/// One member of a structure: offset and size; the whole structure under the empty name.
type Members = BTreeMap<String, (usize, usize)>;

fn structures(major: u32) -> BTreeMap<String, Members> {
    let mut all: BTreeMap<String, Members> = BTreeMap::new();
    for line in testdata_text(format!("layouts/pg{major}.tsv")).lines() {
        let [name, member, offset, size] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let place = (offset.parse().unwrap_or(0), size.parse().unwrap());
        all.entry(name.to_owned()).or_default().insert(member.to_owned(), place);
    }
    all
}

#[test]
fn control_file() {
    for number in MAJORS {
        let structures = structures(number);
        let (control, checkpoint) = (&structures["ControlFileData"], &structures["CheckPoint"]);
        let major = Major::from_number(number).unwrap();
        let layout = Layout { major, abi: Abi::LITTLE_64 };
        let mut expected: Members = control.clone();
        let size = expected.remove("").unwrap().1;
        let (copy, _) = expected.remove("checkPointCopy").unwrap();
        for (member, (offset, size)) in checkpoint.iter().filter(|(member, _)| !member.is_empty()) {
            // Two names stand in both structures.
            let name = match member.as_str() {
                "wal_level" | "time" => format!("checkPointCopy.{member}"),
                // 12 and 13 call it nextFullXid.
                "nextFullXid" => "nextXid".to_owned(),
                other => other.to_owned(),
            };
            expected.insert(name, (copy + offset, *size));
        }
        let ours: Members = layout
            .fields()
            .into_iter()
            .map(|field| (field.name.to_owned(), (field.bytes.start, field.bytes.len())))
            .collect();
        assert_eq!(ours, expected, "{number}");
        assert_eq!(layout.size(), size, "{number}");
    }
}

#[test]
fn the_compiler_still_says_the_same() {
    let base = std::env::var("PGFORENSIC_PG_INCLUDE").unwrap_or("/usr/include/postgresql".to_owned());
    let mut compared = 0;
    for major in MAJORS {
        let headers = format!("{base}/{major}/server");
        if !Path::new(&headers).is_dir() {
            continue;
        }
        let scratch = tempfile::tempdir().unwrap();
        let mut program = String::from(
            "#include \"postgres.h\"\n#include \"catalog/pg_control.h\"\n#include \"storage/bufpage.h\"\n\
             #include \"access/xlog_internal.h\"\n#undef printf\n#include <stdio.h>\nint main(void)\n{\n",
        );
        let listed = testdata_text(format!("layouts/pg{major}.tsv"));
        for line in listed.lines() {
            let [name, member, ..] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
            program += &match member {
                "" => format!("printf(\"{name}\\t\\t-\\t%zu\\n\", sizeof({name}));\n"),
                // A flexible array has no size.
                "pd_linp" => {
                    format!("printf(\"{name}\\t{member}\\t%zu\\t0\\n\", offsetof({name}, {member}));\n")
                }
                _ => format!(
                    "printf(\"{name}\\t{member}\\t%zu\\t%zu\\n\", offsetof({name}, {member}), sizeof((({name} *) 0)->{member}));\n"
                ),
            };
        }
        program += "return 0;\n}\n";
        std::fs::write(scratch.path().join("layout.c"), program).unwrap();
        let compiled = Command::new("cc")
            .args(["-I", &headers, "-o", "layout", "layout.c"])
            .current_dir(scratch.path())
            .output();
        let Ok(compiled) = compiled else {
            println!("skipped: no C compiler");
            return;
        };
        assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
        let said = Command::new(scratch.path().join("layout")).output().unwrap().stdout;
        assert_eq!(String::from_utf8(said).unwrap(), listed, "{major}");
        compared += 1;
    }
    if compared == 0 {
        println!("skipped: no server headers in {base} (PGFORENSIC_PG_INCLUDE)");
    }
}
