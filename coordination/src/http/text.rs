//! The two text formats: OpenMetrics, and the older one of Prometheus, which more tools read.

use axum::http::HeaderValue;

/// The older format.
pub(super) const CLASSIC: &str = "text/plain; version=0.0.4; charset=utf-8";
/// The newer one.
pub(super) const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Whether whoever asks can read the newer format. Prometheus says so.
pub(super) fn wants_open_metrics(accept: &HeaderValue) -> bool {
    accept.to_str().is_ok_and(|accept| accept.contains("application/openmetrics-text"))
}

/// The same in the older format: there, families of counters are called as their samples are, and units
/// and the end are not told.
pub(super) fn as_classic(open: &str) -> String {
    let mut classic = String::with_capacity(open.len());
    // What is told of a family comes before its type.
    let mut help = None;
    for line in open.lines() {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some("HELP"), Some(name), text) => help = Some((name, text.unwrap_or_default())),
            (Some("#"), Some("TYPE"), Some(name), Some(kind)) => {
                let suffix = if kind == "counter" { "_total" } else { "" };
                if let Some((_, text)) = help.take().filter(|(of, _)| *of == name) {
                    classic += &format!("# HELP {name}{suffix} {text}\n");
                }
                classic += &format!("# TYPE {name}{suffix} {kind}\n");
            }
            (Some("#"), ..) => {}
            _ => {
                classic += line;
                classic.push('\n');
            }
        }
    }
    classic
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_get_their_suffix_and_all_else_stays() {
        let open = "# HELP a Some text.\n# TYPE a counter\na_total{b=\"# x\"} 1\n\
                    # HELP c_seconds Some.\n# TYPE c_seconds gauge\n# UNIT c_seconds seconds\nc_seconds 2\n# EOF\n";
        let classic = "# HELP a_total Some text.\n# TYPE a_total counter\na_total{b=\"# x\"} 1\n\
                       # HELP c_seconds Some.\n# TYPE c_seconds gauge\nc_seconds 2\n";
        assert_eq!(as_classic(open), classic);
    }
}
