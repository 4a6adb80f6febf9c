//! Layouts as they were found on machines and in containers.

use tempfile::TempDir;

use super::*;

const MIB: u64 = 1 << 20;
const UNLIMITED: &str = "9223372036854771712\n";

/// A root with these files.
fn root(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (path, content) in files {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        fs::write(path, content).expect("written");
    }
    folder
}

/// Limit, use, kills and CPU.
fn read(files: &[(&str, &str)]) -> (Option<u64>, Option<u64>, u64, Option<f64>) {
    let root = root(files);
    let groups = Cgroups::find(root.path());
    let limit = groups.memory();
    (limit.as_ref().map(|it| it.bytes / MIB), limit.and_then(|it| it.used()), groups.kills(), groups.cpu())
}

#[test]
fn a_container_of_version_2_with_a_namespace_is_its_own_root() {
    let found = read(&[
        ("proc/self/cgroup", "0::/\n"),
        (
            "proc/self/mountinfo",
            "880 870 0:27 / /sys ro,nosuid - sysfs sysfs ro\n\
             881 880 0:28 / /sys/fs/cgroup ro,nosuid,nodev,noexec,relatime - cgroup2 cgroup rw,nsdelegate\n",
        ),
        ("sys/fs/cgroup/memory.max", "2147483648\n"),
        ("sys/fs/cgroup/memory.current", "1000\n"),
        ("sys/fs/cgroup/memory.stat", "anon 600\nfile 400\ninactive_file 300\nactive_file 50\nshmem 50\n"),
        ("sys/fs/cgroup/memory.events", "low 0\nhigh 0\nmax 12\noom 2\noom_kill 3\noom_group_kill 1\n"),
        ("sys/fs/cgroup/cpu.max", "150000 100000\n"),
    ]);
    assert_eq!(found, (Some(2048), Some(650), 3, Some(150.0)));
}

#[test]
fn a_service_of_version_2_is_bound_by_the_least_limit_on_its_way_up() {
    let found = read(&[
        ("proc/self/cgroup", "0::/system.slice/galerna.service\n"),
        ("proc/self/mountinfo", "34 24 0:29 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw\n"),
        ("sys/fs/cgroup/cgroup.controllers", "cpu memory\n"),
        ("sys/fs/cgroup/system.slice/memory.max", "1073741824\n"),
        ("sys/fs/cgroup/system.slice/memory.current", "700\n"),
        ("sys/fs/cgroup/system.slice/memory.stat", "inactive_file 100\n"),
        ("sys/fs/cgroup/system.slice/cpu.max", "max 100000\n"),
        ("sys/fs/cgroup/system.slice/galerna.service/memory.max", "max\n"),
        ("sys/fs/cgroup/system.slice/galerna.service/memory.current", "500\n"),
        ("sys/fs/cgroup/system.slice/galerna.service/cpu.max", "25000 100000\n"),
    ]);
    assert_eq!(found, (Some(1024), Some(600), 0, Some(25.0)));
}

#[test]
fn a_container_of_version_1_is_told_its_path_on_the_host_and_sees_only_its_own_folder() {
    let path = "/kubepods/burstable/pod9e66d285/a1b0ce67";
    let stat = "cache 4096\nhierarchical_memory_limit 268435456\ninactive_file 1\ntotal_inactive_file 4096\n";
    let files = [
        ("proc/self/cgroup", format!("9:memory:{path}\n8:cpu,cpuacct:{path}\n7:pids:{path}\n0::{path}\n")),
        (
            "proc/self/mountinfo",
            format!(
                "217 216 0:63 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n\
                 218 217 0:29 {path} /sys/fs/cgroup/cpu,cpuacct ro,relatime master:30 - cgroup cgroup rw,cpu,cpuacct\n\
                 221 217 0:32 {path} /sys/fs/cgroup/memory ro,relatime master:33 - cgroup cgroup rw,memory\n"
            ),
        ),
        ("sys/fs/cgroup/memory/memory.limit_in_bytes", "536870912\n".to_owned()),
        ("sys/fs/cgroup/memory/memory.usage_in_bytes", "10000\n".to_owned()),
        ("sys/fs/cgroup/memory/memory.stat", stat.to_owned()),
        ("sys/fs/cgroup/memory/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 4\n".to_owned()),
        ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "50000\n".to_owned()),
        ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n".to_owned()),
    ];
    let files: Vec<(&str, &str)> = files.iter().map(|(path, content)| (*path, content.as_str())).collect();
    // The pod's limit, of which only the sum is seen, is less than the container's.
    assert_eq!(read(&files), (Some(256), Some(5904), 4, Some(50.0)));
}

