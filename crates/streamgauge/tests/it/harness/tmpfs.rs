//! A small file system of its own for a test, in memory: mounted where that is allowed, otherwise in a name space that
//! another process holds.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::until;

/// A file system of limited size.
#[derive(Debug)]
pub(crate) struct Tmpfs {
    folder: TempDir,
    /// The process in whose name space it is mounted, when it could not be mounted here.
    holder: Option<Child>,
}

impl Tmpfs {
    /// Mounts one; `None` when the system allows neither way.
    pub(crate) fn mount(size: &str) -> Option<Tmpfs> {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let path = folder.path().to_str().expect("the temporary folder has a plain name").to_owned();
        let size = format!("size={size}");
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "none", &path]).output();
        if mount.is_ok_and(|output| output.status.success()) {
            return Some(Tmpfs { folder, holder: None });
        }
        let script = r#"mount -t tmpfs -o "$0" none "$1" && touch "$1/mounted" && exec sleep 600"#;
        let mut holder = Command::new("unshare");
        holder.args(["-Urm", "sh", "-c", script, &size, &path]).stdin(Stdio::null()).stderr(Stdio::null());
        let mut tmpfs = Tmpfs { folder, holder: Some(holder.spawn().ok()?) };
        let mut is_mounted = false;
        until(Duration::from_secs(10), "a file system is mounted or refused", || {
            is_mounted = tmpfs.path().join("mounted").try_exists().unwrap_or(false);
            let holder = tmpfs.holder.as_mut().expect("it was just started");
            is_mounted || holder.try_wait().is_ok_and(|status| status.is_some())
        });
        is_mounted.then_some(tmpfs)
    }

    /// Returns where this process finds it.
    pub(crate) fn path(&self) -> PathBuf {
        let path = self.folder.path();
        match &self.holder {
            None => path.to_owned(),
            Some(holder) => {
                let inside = path.strip_prefix("/").expect("the temporary folder is an absolute path");
                Path::new("/proc").join(holder.id().to_string()).join("root").join(inside)
            }
        }
    }

    /// Returns where a process that was started through [`Tmpfs::wrapper`] finds it.
    pub(crate) fn inside(&self) -> &Path {
        self.folder.path()
    }

    /// Returns the command under which a process must be started to find it.
    pub(crate) fn wrapper(&self) -> Vec<String> {
        let Some(holder) = &self.holder else { return Vec::new() };
        let id = holder.id().to_string();
        ["nsenter", "-t", &id, "-U", "-m", "--preserve-credentials", "--"].map(str::to_owned).to_vec()
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        match &mut self.holder {
            Some(holder) => {
                holder.kill().ok();
                holder.wait().ok();
            }
            None => {
                Command::new("umount").arg("-l").arg(self.folder.path()).status().ok();
            }
        }
    }
}
