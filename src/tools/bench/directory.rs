//! The directory of a run.

use std::fs;
use std::path::{Path, PathBuf};

use super::error::BenchError;
use super::stop;
use crate::tools::present::aside::aside;

/// The directory of a run. Dropping it removes it with everything in it.
pub(super) struct BenchDir {
    pub(super) path: PathBuf,
}

impl BenchDir {
    pub(super) fn create(parent: Option<&Path>) -> Result<BenchDir, BenchError> {
        let parent = parent.unwrap_or(Path::new("."));
        let dir = parent.join(format!("syncline-bench-{}", std::process::id()));
        let failed = || BenchError::io(format!("create {}", dir.display()));
        fs::create_dir_all(parent).map_err(failed())?;
        fs::create_dir(&dir).map_err(failed())?;
        let absolute = std::path::absolute(&dir).map_err(failed())?;
        stop::remember(Some(&absolute));
        Ok(BenchDir { path: dir })
    }
}

impl Drop for BenchDir {
    fn drop(&mut self) {
        stop::remember(None);
        if let Err(error) = fs::remove_dir_all(&self.path) {
            aside(format_args!(
                "syncline: warning: cannot remove {}: {error}",
                self.path.display()
            ));
        }
    }
}
