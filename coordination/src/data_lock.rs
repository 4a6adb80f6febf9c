//! The lock of a data folder: it is for one daemon at a time.

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::time::{Instant, sleep};

/// How long an earlier daemon on the same folder may take to be gone.
const WAIT: Duration = Duration::from_secs(2);
/// How often is looked whether it is.
const LOOK: Duration = Duration::from_millis(50);

/// A data folder that nobody else uses while this lives. It ends with the process, however that ends.
#[derive(Debug)]
pub struct DataLock {
    _file: File,
}

impl DataLock {
    /// Makes the folder if need be, and takes it by the file `lock` in it; `None` if another daemon has it
    /// and keeps it.
    ///
    /// # Errors
    /// When the folder cannot be used.
    pub async fn take(folder: &Path) -> io::Result<Option<Self>> {
        std::fs::create_dir_all(folder)?;
        let file = File::options().create(true).truncate(false).write(true).open(folder.join("lock"))?;
        let until = Instant::now() + WAIT;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Some(Self { _file: file })),
                Err(TryLockError::Error(error)) => return Err(error),
                Err(TryLockError::WouldBlock) if Instant::now() >= until => return Ok(None),
                Err(TryLockError::WouldBlock) => sleep(LOOK).await,
            }
        }
    }
}
