//! Small programs, as far as their headers tell.

pub(crate) const X86_64: u16 = 62;
pub(crate) const AARCH64: u16 = 183;

/// A program for this machine that needs this version of symbols (`GLIBC_2.34`), if any.
pub(crate) fn program(machine: u16, version: Option<&str>, content: &str) -> Vec<u8> {
    let names = format!("\0libc.so.6\0{}\0{content}\0", version.unwrap_or_default());
    let (name_at, versions_at) = (11u32, 64 + names.len() as u64);
    let mut versions = Vec::new();
    for half in [1u16, 1] {
        versions.extend(half.to_le_bytes());
    }
    for word in [1u32, 16, 0, 0] {
        versions.extend(word.to_le_bytes());
    }
    for half in [0u16, 2] {
        versions.extend(half.to_le_bytes());
    }
    for word in [name_at, 0] {
        versions.extend(word.to_le_bytes());
    }
    let sections_at = versions_at + versions.len() as u64;
    let mut bytes = header(machine, sections_at, if version.is_some() { 3 } else { 0 });
    bytes.extend(names.as_bytes());
    bytes.extend(&versions);
    if version.is_some() {
        // None, the names (strings), and the needed versions, which link to them.
        bytes.extend(section(0, 0, 0, 0, 0));
        bytes.extend(section(3, 64, names.len() as u64, 0, 0));
        bytes.extend(section(0x6fff_fffe, versions_at, versions.len() as u64, 1, 1));
    }
    bytes
}

fn header(machine: u16, sections_at: u64, sections: u16) -> Vec<u8> {
    let mut bytes = b"\x7fELF\x02\x01\x01".to_vec();
    bytes.resize(16, 0);
    bytes.extend(3u16.to_le_bytes());
    bytes.extend(machine.to_le_bytes());
    bytes.extend(1u32.to_le_bytes());
    for long in [0x1000u64, 0, if sections > 0 { sections_at } else { 0 }] {
        bytes.extend(long.to_le_bytes());
    }
    bytes.extend(0u32.to_le_bytes());
    for half in [64u16, 56, 0, 64, sections, 0] {
        bytes.extend(half.to_le_bytes());
    }
    bytes
}

fn section(kind: u32, offset: u64, size: u64, link: u32, info: u32) -> Vec<u8> {
    let mut bytes = 0u32.to_le_bytes().to_vec();
    bytes.extend(kind.to_le_bytes());
    for long in [0u64, 0, offset, size] {
        bytes.extend(long.to_le_bytes());
    }
    bytes.extend(link.to_le_bytes());
    bytes.extend(info.to_le_bytes());
    for long in [1u64, 0] {
        bytes.extend(long.to_le_bytes());
    }
    bytes
}
