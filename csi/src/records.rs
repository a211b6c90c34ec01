//! What this driver must know after a restart: one small file for each published target. No token is ever in it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::daemon::Shown;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    pub volume_id: String,
    pub target: PathBuf,
    /// The daemon's mount that it is a part of.
    pub mount: PathBuf,
    /// What of it.
    pub source: PathBuf,
    pub read_only: bool,
    pub files: u64,
    pub bytes: u64,
    /// For a new mount in the place of a dead one.
    pub shown: Vec<Shown>,
}

/// In memory, with each change on disk first.
pub struct Records {
    directory: PathBuf,
    by_target: Mutex<BTreeMap<PathBuf, Record>>,
}

/// Sixteen digits that stand for a text.
pub fn short_digest(text: &[u8]) -> String {
    hex::encode(&Sha256::digest(text)[..8])
}

impl Records {
    /// Reads what an earlier driver wrote. A file that cannot be read is told of and left out: its target is found by the
    /// kernel's list when it is to go.
    pub fn open(directory: PathBuf) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
        let mut by_target = BTreeMap::new();
        for entry in fs::read_dir(&directory)? {
            let path = entry?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            match fs::read(&path).and_then(|text| Ok(serde_json::from_slice::<Record>(&text)?)) {
                Ok(record) => drop(by_target.insert(record.target.clone(), record)),
                Err(cause) => tracing::warn!(path = %path.display(), %cause, "not the record of a volume"),
            }
        }
        Ok(Self { directory, by_target: Mutex::new(by_target) })
    }

    fn path(&self, target: &Path) -> PathBuf {
        self.directory.join(format!("{}.json", short_digest(target.as_os_str().as_encoded_bytes())))
    }

    pub fn put(&self, record: Record) -> io::Result<()> {
        let path = self.path(&record.target);
        let draft = path.with_extension("new");
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        file.write_all(&serde_json::to_vec(&record)?)?;
        fs::rename(&draft, &path)?;
        self.by_target.lock().insert(record.target.clone(), record);
        Ok(())
    }

    pub fn remove(&self, target: &Path) -> io::Result<()> {
        match fs::remove_file(self.path(target)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.by_target.lock().remove(target);
        Ok(())
    }

    pub fn get(&self, target: &Path) -> Option<Record> {
        self.by_target.lock().get(target).cloned()
    }

    pub fn all(&self) -> Vec<Record> {
        self.by_target.lock().values().cloned().collect()
    }

    /// Whether any volume is a part of this mount.
    pub fn uses(&self, mount: &Path) -> bool {
        self.by_target.lock().values().any(|record| record.mount == mount)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_outlive_the_driver_and_a_broken_one_breaks_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let records = Records::open(folder.path().to_owned()).unwrap();
        let record = |name: &str| Record {
            volume_id: name.to_owned(),
            target: PathBuf::from("/pods").join(name),
            mount: "/mnt/1".into(),
            source: "/mnt/1/models/a/b@c".into(),
            read_only: true,
            files: 1,
            bytes: 2,
            shown: vec![],
        };
        records.put(record("a")).unwrap();
        records.put(record("b")).unwrap();
        records.remove(Path::new("/pods/b")).unwrap();
        fs::write(folder.path().join("x.json"), "{").unwrap();
        let again = Records::open(folder.path().to_owned()).unwrap();
        assert_eq!(again.all(), [record("a")]);
        assert!(again.uses(Path::new("/mnt/1")) && !again.uses(Path::new("/mnt/2")));
        again.remove(Path::new("/pods/b")).unwrap();
    }
}
