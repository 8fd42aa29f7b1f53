//! Turns the messages of PostgreSQL into the answer's JSON while they arrive, row by row.
//! Must never hold a result twice, and never grow the answer past Neon's limit by more than one row.

use fallible_iterator::FallibleIterator;
use postgres_protocol::message::backend::{DataRowBody, Message, RowDescriptionBody};
use postgres_types::Type;
use serde_json::json;

use super::failure::{DatabaseError, Failure, MAX_RESPONSE_BYTES};
use super::request::Mode;
use super::values;

/// The answer to one or more statements, in the order in which they run.
#[derive(Debug)]
pub(super) struct Answer {
    json: Vec<u8>,
    raw_text: bool,
    /// For each statement whether its rows are arrays.
    arrays: Vec<bool>,
    /// The statement whose messages come next.
    current: usize,
    columns: Vec<Column>,
    rows: u64,
}

#[derive(Debug)]
struct Column {
    /// The name as a JSON string with its colon, ready to be written.
    key: Vec<u8>,
    kind: Type,
}

impl Answer {
    pub(super) fn new(mode: Mode, array_modes: impl Iterator<Item = Option<bool>>) -> Self {
        Self {
            json: Vec::with_capacity(1024),
            raw_text: mode.raw_text,
            arrays: array_modes.map(|own| own.unwrap_or(mode.arrays)).collect(),
            current: 0,
            columns: Vec::new(),
            rows: 0,
        }
    }

    /// The results, with commas between them.
    pub(super) fn into_json(self) -> Vec<u8> {
        self.json
    }

    /// Takes in one message of a statement's execution.
    pub(super) fn take(&mut self, message: Message) -> Result<(), Failure> {
        match message {
            Message::RowDescription(body) => self.open(Some(&body)),
            Message::NoData => self.open(None),
            Message::DataRow(body) => self.row(&body),
            Message::CommandComplete(body) => {
                let (command, count) = command(body.tag()?);
                self.close(command, count)
            }
            Message::EmptyQueryResponse => self.close("", None),
            Message::ErrorResponse(body) => Err(Failure::Database(Box::new(DatabaseError::read(&body)))),
            Message::CopyInResponse(_) | Message::CopyOutResponse(_) => {
                Err(Failure::Session("unexpected message from server".to_owned()))
            }
            _ => Ok(()),
        }
    }

    fn arrays(&self) -> bool {
        self.arrays.get(self.current).copied().unwrap_or_default()
    }

    fn open(&mut self, description: Option<&RowDescriptionBody>) -> Result<(), Failure> {
        if self.current > 0 {
            self.json.push(b',');
        }
        self.columns.clear();
        self.rows = 0;
        let mut fields = Vec::new();
        if let Some(body) = description {
            let mut columns = body.fields();
            while let Some(column) = columns.next()? {
                fields.push(json!({
                    "name": column.name(),
                    "dataTypeID": column.type_oid(),
                    "tableID": column.table_oid(),
                    "columnID": column.column_id(),
                    "dataTypeSize": column.type_size(),
                    "dataTypeModifier": column.type_modifier(),
                    "format": "text",
                }));
                let mut key = Vec::new();
                values::string(&mut key, column.name())?;
                key.push(b':');
                let kind = Type::from_oid(column.type_oid()).unwrap_or(Type::TEXT);
                self.columns.push(Column { key, kind });
            }
        }
        let head = format!(
            r#"{{"rowAsArray":{},"fields":{},"rows":["#,
            self.arrays(),
            serde_json::Value::from(fields)
        );
        self.json.extend_from_slice(head.as_bytes());
        Ok(())
    }

    fn row(&mut self, body: &DataRowBody) -> Result<(), Failure> {
        if self.json.len() > MAX_RESPONSE_BYTES {
            return Err(Failure::ResponseTooLarge);
        }
        if self.rows > 0 {
            self.json.push(b',');
        }
        let arrays = self.arrays();
        self.json.push(if arrays { b'[' } else { b'{' });
        let mut ranges = body.ranges();
        let mut index = 0;
        while let (Some(range), Some(column)) = (ranges.next()?, self.columns.get(index)) {
            if index > 0 {
                self.json.push(b',');
            }
            if !arrays {
                self.json.extend_from_slice(&column.key);
            }
            match range.and_then(|range| body.buffer().get(range)) {
                None => self.json.extend_from_slice(b"null"),
                Some(bytes) => {
                    let text = std::str::from_utf8(bytes).map_err(|_| Failure::Result)?;
                    if self.raw_text {
                        values::string(&mut self.json, text)?;
                    } else {
                        values::write(&mut self.json, text, &column.kind)?;
                    }
                }
            }
            index += 1;
        }
        self.json.push(if arrays { b']' } else { b'}' });
        self.rows += 1;
        Ok(())
    }

    fn close(&mut self, command: &str, count: Option<i64>) -> Result<(), Failure> {
        self.json.extend_from_slice(br#"],"command":"#);
        values::string(&mut self.json, command)?;
        let count = count.map_or_else(|| "null".to_owned(), |count| count.to_string());
        self.json
            .extend_from_slice(format!(r#","rowCount":{count}}}"#).as_bytes());
        self.current += 1;
        Ok(())
    }
}

/// A command tag as command and count: `INSERT 0 3` has an object id before the count, `CREATE TABLE` has none.
fn command(tag: &str) -> (&str, Option<i64>) {
    let (name, rest) = tag.split_once(' ').unwrap_or((tag, ""));
    let count = if name == "INSERT" {
        rest.split_once(' ').map_or("", |(_oid, count)| count)
    } else {
        rest
    };
    (name, count.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::command;

    #[test]
    fn the_command_tag_is_split_as_neon_splits_it() {
        for (tag, expected) in [
            ("SELECT 3", ("SELECT", Some(3))),
            ("INSERT 0 2", ("INSERT", Some(2))),
            ("CREATE TABLE", ("CREATE", None)),
            ("BEGIN", ("BEGIN", None)),
            ("", ("", None)),
        ] {
            assert_eq!(command(tag), expected);
        }
    }
}
