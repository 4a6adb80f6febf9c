//! Lists in pages of one revision, so that no answer becomes too long.

use etcd_client::{Client, Error, GetOptions, GetResponse};

use super::connection::{Connection, Repeat};
use super::entry;
use super::error::is_compacted;
use crate::store::{Entry, Listing, Revision, StoreError};

/// How many keys a page has.
const PAGE: i64 = 500;
/// How many bytes an answer may have: far more than a page of what is kept there.
pub(super) const LONGEST_ANSWER: usize = 512 << 20;
/// How often a list is begun again because its revision was compacted meanwhile.
const MOST_BEGINNINGS: usize = 3;

/// All entries under a prefix.
pub(super) async fn list(connection: &Connection, prefix: &str) -> Result<Listing, StoreError> {
    paged(connection, prefix, false).await
}

/// All keys under a prefix: the entries have no values.
pub(super) async fn list_keys(connection: &Connection, prefix: &str) -> Result<Listing, StoreError> {
    paged(connection, prefix, true).await
}

async fn paged(connection: &Connection, prefix: &str, are_keys_enough: bool) -> Result<Listing, StoreError> {
    for _ in 0..MOST_BEGINNINGS {
        let mut entries: Vec<Entry> = Vec::new();
        let mut revision = 0;
        loop {
            let last = entries.last().map(|entry| entry.key.as_str());
            let get = |client| page(client, prefix, last, revision, are_keys_enough);
            let Some(mut page) = connection.call(Repeat::IfUnavailable, get).await? else { break };
            if revision == 0 {
                revision = page.header().map_or(0, etcd_client::ResponseHeader::revision);
            }
            entries.extend(page.take_kvs().into_iter().map(entry));
            if !page.more() {
                return Ok(Listing { revision, entries });
            }
        }
    }
    Err(StoreError::Unavailable(format!("`{prefix}` was compacted while it was listed")))
}

/// The page behind the key `last`; `None` if its revision is compacted.
async fn page(
    client: Client,
    prefix: &str,
    last: Option<&str>,
    revision: Revision,
    are_keys_enough: bool,
) -> Result<Option<GetResponse>, Error> {
    let from = last.map_or_else(|| prefix.to_owned(), |last| format!("{last}\0"));
    let from = if from.is_empty() { "\0".to_owned() } else { from };
    let mut options = GetOptions::new().with_range(end_of(prefix)).with_limit(PAGE).with_revision(revision);
    if are_keys_enough {
        options = options.with_keys_only();
    }
    let mut client = client.kv_client().max_decoding_message_size(LONGEST_ANSWER);
    match client.get(from, Some(options)).await {
        Ok(page) => Ok(Some(page)),
        Err(error) if is_compacted(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The first key behind all that begin with `prefix`; `\0` stands for the end of all keys.
pub(super) fn end_of(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end;
        }
    }
    vec![0]
}
