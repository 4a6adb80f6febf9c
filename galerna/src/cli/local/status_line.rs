//! Live progress on the last line of a terminal.
//!
//! Topologies print and log while they run, straight to the terminal. So that neither gets in the
//! other's way, the last line is taken out of the region that scrolls (DECSTBM, as apt does for its
//! progress bar) and given back at the end.

use galerna_worker::{ComponentSummary, RunSummary};
use terminal_size::{Height, Width, terminal_size};

use crate::cli::components::retrying_text;
use crate::cli::io::Io;
use crate::cli::numbers::{count, duration, micros, plural, rate};

/// Characters that are shown of what is retried and why.
const MOST_OF_REASON: usize = 80;

/// Terminals lower than this are left alone.
const LOWEST: u16 = 6;

/// The last line, taken for as long as this lives.
pub(super) struct StatusLine<'a, 'io> {
    io: &'a mut Io<'io>,
    /// Width and height of the terminal that the line was taken from.
    taken: Option<(u16, u16)>,
    last: Option<RunSummary>,
}

impl<'a, 'io> StatusLine<'a, 'io> {
    /// Takes the line if a person watches a terminal that can do it.
    pub(super) fn open(io: &'a mut Io<'io>) -> Self {
        let mut line = Self { io, taken: None, last: None };
        let is_dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
        if line.io.is_watched && !is_dumb {
            line.take();
        }
        line
    }

    /// Whether there is a line to show something on.
    pub(super) fn is_shown(&self) -> bool {
        self.taken.is_some()
    }

    /// Tells the user something lasting, above the line.
    pub(super) fn say(&mut self, text: &str) {
        // Over the `^C` that the terminal shows.
        let over = if self.is_shown() { "\r\x1b[2K" } else { "" };
        self.io.say(&format!("{over}{text}"));
    }

    /// Shows how the run stands.
    pub(super) fn show(&mut self, summary: &RunSummary, is_stopping: bool) {
        if size().is_some_and(|size| self.taken != Some(size)) {
            self.take();
        }
        let Some((width, height)) = self.taken else { return };
        let text = describe(summary, self.last.as_ref(), is_stopping);
        let text: String = text.chars().take(width.saturating_sub(1).into()).collect();
        // Save the cursor, go to the line, clear it, write in reverse video, go back.
        self.write(&format!("\x1b7\x1b[{height};1H\x1b[2K\x1b[7m{text}\x1b[0m\x1b8"));
        self.last = Some(summary.clone());
    }

    fn take(&mut self) {
        let Some((width, height)) = size() else { return };
        // Make room below the cursor first: setting the region moves the cursor, so it is saved.
        self.write(&format!("\n\x1b[1A\x1b7\x1b[1;{}r\x1b8", height - 1));
        self.taken = Some((width, height));
    }

    fn write(&mut self, text: &str) {
        // A terminal that is gone needs no progress.
        let _ = self.io.stderr.write_all(text.as_bytes()).and_then(|()| self.io.stderr.flush());
    }
}

impl Drop for StatusLine<'_, '_> {
    fn drop(&mut self) {
        if let Some((_, height)) = self.taken {
            self.write(&format!("\x1b7\x1b[r\x1b[{height};1H\x1b[2K\x1b8"));
        }
    }
}

fn size() -> Option<(u16, u16)> {
    let (Width(width), Height(height)) = terminal_size()?;
    (height >= LOWEST && width > 0).then_some((width, height))
}

/// One line: how long, how fast, what each component has done, and what went wrong.
fn describe(now: &RunSummary, before: Option<&RunSummary>, is_stopping: bool) -> String {
    let passed = before.map_or(now.duration, |before| now.duration.saturating_sub(before.duration)).as_secs_f64();
    let mut parts = vec![format!(" {} {}", now.topology, duration(now.duration))];
    if is_stopping {
        parts.push("stopping".to_owned());
    }
    let sum = |of: fn(&ComponentSummary) -> u64| now.components.iter().map(of).sum::<u64>();
    let retrying =
        now.components.iter().filter_map(|of| Some(format!("{} is {}", of.id, retrying_text(of.retrying.as_ref()?))));
    // A line break or an escape sequence would leave the line.
    parts.extend(retrying.map(|text| text.replace(char::is_control, " ").chars().take(MOST_OF_REASON).collect()));
    let spouts = |of: fn(&ComponentSummary) -> u64| {
        now.components.iter().filter(|component| component.kind == "spout").map(of).sum::<u64>()
    };
    let (acked, failed, pending) = (spouts(|of| of.acked), spouts(|of| of.failed), spouts(|of| of.pending));
    if acked + failed + pending > 0 {
        parts.push(format!("acked {}  failed {}  pending {}", count(acked), count(failed), count(pending)));
    }
    if let Some(latency) = now.complete_latency_us {
        parts.push(format!("p99 {}", micros(latency.p99)));
    }
    for (place, component) in now.components.iter().enumerate() {
        let done = |summary: &RunSummary| {
            summary.components.get(place).map_or(0, |of| if of.kind == "spout" { of.emitted } else { of.executed })
        };
        let total = done(now);
        let since = total.saturating_sub(before.map_or(0, done));
        let per_second = if passed > 0.0 { since as f64 / passed } else { 0.0 };
        parts.push(format!("{} {} ({}/s)", component.id, count(total), rate(per_second)));
    }
    for (number, thing) in [(sum(|of| of.errors), "error"), (sum(|of| of.restarts), "restart")] {
        if number > 0 {
            parts.push(plural(number as usize, thing));
        }
    }
    parts.join("  ")
}
