//! Tuples as lines of text, for files and terminals.

use std::io::Write;

use galerna_topology_api::{Result, Tuple, Value};
use serde::{Deserialize, Serializer};

/// How a tuple is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    /// Its values as they are, separated by tabs. One that holds a line end spans lines.
    #[default]
    Text,
    /// As text, but a tab, line feed or carriage return in a value is written as `\t`, `\n`, `\r`,
    /// so that a line is a tuple and a tab ends a value. A backslash stays as it is: words are not
    /// changed, at the price that `\t` in a value looks like a tab. Null is empty.
    Tsv,
    /// RFC 4180, without a header; lines end in `\n`. Null is empty.
    Csv,
    /// A JSON object of the fields on each line. Bytes are a list of numbers, time is RFC 3339.
    Json,
}

impl Format {
    /// Appends a tuple as a line.
    pub(crate) fn append(self, tuple: &Tuple<'_>, line: &mut Vec<u8>) -> Result<()> {
        match self {
            Self::Text => append_separated(tuple, line, |value, line| write!(line, "{value}"))?,
            Self::Tsv => append_separated(tuple, line, append_escaped)?,
            Self::Csv => append_csv(tuple, line)?,
            Self::Json => append_json(tuple, line)?,
        }
        Ok(())
    }
}

fn append_separated(
    tuple: &Tuple<'_>,
    line: &mut Vec<u8>,
    append: impl Fn(&Value, &mut Vec<u8>) -> std::io::Result<()>,
) -> std::io::Result<()> {
    for (index, value) in tuple.values().iter().enumerate() {
        if index > 0 {
            line.push(b'\t');
        }
        match value {
            // The common case, without the detour by a formatter.
            Value::Str(text) if memchr::memchr3(b'\t', b'\n', b'\r', text.as_bytes()).is_none() => {
                line.extend_from_slice(text.as_bytes());
            }
            value => append(value, line)?,
        }
    }
    line.push(b'\n');
    Ok(())
}

fn append_escaped(value: &Value, line: &mut Vec<u8>) -> std::io::Result<()> {
    let start = line.len();
    if value.is_null() {
        return Ok(());
    }
    write!(line, "{value}")?;
    if memchr::memchr3(b'\t', b'\n', b'\r', &line[start..]).is_some() {
        let plain = line.split_off(start);
        for byte in plain {
            match byte {
                b'\t' => line.extend_from_slice(b"\\t"),
                b'\n' => line.extend_from_slice(b"\\n"),
                b'\r' => line.extend_from_slice(b"\\r"),
                other => line.push(other),
            }
        }
    }
    Ok(())
}

fn append_csv(tuple: &Tuple<'_>, line: &mut Vec<u8>) -> Result<()> {
    let mut writer = csv::WriterBuilder::new().buffer_capacity(1024).from_writer(line);
    for value in tuple.values() {
        match value {
            Value::Null => writer.write_field("")?,
            Value::Str(text) => writer.write_field(text.as_bytes())?,
            value => writer.write_field(value.to_string())?,
        }
    }
    writer.write_record(None::<&[u8]>)?;
    writer.flush()?;
    Ok(())
}

fn append_json(tuple: &Tuple<'_>, line: &mut Vec<u8>) -> Result<()> {
    let mut json = serde_json::Serializer::new(&mut *line);
    json.collect_map(tuple.fields().iter().zip(tuple.values()))?;
    line.push(b'\n');
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use galerna_topology_api::engine::{Batch, TupleSource};
    use galerna_topology_api::{Fields, values};

    use super::*;

    fn written(format: Format, row: impl IntoIterator<Item = Value>) -> String {
        let values: Vec<Value> = row.into_iter().collect();
        let fields = Fields::new(["a", "b", "c"].into_iter().take(values.len()));
        let (component, stream) = ("it".into(), "default".into());
        let source = TupleSource { component, stream_index: 0, stream, fields };
        let mut batch = Batch::new(Arc::new(source));
        (batch.values, batch.rows) = (values, 1);
        let mut line = Vec::new();
        format.append(&batch.tuple(0), &mut line).unwrap();
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn every_format_writes_a_tuple_as_documented() {
        let row = || values!["back\\slash", 1, ()];
        assert_eq!(written(Format::Text, row()), "back\\slash\t1\tnull\n");
        assert_eq!(written(Format::Tsv, row()), "back\\slash\t1\t\n");
        assert_eq!(written(Format::Csv, row()), "back\\slash,1,\n");
        assert_eq!(written(Format::Json, row()), "{\"a\":\"back\\\\slash\",\"b\":1,\"c\":null}\n");
    }

    #[test]
    fn separators_within_values_cannot_be_taken_for_separators() {
        let row = || values!["a\tb\nc\rd", "say \"hi\", ü"];
        assert_eq!(written(Format::Tsv, row()), "a\\tb\\nc\\rd\tsay \"hi\", ü\n");
        assert_eq!(written(Format::Csv, row()), "\"a\tb\nc\rd\",\"say \"\"hi\"\", ü\"\n");
        assert_eq!(written(Format::Json, row()), "{\"a\":\"a\\tb\\nc\\rd\",\"b\":\"say \\\"hi\\\", ü\"}\n");
        assert_eq!(written(Format::Csv, values![""]), "\"\"\n");
    }
}
