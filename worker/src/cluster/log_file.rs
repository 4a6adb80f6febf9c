//! The worker's log: everything that it prints goes to one file, which it rotates itself, so that
//! nothing is lost when its supervisor is away.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

/// Old files that are kept.
const KEPT: u32 = 3;
const DEFAULT_LIMIT: u64 = 10 * 1024 * 1024;

/// The file that stdout and stderr go to.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    limit: u64,
}

impl LogFile {
    /// Has stdout and stderr go to a file from now on.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub(super) fn adopt(path: &Path) -> io::Result<Self> {
        let limit = std::env::var("GALERNA_LOG_LIMIT").ok().and_then(|limit| limit.parse().ok());
        let log = Self { path: path.to_owned(), limit: limit.unwrap_or(DEFAULT_LIMIT) };
        log.redirect()?;
        Ok(log)
    }

    fn redirect(&self) -> io::Result<()> {
        let file: File = OpenOptions::new().create(true).append(true).open(&self.path)?;
        #[cfg(unix)]
        {
            rustix::stdio::dup2_stdout(&file)?;
            rustix::stdio::dup2_stderr(&file)?;
        }
        Ok(())
    }

    /// Begins a new file if this one is full: `worker.log` becomes `worker.log.1`, and so on.
    ///
    /// # Errors
    /// When files cannot be renamed or opened; what is printed goes on to the old one then.
    pub(super) fn rotate_if_full(&self) -> io::Result<()> {
        if fs::metadata(&self.path)?.len() < self.limit {
            return Ok(());
        }
        let old = |number: u32| {
            let mut name = self.path.clone().into_os_string();
            name.push(format!(".{number}"));
            PathBuf::from(name)
        };
        for number in (1..KEPT).rev() {
            match fs::rename(old(number), old(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        fs::rename(&self.path, old(1))?;
        self.redirect()
    }
}
