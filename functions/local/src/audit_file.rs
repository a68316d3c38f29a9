//! Audit events as lines of a file, for whoever ships them elsewhere.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use deputize_core::table::Outlet;

/// The variable that names the file.
pub(crate) const AUDIT_FILE: &str = "DEPUTIZE_AUDIT_FILE";

/// A file that events are appended to, one line each. If an operator has moved it away, the next event begins a new one.
#[derive(Debug)]
pub(crate) struct AuditFile {
    path: PathBuf,
    file: Mutex<File>,
}

impl AuditFile {
    pub(crate) fn open(path: &Path) -> Result<Self, String> {
        let file = append_to(path).map_err(|error| format!("{AUDIT_FILE}: {}: {error}", path.display()))?;
        Ok(Self { path: path.to_owned(), file: Mutex::new(file) })
    }

    fn append(&self, text: &str) -> io::Result<()> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.path.exists() {
            *file = append_to(&self.path)?;
        }
        file.write_all(text.as_bytes())
    }
}

/// Events name people, so the file is its owner's alone.
fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

impl Outlet for AuditFile {
    fn tell(&self, lines: &[String]) {
        let text: String = lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect();
        // The events are stored. Who follows the file has a gap, which the feed has not.
        if let Err(error) = self.append(&text) {
            tracing::error!(%error, lines = lines.len(), "audit events were not written to {AUDIT_FILE}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_moved_away_begins_anew() {
        let folder = std::env::temp_dir().join(format!("deputize-audit-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&folder).unwrap();
        let (path, moved) = (folder.join("audit.jsonl"), folder.join("audit.1"));
        let file = AuditFile::open(&path).unwrap();
        file.tell(&["a".to_owned(), "b".to_owned()]);
        std::fs::rename(&path, &moved).unwrap();
        file.tell(&["c".to_owned()]);
        assert_eq!(std::fs::read_to_string(moved).unwrap(), "a\nb\n");
        assert_eq!(std::fs::read_to_string(path).unwrap(), "c\n");
        std::fs::remove_dir_all(folder).unwrap();
    }
}
