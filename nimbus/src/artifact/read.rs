//! Reads what an executable needs from its file: the ELF header and the few tables that tell, never
//! the whole file.

use std::io::{self, Read, Seek, SeekFrom};

use goblin::container::Ctx;
use goblin::elf::header::{self, Header};
use goblin::elf::program_header::{PT_INTERP, ProgramHeader};
use goblin::elf::section_header::{SHT_GNU_VERNEED, SectionHeader};
use goblin::elf::symver::VerneedSection;

use super::{GlibcVersion, Libc, Needs};

/// Why a file is no executable that a supervisor could run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UnfitFile {
    /// It cannot be read.
    #[error("the file cannot be read")]
    Io(#[from] io::Error),
    /// It is something else.
    #[error("{0}; expected a program for Linux (ELF)")]
    Other(String),
}

/// The most bytes of one table that are read.
const LONGEST_TABLE: u64 = 16 * 1024 * 1024;
/// The most libraries, and versions of one library, that are looked at.
const MOST_VERSIONS: usize = 4096;

/// Reads what the executable in `file` needs.
///
/// # Errors
/// When it is no executable, saying what it is instead.
pub(crate) fn read_needs<F: Read + Seek>(file: &mut F) -> Result<Needs, UnfitFile> {
    let mut start = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.take(64).read_to_end(&mut start)?;
    if is_mach_o(&start) {
        return Ok(Needs { os: "macos", architecture: String::new(), libc: Libc::None });
    }
    if !start.starts_with(header::ELFMAG) {
        return Err(UnfitFile::Other(what_else(&start).to_owned()));
    }
    read_elf(file, &start)
}

fn is_mach_o(start: &[u8]) -> bool {
    let magics: [&[u8]; 3] = [&[0xcf, 0xfa, 0xed, 0xfe], &[0xce, 0xfa, 0xed, 0xfe], &[0xca, 0xfe, 0xba, 0xbe]];
    magics.iter().any(|magic| start.starts_with(magic))
}

fn what_else(start: &[u8]) -> &'static str {
    match start {
        [] => "it is empty",
        [b'#', b'!', ..] => "it is a script",
        [b'M', b'Z', ..] => "it is a program for Windows",
        [0x1f, 0x8b, ..] | [b'P', b'K', 3, 4, ..] => "it is an archive",
        _ => "it is no program",
    }
}

fn read_elf<F: Read + Seek>(file: &mut F, start: &[u8]) -> Result<Needs, UnfitFile> {
    // goblin reads a header of 64 bytes whatever the class; one of 32 bits has at least that with its tables.
    let mut bytes = start.to_vec();
    bytes.resize(64, 0);
    let header = goblin::elf::Elf::parse_header(&bytes).map_err(|_| damaged("header"))?;
    if header.e_type != header::ET_EXEC && header.e_type != header::ET_DYN {
        return Err(UnfitFile::Other(format!("it is no program but {}", kind(header.e_type))));
    }
    let context = context(&header).ok_or_else(|| damaged("header"))?;
    let table = read_range(file, header.e_phoff, u64::from(header.e_phentsize) * u64::from(header.e_phnum))?;
    let segments = ProgramHeader::parse(&table, 0, header.e_phnum.into(), context).map_err(|_| damaged("segments"))?;
    let interpreter = match segments.iter().find(|segment| segment.p_type == PT_INTERP) {
        Some(segment) => read_range(file, segment.p_offset, segment.p_filesz.min(4096))?,
        None => Vec::new(),
    };
    let interpreter = String::from_utf8_lossy(&interpreter);
    let sections = read_sections(file, &header, context)?;
    let newest = newest_glibc(file, &sections, context)?;
    let libc = if interpreter.contains("ld-musl") {
        Libc::Musl
    } else if newest.is_some() || interpreter.contains("ld-linux") || interpreter.contains("/ld64.so") {
        Libc::Glibc(newest)
    } else {
        Libc::None
    };
    Ok(Needs { os: "linux", architecture: architecture(header.e_machine), libc })
}

fn damaged(what: &str) -> UnfitFile {
    UnfitFile::Other(format!("its {what} cannot be read: it is damaged"))
}

fn read_sections<F: Read + Seek>(file: &mut F, header: &Header, context: Ctx) -> Result<Vec<SectionHeader>, UnfitFile> {
    let table = read_range(file, header.e_shoff, u64::from(header.e_shentsize) * u64::from(header.e_shnum))?;
    if table.is_empty() {
        return Ok(Vec::new());
    }
    // To goblin, a table at the beginning is none.
    let table = [&[0; 64], table.as_slice()].concat();
    SectionHeader::parse(&table, 64, header.e_shnum.into(), context).map_err(|_| damaged("sections"))
}

fn context(header: &Header) -> Option<Ctx> {
    Some(Ctx::new(header.container().ok()?, header.endianness().ok()?))
}

