//! Repeated output: in place on a terminal, elsewhere one page after another.

use std::time::Duration;

use galerna_protocol::Signals;
use terminal_size::{Height, Width, terminal_size};
use tokio::time::{Instant, sleep_until};

use super::exit::Exit;
use super::failure::Failure;
use super::io::Io;
use super::reader;

/// Interval between two checks for a closed pipe.
const LOOK: Duration = Duration::from_millis(500);

/// One page.
pub(super) struct Page {
    pub(super) text: String,
    /// Whether no later page can differ.
    pub(super) is_last: bool,
}

/// Shows a page every `interval` until the last page, a signal or a closed pipe; each is [`Exit::Done`]. After the first page,
/// asks an unavailable Nimbus again.
pub(super) async fn watch(
    interval: Duration,
    io: &mut Io<'_>,
    page: impl AsyncFn() -> Result<Page, Failure>,
) -> Result<Exit, Failure> {
    let mut signals = Signals::listen().map_err(|error| Failure::start(&error))?;
    let mut screen = Screen::of(io);
    loop {
        let next = Instant::now() + interval;
        let answer = tokio::select! {
            biased;
            () = signals.next() => return Ok(Exit::Done),
            answer = page() => answer,
        };
        match answer {
            Ok(page) => {
                screen.show(&page.text, io)?;
                if page.is_last {
                    return Ok(Exit::Done);
                }
            }
            Err(Failure::Told { code: "unavailable", message }) if screen.has_shown => screen.complain(&message, io)?,
            Err(failure) => return Err(failure),
        }
        tokio::select! {
            biased;
            () = signals.next() => return Ok(Exit::Done),
            () = reader_leaves() => return Ok(Exit::Done),
            () = sleep_until(next) => {}
        }
    }
}

async fn reader_leaves() {
    while !reader::has_left() {
        tokio::time::sleep(LOOK).await;
    }
}

/// Where pages are shown.
struct Screen {
    is_terminal: bool,
    has_shown: bool,
    last: String,
    complaint: String,
}

impl Screen {
    fn of(io: &Io<'_>) -> Self {
        let is_dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
        Self { is_terminal: io.is_watched && !is_dumb, has_shown: false, last: String::new(), complaint: String::new() }
    }

    fn show(&mut self, text: &str, io: &mut Io<'_>) -> Result<(), Failure> {
        self.complaint.clear();
        if self.is_terminal {
            self.last = text.to_owned();
            self.draw(text, io)?;
        } else {
            let is_table = text.trim_end().contains('\n');
            let gap = if self.has_shown && is_table { "\n" } else { "" };
            io.print(&format!("{gap}{text}"))?;
        }
        self.has_shown = true;
        Ok(())
    }

    /// Shows why there is no new page.
    fn complain(&mut self, message: &str, io: &mut Io<'_>) -> Result<(), Failure> {
        if self.is_terminal {
            return self.draw(&format!("(not up to date: {message})\n\n{}", self.last), io);
        }
        if self.complaint != message {
            message.clone_into(&mut self.complaint);
            io.say(&format!("not up to date: {message}"));
        }
        Ok(())
    }

    fn draw(&self, text: &str, io: &mut Io<'_>) -> Result<(), Failure> {
        let (Width(width), Height(height)) = terminal_size().unwrap_or((Width(80), Height(24)));
        // Clear once. Later pages overwrite the page before without flicker.
        let begin = if self.has_shown { "\x1b[H" } else { "\x1b[2J\x1b[H" };
        io.print(&format!("{begin}{}\x1b[J", fitted(text, width.into(), height.into())))
    }
}

/// The first lines of a text that fit the terminal, cut off at its width; each clears the rest of its line.
fn fitted(text: &str, width: usize, height: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    // The cursor needs one more line.
    let room = height.saturating_sub(1).max(1);
    let (shown, rest) = if lines.len() > room { lines.split_at(room - 1) } else { (lines.as_slice(), &[][..]) };
    let mut fitted = String::new();
    for line in shown {
        fitted.extend(line.chars().take(width));
        fitted.push_str("\x1b[K\n");
    }
    if !rest.is_empty() {
        fitted.push_str(&format!("… {} more lines\x1b[K\n", rest.len()));
    }
    fitted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_cut_off_where_the_terminal_ends() {
        let plain = |width, height| fitted("abcdef\nb\nc\nd\n", width, height).replace("\x1b[K", "");
        assert_eq!(plain(80, 24), "abcdef\nb\nc\nd\n");
        assert_eq!(plain(3, 5), "abc\nb\nc\nd\n");
        assert_eq!(plain(3, 4), "abc\nb\n… 2 more lines\n");
        assert_eq!(plain(3, 1), "… 4 more lines\n");
    }
}
