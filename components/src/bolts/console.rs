//! `console`: tuples on standard output.

use std::io::{self, ErrorKind, Write};

use galerna_topology_api::{Bolt, BoltResult, Emitter, Error, Result, Tuple};
use serde::Deserialize;

use crate::catalogue::StockType;
use crate::format::Format;

pub(crate) const STOCK: StockType = StockType {
    name: "console",
    aliases: &[],
    summary: "Prints each tuple as a line on standard output.",
    example: include_str!("console.yaml"),
};

/// Prints each tuple as a line on standard output, in the worker that runs it.
///
#[doc = concat!("```yaml\n", include_str!("console.yaml"), "```")]
///
/// Each line is written at once: somebody may be watching. When the reader has closed the pipe, as
/// `head` does, the rest is dropped quietly; any other failure is an error that ends the run.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Console {
    #[serde(default)]
    format: Format,
    #[serde(skip)]
    line: Vec<u8>,
    #[serde(skip)]
    is_closed: bool,
    /// What is written to in the place of standard output, in tests.
    #[serde(skip)]
    output: Option<Box<dyn Write + Send>>,
}

impl Console {
    fn write(&mut self) -> io::Result<()> {
        match &mut self.output {
            Some(output) => output.write_all(&self.line).and_then(|()| output.flush()),
            None => {
                // One lock and, its end being a line end, one write: lines of several tasks do not mix.
                let mut output = io::stdout().lock();
                output.write_all(&self.line)?;
                output.flush()
            }
        }
    }

    fn print(&mut self, tuple: &Tuple<'_>) -> Result<()> {
        self.line.clear();
        self.format.append(tuple, &mut self.line)?;
        match self.write() {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.is_closed = true;
                Ok(())
            }
            Err(error) => Err(Error::fatal(format!("cannot write to standard output: {error}"))),
        }
    }
}

impl Bolt for Console {
    async fn execute(&mut self, tuple: &Tuple<'_>, _: &mut Emitter<'_>) -> BoltResult {
        if self.is_closed { Ok(()) } else { self.print(tuple) }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use galerna_topology_api::values;
    use galerna_worker::testing::BoltHarness;

    use super::*;
    use crate::harness::from_yaml;

    /// Takes so many writes, then fails.
    struct Pipe(Arc<Mutex<Vec<u8>>>, usize, ErrorKind);

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.1 = self.1.checked_sub(1).ok_or(self.2)?;
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    async fn printing(properties: &str, writes: usize, failure: ErrorKind) -> (BoltHarness, Arc<Mutex<Vec<u8>>>) {
        let written = Arc::<Mutex<Vec<u8>>>::default();
        let (properties, pipe) = (properties.to_owned(), written.clone());
        let make = move || {
            let mut bolt = from_yaml::<Console>(&properties);
            bolt.output = Some(Box::new(Pipe(pipe.clone(), writes, failure)));
            bolt
        };
        (BoltHarness::new(["word", "count"], make).await.unwrap(), written)
    }

    #[tokio::test]
    async fn a_tuple_is_a_line() {
        for (properties, expected) in [("{}", "a\t1\n"), ("{format: json}", "{\"word\":\"a\",\"count\":1}\n")] {
            let (mut test, written) = printing(properties, 9, ErrorKind::Other).await;
            test.execute(values!["a", 1]).await.into_result().unwrap();
            assert_eq!(*written.lock().unwrap(), expected.as_bytes());
        }
    }

    #[tokio::test]
    async fn a_closed_pipe_drops_the_rest_quietly() {
        let (mut test, written) = printing("{}", 1, ErrorKind::BrokenPipe).await;
        for word in ["a", "b", "c"] {
            test.execute(values![word, 1]).await.into_result().unwrap();
        }
        assert_eq!(*written.lock().unwrap(), b"a\t1\n");
        assert_eq!(test.acked(), 3);
    }

    #[tokio::test]
    async fn any_other_failure_is_fatal() {
        let (mut test, _) = printing("{}", 0, ErrorKind::StorageFull).await;
        let error = test.execute(values!["a", 1]).await.into_result().unwrap_err();
        assert!(error.is_fatal());
        assert_eq!(error.to_string(), "cannot write to standard output: no storage space");
    }
}
