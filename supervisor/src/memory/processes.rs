//! How much memory the processes of a worker have: those of its group, and all that descend from it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

/// Membership is looked up once in so many looks: it takes reading all processes of the machine.
const EACH: u32 = 4;

/// Remembers which processes belong to which worker.
#[derive(Debug, Default)]
pub(super) struct Processes {
    members: BTreeMap<u32, BTreeSet<u32>>,
    looks: u32,
}

/// One process, as far as it matters whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kin {
    pid: u32,
    parent: u32,
    group: u32,
}

impl Processes {
    /// To be called before each look at workers, which are leaders of groups.
    pub(super) fn refresh(&mut self, leaders: &[u32]) {
        let is_new = leaders.iter().any(|leader| !self.members.contains_key(leader));
        if is_new || self.looks.is_multiple_of(EACH) {
            let kin = all();
            self.members = leaders.iter().map(|leader| (*leader, members(&kin, *leader))).collect();
        }
        self.looks = self.looks.wrapping_add(1);
    }

    /// What a worker's own process has; `None` if it is gone.
    pub(super) fn alone(leader: u32) -> Option<u64> {
        resident(leader)
    }

    /// What all its processes have. What they share counts for each.
    pub(super) fn together(&self, leader: u32) -> u64 {
        self.sum(leader, resident)
    }

    /// The same, where what they share counts once. It takes the kernel a walk through all their pages.
    pub(super) fn exactly(&self, leader: u32) -> u64 {
        self.sum(leader, |pid| proportional(pid).or_else(|| resident(pid)))
    }

    fn sum(&self, leader: u32, of: impl Fn(u32) -> Option<u64>) -> u64 {
        let own = self.members.get(&leader).into_iter().flatten();
        own.filter_map(|pid| of(*pid)).fold(0, u64::saturating_add)
    }
}

/// A process, those of its group, and all their descendants, in groups of their own, too.
fn members(kin: &[Kin], leader: u32) -> BTreeSet<u32> {
    let mut members: BTreeSet<u32> =
        kin.iter().filter(|it| it.pid == leader || it.group == leader).map(|it| it.pid).collect();
    members.insert(leader);
    loop {
        let found: Vec<u32> = kin
            .iter()
            .filter(|it| members.contains(&it.parent) && !members.contains(&it.pid))
            .map(|it| it.pid)
            .collect();
        if found.is_empty() {
            return members;
        }
        members.extend(found);
    }
}

fn all() -> Vec<Kin> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter_map(|pid| parse_kin(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)).collect()
}

/// `12 (a name) S PARENT GROUP …`; the name may contain anything.
fn parse_kin(stat: &str) -> Option<Kin> {
    let pid = stat.split(' ').next()?.parse().ok()?;
    let mut fields = stat.get(stat.rfind(')')? + 1..)?.split_ascii_whitespace().skip(1);
    Some(Kin { pid, parent: fields.next()?.parse().ok()?, group: fields.next()?.parse().ok()? })
}

/// Without what stands in files as well: the kernel takes that back when memory is short.
fn resident(pid: u32) -> Option<u64> {
    parse_sum(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?, &["RssAnon:", "RssShmem:"])
}

fn proportional(pid: u32) -> Option<u64> {
    parse_sum(&fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?, &["Pss_Anon:", "Pss_Shmem:"])
}

/// The sum of lines `Name:  16 kB`, in bytes; `None` if one is missing.
fn parse_sum(text: &str, names: &[&str]) -> Option<u64> {
    let value = |name: &&str| {
        let line = text.lines().find_map(|line| line.strip_prefix(*name))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
    };
    names.iter().map(value).sum::<Option<u64>>().map(|kib| kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_belong_to_a_worker_whatever_group_they_chose_and_orphans_by_their_group() {
        let kin = |pid, parent, group| Kin { pid, parent, group };
        let all = [kin(1, 0, 1), kin(10, 1, 10), kin(11, 10, 10), kin(12, 11, 12), kin(13, 12, 13), kin(14, 1, 10)];
        let other = [kin(20, 1, 20), kin(21, 20, 20)];
        let all: Vec<Kin> = all.into_iter().chain(other).collect();
        assert_eq!(members(&all, 10), [10, 11, 12, 13, 14].into());
        assert_eq!(members(&all, 20), [20, 21].into());
        assert_eq!(parse_kin("12 (a) b (c) S 1 10 3"), Some(kin(12, 1, 10)));
        assert_eq!(parse_kin("12 (a"), None);
    }

    #[test]
    fn what_stands_in_files_is_not_counted() {
        let status = "VmRSS:\t  900 kB\nRssAnon:\t  300 kB\nRssFile:\t 500 kB\nRssShmem:\t  100 kB\n";
        assert_eq!(parse_sum(status, &["RssAnon:", "RssShmem:"]), Some(400 * 1024));
        assert_eq!(parse_sum("VmRSS: 1 kB\n", &["RssAnon:"]), None, "a zombie has none");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_has_about_what_it_allocates() {
        let own = std::process::id();
        let mut processes = Processes::default();
        processes.refresh(&[own]);
        let before = Processes::alone(own).expect("it lives");
        let much = vec![1_u8; 64 << 20];
        let after = Processes::alone(own).expect("it lives");
        assert!(after - before > 60 << 20, "{before} became {after} with {} more", much.len());
        // Other tests of this process may give back memory meanwhile.
        assert!(processes.together(own) >= 60 << 20);
        assert!(processes.exactly(own) >= 60 << 20);
        assert_eq!(Processes::alone(u32::MAX), None);
    }
}
