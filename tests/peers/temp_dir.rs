//! A directory for one peer's files, removed with the peer.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// A fresh directory that goes when this goes.
pub(crate) struct TempDir(PathBuf);

impl TempDir {
    pub(crate) fn new(name: &str) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("stox-{}-{number}-{name}", std::process::id()));
        fs::create_dir_all(&path).expect("the temporary directory can be written to");
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file of the peer and returns where it is.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().expect("it is below the directory")).expect("the directory can be written to");
        fs::write(&path, content).expect("the directory can be written to");
        path
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        // A dying browser may still be writing; what is left then is in the system's temporary directory.
        let _ = fs::remove_dir_all(&self.0);
    }
}
