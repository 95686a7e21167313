//! The memory that the system reports.

use std::path::{Component, Path, PathBuf};
use sysinfo::System;

/// Reserve below a limit of the address space, in bytes, for uncounted memory: stacks, libraries, drivers.
const UNCOUNTED: u64 = 1 << 26;

/// The minimum of the machine's free memory, the limits of its control groups and its own limits; `None` if the system
/// reports none.
pub fn available_memory() -> Option<u64> {
    let mut system = System::new();
    system.refresh_memory();
    let free = Some(system.available_memory()).filter(|&bytes| bytes > 0);
    free.into_iter().chain(allowed_memory(Path::new("/"))).min()
}

/// The bytes that control groups and limits of this process allow, according to Linux's files below `root`; `None`
/// without limits.
fn allowed_memory(root: &Path) -> Option<u64> {
    let group = allowed_by_groups(root);
    let limits = [("Max address space", "VmSize:", UNCOUNTED), ("Max data size", "VmData:", UNCOUNTED)];
    let limits = limits.into_iter().filter_map(|(limit, used, uncounted)| {
        let limit = value(&read(root, "proc/self/limits")?, limit)?;
        let used = value(&read(root, "proc/self/status")?, used)?.saturating_mul(1024);
        Some(limit.saturating_sub(used).saturating_sub(uncounted))
    });
    limits.chain(group).min()
}

/// The minimum that the control groups (version 1 or 2) and their parents allow.
fn allowed_by_groups(root: &Path) -> Option<u64> {
    let (groups, mounts) = (read(root, "proc/self/cgroup")?, read(root, "proc/self/mountinfo")?);
    let mut least = None;
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else {
            continue;
        };
        let version = match controllers {
            "" => &VERSION_2,
            _ if controllers.split(',').any(|name| name == "memory") => &VERSION_1,
            _ => continue,
        };
        for mount in mounts.lines().filter_map(|line| Mount::of(line, version)) {
            let top = below(root, &mount.point);
            let mut folder = top.join(mount.within(Path::new(path)));
            loop {
                least = least.into_iter().chain(version.allowed(&folder)).min();
                if folder == top || !folder.pop() {
                    break;
                }
            }
        }
    }
    least
}

/// File names of a version of control groups.
struct Version {
    file_system: &'static str,
    /// Mount option that identifies the memory controller (version 1).
    option: Option<&'static str>,
    limit: &'static str,
    used: &'static str,
    /// Key of the page cache that the kernel can drop, which counts as free.
    inactive_file: &'static str,
}

const VERSION_2: Version = Version {
    file_system: "cgroup2",
    option: None,
    limit: "memory.max",
    used: "memory.current",
    inactive_file: "inactive_file",
};

const VERSION_1: Version = Version {
    file_system: "cgroup",
    option: Some("memory"),
    limit: "memory.limit_in_bytes",
    used: "memory.usage_in_bytes",
    inactive_file: "total_inactive_file",
};

impl Version {
    /// The bytes that the control group of a directory allows; `None` without a limit.
    fn allowed(&self, folder: &Path) -> Option<u64> {
        let limit = read(folder, self.limit)?.trim().parse::<u64>().ok()?;
        let used = read(folder, self.used)?.trim().parse::<u64>().ok()?;
        let dropped = read(folder, "memory.stat").and_then(|text| value(&text, self.inactive_file));
        Some(limit.saturating_sub(used.saturating_sub(dropped.unwrap_or(0))))
    }
}

/// A mounted hierarchy of control groups.
struct Mount {
    /// The control group at the mount point.
    root: PathBuf,
    point: PathBuf,
}

impl Mount {
    /// Parses a line of `mountinfo`; `None` if it is not of this version.
    fn of(line: &str, version: &Version) -> Option<Self> {
        let (place, kind) = line.split_once(" - ")?;
        let (mut place, mut kind) = (place.split(' ').skip(3), kind.split(' '));
        let (root, point) = (place.next()?, place.next()?);
        let of_version = kind.next()? == version.file_system
            && version
                .option
                .is_none_or(|option| kind.nth(1).is_some_and(|all| all.split(',').any(|o| o == option)));
        // mountinfo escapes spaces.
        let path = |text: &str| PathBuf::from(text.replace("\\040", " "));
        of_version.then(|| Mount { root: path(root), point: path(point) })
    }

    /// The path of a control group relative to the mount point. In a container it may be the path outside.
    fn within(&self, group: &Path) -> PathBuf {
        let plain = |path: &Path| path.components().all(|part| part != Component::ParentDir);
        match group.strip_prefix(&self.root) {
            Ok(path) if plain(path) => path.into(),
            _ => PathBuf::new(),
        }
    }
}

/// An absolute path, relocated below `root`.
fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

fn read(folder: &Path, name: &str) -> Option<String> {
    std::fs::read_to_string(folder.join(name)).ok()
}

