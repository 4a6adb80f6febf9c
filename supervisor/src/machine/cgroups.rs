//! Control groups, of both versions: which limits of memory and CPU this process has, how much memory is in
//! use, and how often the kernel has killed for it.
//!
//! Where a group's files are found depends on who has mounted what. With a namespace of its own a container sees
//! itself as `/`; without one it is told its path on the host, while only its own folder is mounted
//! (version 1 as most runtimes have it). Machines in between mount version 2 beside version 1.

use std::fs;
use std::path::{Component, Path, PathBuf};

/// The groups of this process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cgroups {
    memory: Vec<Group>,
    cpu: Vec<Group>,
}

/// A limit of memory, and the group that has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Limit {
    pub(crate) bytes: u64,
    group: Group,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Group {
    folder: PathBuf,
    version: Version,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// A mounted hierarchy.
#[derive(Debug, PartialEq, Eq)]
struct Mount {
    /// Which group stands at `point`.
    root: PathBuf,
    point: PathBuf,
    version: Version,
    /// Of version 1: its controllers.
    controllers: Vec<String>,
}

impl Cgroups {
    /// The groups of this process, where `/` is `root`.
    pub(crate) fn find(root: &Path) -> Self {
        let groups = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
        let mounts = fs::read_to_string(root.join("proc/self/mountinfo")).unwrap_or_default();
        let mounts: Vec<Mount> = mounts.lines().filter_map(mount_of).collect();
        Self { memory: groups_of(root, &groups, &mounts, "memory"), cpu: groups_of(root, &groups, &mounts, "cpu") }
    }

    /// Points of CPU that may be used: the least of all limits.
    pub(crate) fn cpu(&self) -> Option<f64> {
        self.cpu.iter().filter_map(Group::cpu).min_by(f64::total_cmp)
    }

    /// The least of all limits of memory.
    pub(crate) fn memory(&self) -> Option<Limit> {
        // Of equal limits the outermost binds first: it has the most in use.
        let limits = self.memory.iter().rev();
        limits.filter_map(|group| Some(Limit { bytes: group.limit()?, group: group.clone() })).min_by_key(|it| it.bytes)
    }

    /// How often the kernel has killed in these groups because memory was short. Only its growth means
    /// something.
    pub(crate) fn kills(&self) -> u64 {
        self.memory.iter().filter_map(Group::kills).fold(0, u64::saturating_add)
    }
}

impl Limit {
    /// What counts towards it and cannot be had back: the kernel drops copies of files before it kills.
    pub(crate) fn used(&self) -> Option<u64> {
        self.group.used()
    }
}

impl Group {
    fn read(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.folder.join(name)).ok()
    }

    fn cpu(&self) -> Option<f64> {
        match self.version {
            Version::Two => quota(&self.read("cpu.max")?),
            Version::One => {
                let (of, each) = (self.read("cpu.cfs_quota_us")?, self.read("cpu.cfs_period_us")?);
                quota(&format!("{} {}", of.trim(), each.trim()))
            }
        }
    }

    fn limit(&self) -> Option<u64> {
        match self.version {
            // `max` if there is none.
            Version::Two => self.read("memory.max")?.trim().parse().ok(),
            Version::One => {
                let own = self.read("memory.limit_in_bytes").and_then(|text| text.trim().parse::<u64>().ok());
                // Of those above, too, which cannot be seen from within a container.
                let all = self.read("memory.stat").and_then(|text| field(&text, "hierarchical_memory_limit"));
                // Without a limit it is the largest number of whole pages.
                own.into_iter().chain(all).min().filter(|bytes| *bytes < i64::MAX as u64 - (1 << 20))
            }
        }
    }

    fn used(&self) -> Option<u64> {
        let (name, prefix) = match self.version {
            Version::Two => ("memory.current", ""),
            Version::One => ("memory.usage_in_bytes", "total_"),
        };
        let all: u64 = self.read(name)?.trim().parse().ok()?;
        let stat = self.read("memory.stat")?;
        let of = |name: &str| field(&stat, &format!("{prefix}{name}")).unwrap_or_default();
        let taken_back = [of("inactive_file"), of("active_file"), of("slab_reclaimable")];
        Some(taken_back.into_iter().fold(all, u64::saturating_sub))
    }

    fn kills(&self) -> Option<u64> {
        let name = match self.version {
            Version::Two => "memory.events",
            Version::One => "memory.oom_control",
        };
        field(&self.read(name)?, "oom_kill")
    }
}

