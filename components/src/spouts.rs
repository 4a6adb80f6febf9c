//! Sources of tuples.

mod back_off;
mod exec_lines;
mod file_lines;
mod generator;
mod made;
mod pace;
mod position;
mod random_words;
mod retries;
mod socket_lines;
mod stdin_lines;
mod test_words;
mod values;

use crate::catalogue::Catalogue;

pub use exec_lines::ExecLines;
pub use file_lines::{FileLines, LineId};
pub use generator::Generator;
pub use random_words::RandomWords;
pub use socket_lines::SocketLines;
pub use stdin_lines::StdinLines;
pub use test_words::TestWords;
pub use values::Values;

/// Names all spouts.
pub(crate) fn register(catalogue: &mut impl Catalogue) {
    catalogue.spout::<ExecLines>(&exec_lines::STOCK);
    catalogue.spout::<FileLines>(&file_lines::STOCK);
    catalogue.spout::<Generator>(&generator::STOCK);
    catalogue.spout::<RandomWords>(&random_words::STOCK);
    catalogue.spout::<SocketLines>(&socket_lines::STOCK);
    catalogue.spout::<StdinLines>(&stdin_lines::STOCK);
    catalogue.spout::<TestWords>(&test_words::STOCK);
    catalogue.spout::<Values>(&values::STOCK);
}
