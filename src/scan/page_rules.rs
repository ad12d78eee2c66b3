//! By which rules the pages of a cluster are to be read: those of its pg_control, or what its pages say.

use std::path::{Path, PathBuf};

use crate::format::reader::Abi;
use crate::pg::Major;
use crate::scan::cluster::{ClusterWalk, Geometry, Selection, Target};
use crate::scan::control::{ControlScan, Surroundings, scan_control};
use crate::scan::pages::guess;
use crate::source::Error;
use crate::source::pgdata::DataDirectory;

/// A data directory, and what is known of it before anything else is read.
#[derive(Debug)]
pub struct Cluster {
    /// The directory.
    pub directory: DataDirectory,
    /// Its small files.
    pub facts: Surroundings,
    /// Its pg_control, or why there is none.
    pub control: Result<ControlScan, Error>,
}

impl Cluster {
    /// Looks at a data directory.
    pub fn scan(root: &Path) -> Cluster {
        let directory = DataDirectory::new(root);
        let facts = Surroundings::scan(&directory);
        let control = scan_control(&directory.control_path(), facts.major());
        Cluster { directory, facts, control }
    }

    /// The control file, if its CRC is right.
    pub fn trusted(&self) -> Option<&ControlScan> {
        self.control.as_ref().ok().filter(|scan| scan.detected.crc_is_right())
    }

    /// The major, from pg_control or else from PG_VERSION.
    pub fn major(&self) -> Option<Major> {
        self.trusted().and_then(|scan| scan.detected.major()).or(self.facts.major())
    }

    /// The data directory above a file or directory, through the path as given or as the system resolves it.
    pub fn above(path: &Path) -> Option<Cluster> {
        let above = |path: &Path| {
            let mut parents = path.ancestors().skip(1).map(|parent| match parent.as_os_str().is_empty() {
                true => PathBuf::from("."),
                false => parent.to_owned(),
            });
            parents.find(|parent| DataDirectory::looks_like_pgdata(parent))
        };
        let root = above(path).or_else(|| above(&std::fs::canonicalize(path).ok()?))?;
        Some(Cluster::scan(&root))
    }
}

/// By which rules to read the pages, and where they come from.
#[derive(Debug)]
pub struct Rules {
    /// Whose server wrote them; the newest released where nothing says it.
    pub major: Major,
    tablespace_directory: Option<String>,
    /// Page and segment sizes.
    pub geometry: Geometry,
    /// The machine that wrote them.
    pub abi: Abi,
    /// `data_checksum_version`; `None`: nobody says.
    pub checksum_version: Option<u32>,
    /// Do the pages have checksums?
    pub verify: bool,
    /// What had to be assumed, for lack of a control file.
    pub assumed: Option<String>,
}

impl Rules {
    /// Those of the cluster that a file belongs to.
    pub fn of(file: &Path) -> Rules {
        Rules::new(Cluster::above(file).as_ref(), &Target::File(file.to_owned()))
    }

    /// Those of `cluster`; without a usable pg_control what the pages of `target` say.
    pub fn new(cluster: Option<&Cluster>, target: &Target) -> Rules {
        let major = cluster.and_then(Cluster::major);
        let tablespace_directory = match cluster.and_then(Cluster::trusted) {
            Some(scan) => {
                major.map(|major| format!("PG_{major}_{}", scan.detected.control.catalog_version_no))
            }
            None => major.map(Major::tablespace_directory),
        };
        let mut rules = Rules {
            major: major.unwrap_or(Major::V18),
            tablespace_directory,
            geometry: Geometry::DEFAULT,
            abi: Abi::LITTLE_64,
            checksum_version: None,
            verify: true,
            assumed: None,
        };
        if let Some(scan) = cluster.and_then(Cluster::trusted)
            && let Some(geometry) = legal_geometry(scan)
        {
            rules.geometry = geometry;
            rules.abi = scan.detected.layout.abi;
            rules.checksum_version = Some(scan.detected.control.data_checksum_version);
            rules.verify = rules.checksum_version != Some(0);
            return rules;
        }
        let found = guess(ClusterWalk::new(target, rules.selection(None)));
        rules.geometry.page_size = found.page_size;
        rules.abi = found.abi;
        rules.verify = found.checksums;
        rules.assumed = Some(format!(
            "no usable pg_control; from {} page headers: {} byte pages, {}-endian, checksums {}",
            found.sampled,
            found.page_size,
            if found.abi.big_endian { "big" } else { "little" },
            if found.checksums { "on" } else { "off" },
        ));
        rules
    }

    /// What of the cluster's files to list.
    pub fn selection(&self, filenode: Option<String>) -> Selection {
        Selection {
            major: self.major,
            tablespace_directory: self.tablespace_directory.clone(),
            filenode,
            geometry: self.geometry,
        }
    }
}

/// Page and segment size of a control file, if a server could have them.
fn legal_geometry(scan: &ControlScan) -> Option<Geometry> {
    let control = &scan.detected.control;
    let legal = control.blcksz.is_power_of_two()
        && (1 << 10..=1 << 15).contains(&control.blcksz)
        && control.relseg_size > 0;
    legal.then_some(Geometry { page_size: control.blcksz as usize, relseg_size: control.relseg_size })
}
