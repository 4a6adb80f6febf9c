//! Sizes as people, and the manifests of containers, write them; and as messages show them.

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// `536870912`, `512MiB`, `512Mi`, `1.5 GiB`, `2GB`: bytes.
#[cfg(feature = "etcd")]
pub(crate) fn parse(text: &str) -> Result<u64, &'static str> {
    const EXPECTED: &str = "expected a size, for example 512MiB, 2Gi or a number of bytes";
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number: f64 = text[..digits].parse().map_err(|_| EXPECTED)?;
    let factor = match text[digits..].trim_start().to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "kb" => 1e3,
        "mb" => 1e6,
        "gb" => 1e9,
        "tb" => 1e12,
        "k" | "ki" | "kib" => 1024.0,
        "m" | "mi" | "mib" => MIB as f64,
        "g" | "gi" | "gib" => GIB as f64,
        "t" | "ti" | "tib" => 1024.0 * GIB as f64,
        _ => return Err(EXPECTED),
    };
    let bytes = number * factor;
    // Beyond that not every number is one.
    if bytes < MIB as f64 || bytes > 2f64.powi(53) {
        return Err("expected at least 1 MiB, and no more than a machine can have");
    }
    Ok(bytes as u64)
}

/// `530 MiB`, `2 GiB`.
pub(crate) fn show(bytes: u64) -> String {
    if bytes >= GIB && bytes.is_multiple_of(GIB) {
        return format!("{} GiB", bytes / GIB);
    }
    format!("{} MiB", bytes / MIB)
}

#[cfg(all(test, feature = "etcd"))]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_and_manifests_write_them() {
        for (text, bytes) in [
            ("1048576", MIB),
            ("512MiB", 512 * MIB),
            ("512Mi", 512 * MIB),
            ("1.5 GiB", GIB + GIB / 2),
            ("2g", 2 * GIB),
            ("2GB", 2_000_000_000),
            ("1Ti", 1024 * GIB),
        ] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
        for text in ["", "MiB", "1 elephant", "-1", "1MiB2", "1000", "1e300", "99999999Ti", "nan"] {
            assert!(parse(text).is_err(), "{text}");
        }
        let shown = [MIB, 530 * MIB + 1, 2 * GIB, 2 * GIB + 1].map(show);
        assert_eq!(shown, ["1 MiB", "530 MiB", "2 GiB", "2048 MiB"]);
    }
}
