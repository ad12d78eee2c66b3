//! Relation maps: would the server take them, do they name the right catalogs, and are the files there?

use std::collections::BTreeSet;

use super::{Examination, counted};
use crate::finding::{Code, Coverage, Finding, Findings, Place, Severity, map};
use crate::format::relmap::{RELMAPPER_FILEMAGIC, RelMapFile};
use crate::pg::Major;
use crate::pg::mapped::{Content, Map, MappedCatalog};
use crate::scan::metadata::RelationMap;
use crate::source::system_message;

pub(super) fn check(examination: &Examination, findings: &mut Findings, coverage: &mut Coverage) -> String {
    let maps = &examination.metadata.maps;
    for map in maps {
        let judge = Judge { map, major: examination.metadata.major };
        judge.map(findings, coverage);
    }
    let files: usize = maps.iter().map(|map| map.files.len()).sum();
    format!("{}, {files} files that they name", counted(maps.len() as u64, "map", "maps"))
}

struct Judge<'a> {
    map: &'a RelationMap,
    major: Major,
}

impl Judge<'_> {
    /// The shared map is needed to connect to any database.
    fn finding(&self, code: &'static Code, headline: String) -> Finding {
        let severity = if self.map.kind == Map::Shared { Severity::Fatal } else { code.severity };
        Finding::new(code, Place::path(&self.map.path), headline).with_severity(severity)
    }

    /// 12 changed the words.
    fn what(&self) -> &'static str {
        if self.major < Major::V12 { "relation mapping file" } else { "file" }
    }

    fn map(&self, findings: &mut Findings, coverage: &mut Coverage) {
        let name = &self.map.name;
        let (length, map) = match &self.map.content {
            Ok(content) => content,
            Err(error) => {
                let why = system_message(&error.source);
                findings.push(
                    self.finding(map::MISSING, format!("could not open {} \"{name}\": {why}", self.what())),
                );
                if !error.is_not_found() {
                    coverage.fail(&error.path, error.to_string());
                }
                return;
            }
        };
        coverage.files += 1;
        coverage.bytes += length;
        let size = RelMapFile::size(self.major);
        let Some(map) = map else {
            let headline = match self.major < Major::V12 {
                true => format!("could not read {} \"{name}\"", self.what()),
                false => format!("could not read {} \"{name}\": read {length} of {size}", self.what()),
            };
            findings.push(self.finding(map::INVALID, headline).differs("size in bytes", length, size));
            return;
        };
        let count = usize::try_from(map.num_mappings).ok().filter(|count| *count <= map.mappings.len());
        if map.magic != RELMAPPER_FILEMAGIC || count.is_none() {
            let headline = format!("relation mapping file \"{name}\" contains invalid data");
            let most = format!("at most {}", map.mappings.len());
            let finding = self
                .finding(map::INVALID, headline)
                .differs("magic", format!("{:#X}", map.magic), format!("{RELMAPPER_FILEMAGIC:#X}"))
                .differs("number of mappings", map.num_mappings, most);
            findings.push(finding);
        } else if map.crc != map.calculated_crc {
            let headline = format!("relation mapping file \"{name}\" contains incorrect checksum");
            let finding = self.finding(map::BAD_CRC, headline).differs(
                "CRC",
                format!("{:08X} stored", map.crc),
                format!("{:08X} as calculated", map.calculated_crc),
            );
            findings.push(finding);
        } else {
            match self.entries(map) {
                Some(finding) => findings.push(finding),
                None => self.files(findings),
            }
        }
    }

    /// The map of another place: where its files would be says nothing.
    fn entries(&self, map: &RelMapFile) -> Option<Finding> {
        let mut seen = BTreeSet::new();
        let doubled: Vec<_> = map.used().filter(|(oid, _)| !seen.insert(*oid)).collect();
        let mut missing: Vec<_> = MappedCatalog::of(self.map.kind, self.major)
            .filter(|catalog| !seen.contains(&catalog.oid))
            .collect();
        // The server looks for pg_class first.
        missing.sort_by_key(|catalog| catalog.name != "pg_class");
        let headline = match (missing.first(), doubled.first()) {
            (Some(catalog), _) => format!(
                "could not find relation mapping for relation \"{}\", OID {}",
                catalog.name, catalog.oid
            ),
            (None, Some((oid, _))) => format!("relation {oid} is mapped twice"),
            (None, None) => return None,
        };
        let finding = self
            .finding(map::ENTRIES, headline)
            .differs("catalogs that are not mapped", missing.len(), 0)
            .differs("catalogs that are mapped twice", doubled.len(), 0);
        Some(finding)
    }

    fn files(&self, findings: &mut Findings) {
        for (oid, path, size) in &self.map.files {
            let catalog = MappedCatalog::of(self.map.kind, self.major).find(|catalog| catalog.oid == *oid);
            let file = path.file_name().unwrap_or_default().to_string_lossy();
            let directory = self.map.name.rsplit_once('/').map_or("", |(directory, _)| directory);
            let (code, headline) = match (size, catalog.map(|catalog| catalog.content)) {
                (None, _) => {
                    let why = "No such file or directory";
                    (map::FILE_MISSING, format!("could not open file \"{directory}/{file}\": {why}"))
                }
                (Some(0), Some(Content::Filled)) => {
                    (map::FILE_EMPTY, format!("file \"{directory}/{file}\" is empty"))
                }
                _ => continue,
            };
            let name = catalog.map_or("none of this major", |catalog| catalog.name);
            let finding = Finding::new(code, Place::path(path), headline).measured("catalog", name);
            findings.push(finding.measured("OID", oid));
        }
    }
}
