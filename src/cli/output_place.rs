//! Where something may be written: beside what is examined, never in it, and over nothing.

use std::path::{Path, PathBuf};

use super::Failure;

/// Nothing is written into what is examined.
pub(super) fn refuse_inside<'a>(
    target: &Path,
    mut inputs: impl Iterator<Item = &'a PathBuf>,
) -> Result<(), Failure> {
    let whole = |path: &Path| std::path::absolute(path).unwrap_or(path.to_owned());
    let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let real = parent.canonicalize().unwrap_or_else(|_| whole(parent));
    let inside = |input: &&PathBuf| {
        let input = input.canonicalize().unwrap_or_else(|_| whole(input));
        real.starts_with(&input) || whole(target).starts_with(&input)
    };
    match inputs.find(inside) {
        Some(input) => Err(Failure::Usage(format!(
            "\"{}\" is inside \"{}\", which is examined: nothing is written there",
            target.display(),
            input.display()
        ))),
        None if target.exists() => Err(Failure::Usage(format!("\"{}\" exists already", target.display()))),
        None => Ok(()),
    }
}
