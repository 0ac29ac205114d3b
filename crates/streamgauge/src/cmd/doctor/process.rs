//! Which process has something, as far as the kernel tells us: /proc. In a container of its own another's processes are
//! not seen, and then nobody is named.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// The state of a socket that listens, as /proc/net/tcp writes it.
const LISTENING: &str = "0A";

/// Returns who listens on a port: its number and name.
pub(super) fn listener(address: SocketAddr) -> Option<String> {
    let port = format!(":{:04X}", address.port());
    let tables =
        ["/proc/net/tcp", "/proc/net/tcp6"].into_iter().filter_map(|path| fs::read_to_string(path).ok());
    let inodes: Vec<String> = tables.flat_map(|table| listening_inodes(&table, &port)).collect();
    let links: Vec<String> = inodes.iter().map(|inode| format!("socket:[{inode}]")).collect();
    let processes = fs::read_dir("/proc").ok()?.filter_map(Result::ok);
    let mut owners = processes.filter(|process| {
        let files = fs::read_dir(process.path().join("fd")).into_iter().flatten().filter_map(Result::ok);
        files
            .filter_map(|file| fs::read_link(file.path()).ok())
            .any(|link| links.iter().any(|known| link.as_os_str() == known.as_str()))
    });
    named(owners.next()?.file_name().to_str()?)
}

/// Returns the inodes of sockets that listen on a port, from a table of the kernel.
pub(super) fn listening_inodes(table: &str, port: &str) -> Vec<String> {
    let inode = |line: &str| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let is_mine = columns.get(1)?.ends_with(port) && *columns.get(3)? == LISTENING;
        is_mine.then(|| columns.get(9).map(|inode| (*inode).to_owned())).flatten()
    };
    table.lines().filter_map(inode).collect()
}

/// Who holds a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Holder {
    /// Nobody.
    Nobody,
    /// A process, as far as it can be named.
    Process(String),
    /// The kernel does not tell.
    Unknown,
}

/// Returns who holds the lock on a file, without trying to take it: a server that starts at this moment must get it.
pub(super) fn lock_holder(file: &Path) -> Holder {
    let (Ok(metadata), Ok(locks)) = (fs::metadata(file), fs::read_to_string("/proc/locks")) else {
        return Holder::Unknown;
    };
    let (major, minor) = (rustix::fs::major(metadata.dev()), rustix::fs::minor(metadata.dev()));
    let place = format!("{major:02x}:{minor:02x}:{}", metadata.ino());
    match holder_of(&locks, &place) {
        None => Holder::Nobody,
        Some(pid) => Holder::Process(
            named(&pid).unwrap_or_else(|| "a process that is not visible from here".to_owned()),
        ),
    }
}

/// Returns the process that locks the file at a place of a device.
pub(super) fn holder_of(locks: &str, place: &str) -> Option<String> {
    locks.lines().find_map(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        // Lines of those who wait have an arrow before the kind.
        let is_mine = *columns.get(1)? == "FLOCK" && *columns.get(5)? == place;
        is_mine.then(|| columns.get(4).map(|pid| (*pid).to_owned())).flatten()
    })
}

fn named(pid: &str) -> Option<String> {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(format!("process {pid} ({})", name.trim()))
}
