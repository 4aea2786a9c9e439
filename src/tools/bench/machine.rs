//! The machine and the file system under the figures.
//!
//! A fact that cannot be found out stays empty: nothing depends on it.

use std::fs;
use std::path::Path;

pub(super) use super::record::Machine;

impl Machine {
    /// Looks at this machine and at the file system that holds `dir`.
    pub(super) fn examine(dir: &Path) -> Machine {
        let mount = Mount::of(dir).unwrap_or_default();
        Machine {
            cpu: field("/proc/cpuinfo", "model name", ':'),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            memory_bytes: memory_bytes(),
            os: match field("/etc/os-release", "PRETTY_NAME", '=') {
                name if name.is_empty() => std::env::consts::OS.to_owned(),
                name => name.trim_matches('"').to_owned(),
            },
            kernel: line("/proc/sys/kernel/osrelease"),
            device: device(&mount.device),
            file_system: if is_tmpfs(dir) { "tmpfs".into() } else { mount.file_system },
            mount_options: mount.options,
            mount_source: mount.source,
        }
    }

    /// Whether the file system is in memory: even flushed data do not survive a power loss.
    pub(super) fn is_memory_file_system(&self) -> bool {
        matches!(&*self.file_system, "tmpfs" | "ramfs")
    }

    /// Reasons to distrust figures that were measured in `dir`.
    pub(super) fn warnings(&self, dir: &Path) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.is_memory_file_system() {
            warnings.push(format!(
                "{} is in memory: flushing costs nothing there, and figures for sync commits mean \
                 nothing",
                dir.display()
            ));
        }
        if cfg!(debug_assertions) {
            warnings.push("built without optimization: figures mean nothing".to_owned());
        }
        warnings
    }

    /// One line for people.
    pub(super) fn summary(&self) -> String {
        format!(
            "{}, {} cores, {} MiB, {}, kernel {}, {} ({}) on {} {}",
            or_unknown(&self.cpu),
            self.cores,
            self.memory_bytes >> 20,
            self.os,
            or_unknown(&self.kernel),
            or_unknown(&self.file_system),
            self.mount_options,
            or_unknown(&self.mount_source),
            self.device,
        )
    }
}

fn or_unknown(text: &str) -> &str {
    if text.is_empty() { "unknown" } else { text }
}

/// The mount that holds a directory.
#[derive(Debug, Default, PartialEq, Eq)]
struct Mount {
    /// Major and minor number, as in "253:0".
    device: String,
    point: String,
    options: String,
    file_system: String,
    source: String,
}

impl Mount {
    fn of(dir: &Path) -> Option<Mount> {
        let dir = dir.canonicalize().ok()?;
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        // Of several mounts at one point, the last one covers the others.
        mounts
            .lines()
            .filter_map(Mount::parse)
            .filter(|mount| dir.starts_with(&mount.point))
            .max_by_key(|mount| mount.point.len())
    }

    /// A line of `/proc/self/mountinfo`: id, parent, device, root, mount point, options,
    /// any number of optional fields, a hyphen, type, source, options of the file system.
    fn parse(line: &str) -> Option<Mount> {
        let (mount, file_system) = line.split_once(" - ")?;
        let mount: Vec<&str> = mount.split(' ').collect();
        let mut file_system = file_system.split(' ');
        Some(Mount {
            device: (*mount.get(2)?).to_owned(),
            point: mount.get(4)?.replace("\\040", " "),
            options: (*mount.get(5)?).to_owned(),
            file_system: file_system.next()?.to_owned(),
            source: file_system.next()?.to_owned(),
        })
    }
}

/// The kernel's description of a block device: model, whether it spins, mode of its cache.
fn device(number: &str) -> String {
    let block = format!("/sys/dev/block/{number}");
    // A partition has no model of its own; its disk is the directory above.
    let read = |file: &str| {
        let own = line(&format!("{block}/{file}"));
        if own.is_empty() { line(&format!("{block}/../{file}")) } else { own }
    };
    let kind = match &*read("queue/rotational") {
        "0" => "not rotational",
        "1" => "rotational",
        _ => "",
    };
    let cache = read("queue/write_cache");
    [read("device/model"), kind.to_owned(), cache]
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join(", ")
}

/// The first line of a file; empty if it cannot be read.
fn line(path: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().next().unwrap_or_default().trim().to_owned()
}

/// The value after `name` and `separator` in a file of such lines; empty if there is none.
fn field(path: &str, name: &str, separator: char) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let fields = text.lines().filter_map(|line| line.split_once(separator));
    let mut values = fields.filter(|(found, _)| found.trim() == name);
    values.next().map_or_else(String::new, |(_, value)| value.trim().to_owned())
}

fn memory_bytes() -> u64 {
    let total = field("/proc/meminfo", "MemTotal", ':');
    let kib = total.split(' ').next().and_then(|digits| digits.parse::<u64>().ok());
    kib.unwrap_or(0) << 10
}

/// Asks the file system itself: the mount table may be hidden from this process.
#[cfg(target_os = "linux")]
fn is_tmpfs(dir: &Path) -> bool {
    const TMPFS_MAGIC: u64 = 0x0102_1994;
    rustix::fs::statfs(dir).is_ok_and(|found| found.f_type as u64 == TMPFS_MAGIC)
}

#[cfg(not(target_os = "linux"))]
fn is_tmpfs(_: &Path) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_mount_table_is_parsed() {
        let line = "36 35 98:0 /root /mnt\\0402 rw,noatime master:1 shared:7 - ext3 /dev/sda rw";
        let expected = Mount {
            device: "98:0".into(),
            point: "/mnt 2".into(),
            options: "rw,noatime".into(),
            file_system: "ext3".into(),
            source: "/dev/sda".into(),
        };
        assert_eq!(Mount::parse(line), Some(expected));
        assert_eq!(Mount::parse("36 35 98:0 /root - ext3 /dev/sda rw"), None);
        assert_eq!(Mount::parse(""), None);
    }
}