/// The groups with a controller that this process is in, its own first.
fn groups_of(root: &Path, groups: &str, mounts: &[Mount], controller: &str) -> Vec<Group> {
    let mut found = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let has = |own: &str| own.split(',').any(|name| name == controller);
        if !controllers.is_empty() && !has(controllers) {
            continue;
        }
        let is_it = |mount: &&Mount| match mount.version {
            Version::Two => controllers.is_empty(),
            Version::One => !controllers.is_empty() && mount.controllers.iter().any(|name| name == controller),
        };
        match mounts.iter().find(is_it) {
            Some(mount) => found.extend(groups_below(root, mount, Path::new(path))),
            // Where mounts are not told: as everybody mounts them.
            None if mounts.is_empty() => {
                found.extend(usual(controllers).iter().flat_map(|mount| groups_below(root, mount, Path::new(path))));
            }
            None => {}
        }
    }
    found
}

/// The folders of a group and of all above that are mounted.
fn groups_below(root: &Path, mount: &Mount, path: &Path) -> Vec<Group> {
    // A path that does not begin with the mounted group is another namespace's; what is mounted is the
    // container's own then.
    let below = path.strip_prefix(&mount.root).unwrap_or(Path::new(""));
    let below = below.strip_prefix("/").unwrap_or(below);
    let leads_out = below.components().any(|part| part == Component::ParentDir);
    let below = if leads_out { Path::new("") } else { below };
    let point = root.join(mount.point.strip_prefix("/").unwrap_or(&mount.point));
    let folders = below.ancestors().map(|below| if below == Path::new("") { point.clone() } else { point.join(below) });
    folders.filter(|folder| folder.is_dir()).map(|folder| Group { folder, version: mount.version }).collect()
}

fn usual(controllers: &str) -> Vec<Mount> {
    let mount = |point: PathBuf, version| Mount { root: "/".into(), point, version, controllers: Vec::new() };
    let base = Path::new("/sys/fs/cgroup");
    match controllers {
        "" => vec![mount(base.to_owned(), Version::Two)],
        names => vec![mount(base.join(names), Version::One)],
    }
}

/// A line of `mountinfo`, if it is a hierarchy of groups: `… ROOT POINT OPTIONS … - TYPE SOURCE CONTROLLERS`.
fn mount_of(line: &str) -> Option<Mount> {
    let (place, kind) = line.split_once(" - ")?;
    let mut kind = kind.split(' ');
    let version = match kind.next()? {
        "cgroup" => Version::One,
        "cgroup2" => Version::Two,
        _ => return None,
    };
    let controllers = kind.nth(1).unwrap_or_default().split(',').map(str::to_owned).collect();
    let mut place = place.split(' ').skip(3);
    let (root, point) = (place.next()?.into(), place.next()?.into());
    Some(Mount { root, point, version, controllers })
}

/// `max 100000` or `50000 100000`: points of CPU.
fn quota(text: &str) -> Option<f64> {
    let (quota, period) = text.trim().split_once(' ')?;
    let (quota, period): (f64, f64) = (quota.parse().ok()?, period.trim().parse().ok()?);
    (quota > 0.0 && period > 0.0).then(|| (quota / period * 100.0).round())
}

/// The number behind a name, of lines `name number`.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

#[cfg(test)]
mod tests;