#[test]
fn a_group_of_version_1_on_a_host_is_found_by_its_path_and_no_limit_is_none() {
    let mounts = "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n\
                  32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n\
                  33 31 0:30 / /sys/fs/cgroup/cpuacct rw,relatime - cgroup cgroup rw,cpuacct\n\
                  35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
                  41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";
    let found = read(&[
        ("proc/self/cgroup", "4:memory:/jobs/7\n2:cpuacct:/other\n1:cpu:/jobs\n0::/jobs/7\n"),
        ("proc/self/mountinfo", mounts),
        ("sys/fs/cgroup/unified/jobs/7/cgroup.procs", "1\n"),
        ("sys/fs/cgroup/memory/memory.stat", "total_inactive_file 0\n"),
        ("sys/fs/cgroup/memory/jobs/memory.limit_in_bytes", UNLIMITED),
        ("sys/fs/cgroup/memory/jobs/memory.oom_control", "oom_kill 1\n"),
        ("sys/fs/cgroup/memory/jobs/7/memory.limit_in_bytes", "104857600\n"),
        ("sys/fs/cgroup/memory/jobs/7/memory.usage_in_bytes", "9\n"),
        ("sys/fs/cgroup/memory/jobs/7/memory.stat", "total_inactive_file 2\ntotal_active_file 3\n"),
        ("sys/fs/cgroup/memory/jobs/7/memory.oom_control", "oom_kill_disable 0\noom_kill 2\n"),
        ("sys/fs/cgroup/cpuacct/other/cpu.cfs_quota_us", "1\n"),
        ("sys/fs/cgroup/cpu/jobs/cpu.cfs_quota_us", "-1\n"),
        ("sys/fs/cgroup/cpu/jobs/cpu.cfs_period_us", "100000\n"),
    ]);
    assert_eq!(found, (Some(100), Some(4), 3, None));
    let unlimited = [
        ("proc/self/cgroup", "4:memory:/\n"),
        ("proc/self/mountinfo", mounts),
        ("sys/fs/cgroup/memory/memory.limit_in_bytes", UNLIMITED),
        ("sys/fs/cgroup/memory/memory.stat", "hierarchical_memory_limit 9223372036854771712\n"),
    ];
    assert_eq!(read(&unlimited).0, None);
}

#[test]
fn a_path_of_another_namespace_leads_to_what_is_mounted() {
    let files = |path| {
        [
            ("proc/self/cgroup", path),
            ("proc/self/mountinfo", "881 880 0:28 /../.. /sys/fs/cgroup ro - cgroup2 cgroup rw\n"),
            ("sys/fs/cgroup/memory.max", "1048576\n"),
        ]
    };
    for path in ["0::/../../other/x\n", "0::/gone\n", "0::/\n"] {
        assert_eq!(read(&files(path)).0, Some(1), "{path}");
    }
}

#[test]
fn without_a_table_of_mounts_the_usual_places_are_looked_at() {
    let two = [("proc/self/cgroup", "0::/a/b\n"), ("sys/fs/cgroup/a/memory.max", "2097152\n")];
    assert_eq!(read(&two).0, Some(2));
    let one = [
        ("proc/self/cgroup", "4:cpu,cpuacct:/\n5:memory:/x\n"),
        ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "200000\n"),
        ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
        ("sys/fs/cgroup/memory/memory.limit_in_bytes", "3145728\n"),
    ];
    assert_eq!((read(&one).0, read(&one).3), (Some(3), Some(200.0)));
    assert_eq!(read(&[]), (None, None, 0, None));
}

#[test]
fn quotas_are_points_of_cpu() {
    assert_eq!(quota("max 100000\n"), None);
    assert_eq!(quota("25000 100000\n"), Some(25.0));
    assert_eq!(quota("-1 100000"), None);
}