fn kind(kind: u16) -> &'static str {
    match kind {
        header::ET_REL => "an object file",
        header::ET_CORE => "a core dump",
        _ => "something else",
    }
}

/// As `uname -m` and Rust's targets call it.
fn architecture(machine: u16) -> String {
    match machine {
        header::EM_X86_64 => "x86_64".to_owned(),
        header::EM_AARCH64 => "aarch64".to_owned(),
        header::EM_386 => "x86".to_owned(),
        header::EM_ARM => "arm".to_owned(),
        header::EM_RISCV => "riscv64".to_owned(),
        header::EM_PPC64 => "powerpc64".to_owned(),
        header::EM_S390 => "s390x".to_owned(),
        header::EM_MIPS => "mips".to_owned(),
        258 => "loongarch64".to_owned(),
        other => format!("machine {other}"),
    }
}

/// The highest `GLIBC_x.y` among the versions of symbols that it needs.
fn newest_glibc<F: Read + Seek>(
    file: &mut F,
    sections: &[SectionHeader],
    context: Ctx,
) -> Result<Option<GlibcVersion>, UnfitFile> {
    let Some(needed) = sections.iter().find(|section| section.sh_type == SHT_GNU_VERNEED) else { return Ok(None) };
    let Some(names) = sections.get(needed.sh_link as usize) else { return Ok(None) };
    let names = read_range(file, names.sh_offset, names.sh_size)?;
    let bytes = read_range(file, needed.sh_offset, needed.sh_size)?;
    // The section alone was read: it begins at the first of these bytes.
    let section = SectionHeader { sh_offset: 0, sh_size: bytes.len() as u64, ..needed.clone() };
    let Ok(Some(versions)) = VerneedSection::parse(&bytes, std::slice::from_ref(&section), context) else {
        return Ok(None);
    };
    let mut newest = None;
    for library in versions.iter().take(MOST_VERSIONS) {
        for version in library.iter().take(MOST_VERSIONS) {
            let name = names.get(version.vna_name..).unwrap_or_default();
            let name = name.split(|&byte| byte == 0).next().unwrap_or_default();
            let version = std::str::from_utf8(name).ok().and_then(|name| name.strip_prefix("GLIBC_"));
            newest = newest.max(version.and_then(GlibcVersion::parse));
        }
    }
    Ok(newest)
}

fn read_range<F: Read + Seek>(file: &mut F, offset: u64, length: u64) -> Result<Vec<u8>, UnfitFile> {
    if length > LONGEST_TABLE {
        return Err(UnfitFile::Other(format!("one of its tables has {length} bytes: it is damaged")));
    }
    let mut bytes = Vec::new();
    if length > 0 {
        file.seek(SeekFrom::Start(offset))?;
        file.take(length).read_to_end(&mut bytes)?;
        if bytes.len() as u64 != length {
            return Err(UnfitFile::Other("it ends too early: it is damaged".to_owned()));
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    /// The test's own executable.
    fn own() -> Vec<u8> {
        let path = std::env::current_exe().expect("a test has an executable");
        std::fs::read(path).expect("it can be read")
    }

    #[test]
    fn own_executable_needs_this_architecture() {
        let needs = read_needs(&mut Cursor::new(own())).expect("it is a program");
        if cfg!(target_os = "linux") {
            assert_eq!((needs.os, needs.architecture.as_str()), ("linux", std::env::consts::ARCH));
            assert_eq!(matches!(needs.libc, Libc::Glibc(Some(_))), cfg!(target_env = "gnu"), "{needs:?}");
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn cut_off_or_garbled_program_is_refused_or_read_and_never_panics() {
        let own = own();
        for length in (0..200).chain([own.len() / 2, own.len() - 1]) {
            let _ = read_needs(&mut Cursor::new(&own[..length]));
        }
        let mut random = fastrand::Rng::with_seed(7);
        // Headers at the start, and the section table at the end.
        let (head, tail) = (&own[..4096.min(own.len())], &own[own.len() - 4096..]);
        for _ in 0..2000 {
            let mut bytes = [head, tail].concat();
            for _ in 0..random.usize(1..16) {
                let at = random.usize(4..128);
                bytes[at] = random.u8(..);
            }
            let _ = read_needs(&mut Cursor::new(bytes));
        }
    }

    #[test]
    fn what_is_no_program_is_named() {
        for (bytes, expected) in [
            (&b"#!/bin/sh\necho"[..], "it is a script; expected a program for Linux (ELF)"),
            (b"", "it is empty; expected a program for Linux (ELF)"),
            (b"MZ\x90", "it is a program for Windows; expected a program for Linux (ELF)"),
            (b"hello", "it is no program; expected a program for Linux (ELF)"),
        ] {
            let refusal = read_needs(&mut Cursor::new(bytes)).expect_err("no program");
            assert_eq!(refusal.to_string(), expected);
        }
    }
}
