//! Steps and sinks.

mod console;
mod count_by;
mod file_sink;
mod filter;
mod key;
mod log;
mod map_fields;
mod null;
mod split_words;
mod test_word_counter;
mod top_n;

use serde::Deserialize;

use crate::catalogue::Catalogue;

pub use console::Console;
pub use count_by::CountBy;
pub use file_sink::FileSink;
pub use filter::Filter;
pub use log::Log;
pub use map_fields::MapFields;
pub use null::Null;
pub use split_words::SplitWords;
pub use test_word_counter::TestWordCounter;
pub use top_n::TopN;

/// After how many rows a call that emits very many waits for room.
const ROWS_BEFORE_ROOM: usize = 1000;

/// When a bolt that gathers emits what it has gathered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum EmitWhen {
    /// When the input has ended.
    #[default]
    Finish,
    /// At each tick.
    Tick,
    /// At each tuple.
    #[serde(alias = "update")]
    Each,
}

/// Names all bolts.
pub(crate) fn register(catalogue: &mut impl Catalogue) {
    catalogue.bolt::<Console>(&console::STOCK);
    catalogue.bolt::<CountBy>(&count_by::STOCK);
    catalogue.manual_bolt::<FileSink>(&file_sink::STOCK);
    catalogue.bolt::<Filter>(&filter::STOCK);
    catalogue.bolt::<Log>(&log::STOCK);
    catalogue.bolt::<MapFields>(&map_fields::STOCK);
    catalogue.bolt::<Null>(&null::STOCK);
    catalogue.bolt::<SplitWords>(&split_words::STOCK);
    catalogue.bolt::<TestWordCounter>(&test_word_counter::STOCK);
    catalogue.bolt::<TopN>(&top_n::STOCK);
}
