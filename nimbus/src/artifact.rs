//! Whether an executable can run on a supervisor: what it needs against what is announced.

mod read;

use std::collections::BTreeMap;
use std::fmt;

use galerna_protocol::Platform;

pub(crate) use read::{UnfitFile, read_needs};

/// A version of glibc.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct GlibcVersion(pub(crate) u32, pub(crate) u32);

impl GlibcVersion {
    /// From `2.36`; a third number does not count.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split('.').map(|number| number.parse().ok());
        Some(Self(numbers.next()??, numbers.next()??))
    }
}

impl fmt::Display for GlibcVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "glibc {}.{}", self.0, self.1)
    }
}

/// The C library that an executable needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Libc {
    /// None: it is linked statically.
    None,
    /// musl's loader.
    Musl,
    /// glibc, of this version or a newer one.
    Glibc(Option<GlibcVersion>),
}

/// What an executable needs to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Needs {
    /// `linux`, `macos`.
    pub(crate) os: &'static str,
    /// `x86_64`; empty if any will do.
    pub(crate) architecture: String,
    /// Its C library.
    pub(crate) libc: Libc,
}

/// One thing that a platform does not have: how to say it, and what to do about it.
struct Misfit {
    needs: String,
    has: String,
    remedy: String,
}

impl Needs {
    /// Whether it runs there.
    pub(crate) fn fit(&self, platform: &Platform) -> bool {
        self.misfit(platform).is_none()
    }

    fn misfit(&self, platform: &Platform) -> Option<Misfit> {
        let misfit = |needs: String, has: &str, remedy: String| Some(Misfit { needs, has: has.to_owned(), remedy });
        if !platform.os.is_empty() && platform.os != self.os {
            return misfit(self.os.to_owned(), &platform.os, format!("build it for {}", platform.os));
        }
        let architecture = &platform.architecture;
        if !self.architecture.is_empty() && !architecture.is_empty() && *architecture != self.architecture {
            let remedy = match platform.libc.starts_with("musl") {
                true => format!("build it with --target {architecture}-unknown-linux-musl"),
                false => format!("build it with --target {architecture}-unknown-linux-gnu"),
            };
            return misfit(self.architecture.clone(), architecture, remedy);
        }
        self.libc_misfit(platform)
    }

    fn libc_misfit(&self, platform: &Platform) -> Option<Misfit> {
        let announced = platform.libc.trim();
        let architecture = if platform.architecture.is_empty() { &self.architecture } else { &platform.architecture };
        let (needs, remedy) = match (self.libc, announced.split_once(' ').unwrap_or((announced, ""))) {
            (Libc::None, _) | (_, ("", _)) | (Libc::Musl, ("musl", _)) => return None,
            (Libc::Glibc(needed), ("glibc", version)) => match (needed, GlibcVersion::parse(version)) {
                (Some(needed), Some(has)) if needed > has => (
                    needed.to_string(),
                    format!(
                        "build it on a system with {has} or older, or with --target {architecture}-unknown-linux-musl"
                    ),
                ),
                _ => return None,
            },
            (Libc::Musl, _) => (
                "musl's loader".to_owned(),
                format!("build it with --target {architecture}-unknown-linux-gnu, or link it statically"),
            ),
            (Libc::Glibc(needed), _) => (
                needed.map_or_else(|| "glibc".to_owned(), |needed| needed.to_string()),
                format!("build it with --target {architecture}-unknown-linux-musl"),
            ),
        };
        Some(Misfit { needs, has: announced.to_owned(), remedy })
    }
}

/// Refuses an executable that runs on none of the supervisors, by name; accepts it if there are none.
///
/// # Errors
/// What it needs, what the supervisors have, and what to do.
pub(crate) fn check_platforms(
    program: &str,
    needs: &Needs,
    platforms: &BTreeMap<String, Platform>,
) -> Result<(), String> {
    if platforms.is_empty() || platforms.values().any(|platform| needs.fit(platform)) {
        return Ok(());
    }
    let misfits: Vec<(&String, Misfit)> =
        platforms.iter().filter_map(|(name, platform)| Some((name, needs.misfit(platform)?))).collect();
    let Some((_, first)) = misfits.first() else { return Ok(()) };
    let has: Vec<String> = misfits.iter().take(5).map(|(name, misfit)| format!("{name} has {}", misfit.has)).collect();
    let others = if misfits.len() > 5 { format!(" and {} more", misfits.len() - 5) } else { String::new() };
    let program = if program.is_empty() { "the program" } else { program };
    Err(format!(
        "{program} needs {}, and no supervisor offers that ({}{others}); {}",
        first.needs,
        has.join(", "),
        first.remedy
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform(architecture: &str, libc: &str) -> Platform {
        Platform { os: "linux".into(), architecture: architecture.into(), libc: libc.into() }
    }

    fn needs(libc: Libc) -> Needs {
        Needs { os: "linux", architecture: "x86_64".into(), libc }
    }

    #[test]
    fn an_executable_fits_by_architecture_and_by_libc_and_its_version() {
        let glibc = |major, minor| needs(Libc::Glibc(Some(GlibcVersion(major, minor))));
        for (needs, architecture, libc, fits) in [
            (glibc(2, 34), "x86_64", "glibc 2.34", true),
            (glibc(2, 34), "x86_64", "glibc 2.9", false),
            (glibc(2, 34), "x86_64", "glibc 2.36", true),
            (glibc(2, 34), "x86_64", "musl", false),
            (glibc(2, 34), "x86_64", "", true),
            (glibc(2, 34), "aarch64", "glibc 2.36", false),
            (needs(Libc::Glibc(None)), "x86_64", "glibc 2.17", true),
            (needs(Libc::Musl), "x86_64", "musl 1.2.5", true),
            (needs(Libc::Musl), "x86_64", "glibc 2.36", false),
            (needs(Libc::None), "x86_64", "musl", true),
        ] {
            assert_eq!(needs.fit(&platform(architecture, libc)), fits, "{needs:?} on {architecture} {libc}");
        }
    }

    #[test]
    fn a_refusal_names_both_values_and_the_remedy_and_one_fitting_supervisor_is_enough() {
        let needs = needs(Libc::Glibc(Some(GlibcVersion(2, 39))));
        let mut platforms = BTreeMap::from([("old".to_owned(), platform("x86_64", "glibc 2.31"))]);
        let refusal = check_platforms("words", &needs, &platforms).expect_err("too old");
        assert_eq!(
            refusal,
            "words needs glibc 2.39, and no supervisor offers that (old has glibc 2.31); build it on a system with \
             glibc 2.31 or older, or with --target x86_64-unknown-linux-musl"
        );
        platforms.insert("new".to_owned(), platform("x86_64", "glibc 2.41"));
        assert_eq!(check_platforms("words", &needs, &platforms), Ok(()));
        assert_eq!(check_platforms("words", &needs, &BTreeMap::new()), Ok(()));
    }
}
