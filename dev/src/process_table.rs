//! Who started whom on this machine, so that a server's whole family can be ended. It reads; it never signals.

use std::process::Command;

use rustix::process::Pid;

/// One row of the machine's process table. A pid alone may be given away again; pid and start together may not.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) pid: Pid,
    parent: i32,
    group: i32,
    session: i32,
    started: u64,
}

impl Entry {
    /// Whether both are the same process, not only the same number.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.pid == other.pid && self.started == other.started
    }
}

/// What `root` started, directly or through others, and what is left of its process group after it ended.
pub(crate) fn family_of(root: Pid) -> Vec<Entry> {
    let table = process_table();
    let root_id = root.as_raw_nonzero().get();
    let own_session = table
        .iter()
        .find(|entry| entry.pid == rustix::process::getpid())
        .map(|own| own.session);
    let orphaned = |entry: &Entry| entry.group == root_id && Some(entry.session) == own_session;
    let mut found: Vec<Entry> = Vec::new();
    let mut parents = vec![root_id];
    while let Some(parent) = parents.pop() {
        for entry in table.iter().filter(|entry| entry.parent == parent) {
            parents.push(entry.pid.as_raw_nonzero().get());
            found.push(entry.clone());
        }
    }
    let left_behind = table.iter().filter(|entry| orphaned(entry) && entry.pid != root);
    let left_behind: Vec<Entry> = left_behind
        .filter(|entry| !found.iter().any(|known| known.is(entry)))
        .cloned()
        .collect();
    found.extend(left_behind);
    found
}

/// All processes of the machine that have not ended.
pub(crate) fn process_table() -> Vec<Entry> {
    if let Ok(folders) = std::fs::read_dir("/proc") {
        let stats = folders
            .flatten()
            .filter_map(|folder| std::fs::read_to_string(folder.path().join("stat")).ok());
        return stats.filter_map(|stat| entry_from_stat(&stat)).collect();
    }
    // macOS has no /proc. Its `ps` tells neither session nor start in numbers, so those are equal for all.
    let Ok(listing) = Command::new("ps").args(["-A", "-o", "pid=,ppid=,pgid="]).output() else {
        return Vec::new();
    };
    let listing = String::from_utf8_lossy(&listing.stdout).into_owned();
    let entry = |line: &str| {
        let mut columns = line.split_whitespace().map(str::parse::<i32>);
        let pid = Pid::from_raw(columns.next()?.ok()?)?;
        let (parent, group) = (columns.next()?.ok()?, columns.next()?.ok()?);
        Some(Entry {
            pid,
            parent,
            group,
            session: 0,
            started: 0,
        })
    };
    listing.lines().filter_map(entry).collect()
}

/// Reads `/proc/<pid>/stat` (proc(5)): "pid (name) state ppid pgrp session … starttime". Zombies are left out.
fn entry_from_stat(stat: &str) -> Option<Entry> {
    let pid = stat.split_whitespace().next()?.parse().ok()?;
    // The name may hold spaces and brackets, so count from its last bracket: state is column 0, starttime column 19.
    let columns: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |column: usize| columns.get(column)?.parse::<i32>().ok();
    if *columns.first()? == "Z" {
        return None;
    }
    let started = columns.get(19)?.parse().ok()?;
    Some(Entry {
        pid: Pid::from_raw(pid)?,
        parent: number(1)?,
        group: number(2)?,
        session: number(3)?,
        started,
    })
}