/// The number after a word at the beginning of a line.
fn value(text: &str, word: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(word)?.strip_prefix([' ', '\t']))?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    const LIMITS: &str = "Limit                     Soft Limit           Hard Limit           Units     \n\
                          Max data size             unlimited            unlimited            bytes     \n\
                          Max address space         unlimited            unlimited            bytes     \n";

    /// Creates a root directory with these files.
    fn root(files: &[(&str, &str)]) -> TempDir {
        let root = TempDir::new().unwrap();
        for (name, text) in files {
            let path = root.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        root
    }

    fn allowed(files: &[(&str, &str)]) -> Option<u64> {
        allowed_memory(root(files).path())
    }

    const V2: [(&str, &str); 2] = [
        ("proc/self/cgroup", "0::/pod/app\n"),
        ("proc/self/mountinfo", "30 25 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw\n"),
    ];

    #[test]
    fn nothing_is_limited_where_nothing_says_so() {
        assert_eq!(allowed(&[]), None);
        assert_eq!(
            allowed(&[("proc/self/limits", LIMITS), ("proc/self/status", "VmSize:\t10 kB\n")]),
            None
        );
        let group = ("sys/fs/cgroup/pod/app/memory.max", "max\n");
        assert_eq!(allowed(&[V2[0], V2[1], group]), None);
    }

    #[test]
    fn the_least_of_a_group_and_those_above_it_counts() {
        let group = |inner: &str, outer: &str| {
            allowed(&[
                V2[0],
                V2[1],
                ("sys/fs/cgroup/pod/app/memory.max", inner),
                ("sys/fs/cgroup/pod/app/memory.current", "400\n"),
                ("sys/fs/cgroup/pod/memory.max", outer),
                ("sys/fs/cgroup/pod/memory.current", "1000\n"),
                ("sys/fs/cgroup/memory.current", "5000\n"),
            ])
        };
        assert_eq!(group("2000\n", "max\n"), Some(1600));
        assert_eq!(group("2000\n", "1500\n"), Some(500));
        assert_eq!(group("max\n", "1500\n"), Some(500));
        assert_eq!(group("300\n", "max\n"), Some(0));
    }

    #[test]
    fn copies_of_files_do_not_count_as_used() {
        let files = [
            V2[0],
            V2[1],
            ("sys/fs/cgroup/pod/app/memory.max", "2000\n"),
            ("sys/fs/cgroup/pod/app/memory.current", "1900\n"),
            ("sys/fs/cgroup/pod/app/memory.stat", "anon 100\nactive_file 300\ninactive_file 1500\n"),
        ];
        assert_eq!(allowed(&files), Some(1600));
    }

    #[test]
    fn a_container_that_sees_its_group_as_the_root_is_limited() {
        let mount = ("proc/self/mountinfo", V2[1].1);
        let files = [
            mount,
            ("proc/self/cgroup", "0::/\n"),
            ("sys/fs/cgroup/memory.max", "3000\n"),
            ("sys/fs/cgroup/memory.current", "1000\n"),
        ];
        assert_eq!(allowed(&files), Some(2000));
    }

    #[test]
    fn groups_of_version_1_count() {
        let mounts = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
                      32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                      35 31 0:32 /docker/abc /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
        let files = [
            ("proc/self/mountinfo", mounts),
            ("proc/self/cgroup", "8:pids:/\n4:memory:/docker/abc/inner\n1:cpu:/\n0::/\n"),
            ("sys/fs/cgroup/memory/inner/memory.limit_in_bytes", "9223372036854771712\n"),
            ("sys/fs/cgroup/memory/inner/memory.usage_in_bytes", "100\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "2000\n"),
            ("sys/fs/cgroup/memory/memory.usage_in_bytes", "900\n"),
            ("sys/fs/cgroup/memory/memory.stat", "inactive_file 0\ntotal_inactive_file 100\n"),
        ];
        assert_eq!(allowed(&files), Some(1200));
        // The path of the group outside the container, which the mount does not contain.
        let outside = ("proc/self/cgroup", "4:memory:/kubepods/x\n");
        assert_eq!(allowed(&[files[0], outside, files[4], files[5]]), Some(1100));
    }

    #[test]
    fn limits_of_the_process_count() {
        let gb = 1_000_000_000;
        let limits = |data: &str, space: &str| {
            let text = format!(
                "Max data size  {data}  unlimited  bytes\nMax address space  {space}  unlimited  bytes\n"
            );
            let status = "Name:\tx\nVmPeak:\t  900000 kB\nVmSize:\t  100000 kB\nVmData:\t   50000 kB\n";
            allowed(&[("proc/self/limits", &text), ("proc/self/status", status)])
        };
        assert_eq!(limits("unlimited", "unlimited"), None);
        assert_eq!(limits("unlimited", "1000000000"), Some(gb - 102_400_000 - UNCOUNTED));
        assert_eq!(limits("500000000", "1000000000"), Some(gb / 2 - 51_200_000 - UNCOUNTED));
        assert_eq!(limits("unlimited", "1000"), Some(0));
    }
}
