//! What comes back from the database: one answer per statement, decoded when it is asked for.

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::value::RawValue;

use super::Error;

/// The answers to a batch, in the order of its statements.
pub struct Answers(Vec<Answer>);

#[derive(Deserialize)]
struct Answer {
    /// Left as text until somebody asks: many statements are sent for their effect alone.
    rows: Box<RawValue>,
    #[serde(rename = "rowCount")]
    row_count: Option<u64>,
}

#[derive(Deserialize)]
struct Results {
    results: Vec<Answer>,
}

/// The convention of the project's SQL: what is read comes in one `jsonb` column.
#[derive(Deserialize)]
struct Row<T> {
    data: T,
}

impl Answers {
    /// Reads the body of an answer to a batch of `statements` statements.
    pub(super) fn parse(body: &[u8], statements: usize) -> Result<Self, String> {
        let Results { results } = serde_json::from_slice(body).map_err(|error| error.to_string())?;
        if results.len() == statements {
            Ok(Self(results))
        } else {
            Err(format!("{} answers to {statements} statements", results.len()))
        }
    }

    /// The column `data` of every row that statement `index` (from 0) returned.
    ///
    /// # Errors
    /// [`Error::Protocol`], when the rows have another shape. The batch has taken effect.
    pub fn decode<T: DeserializeOwned>(&self, index: usize) -> Result<Vec<T>, Error> {
        let answer = self
            .0
            .get(index)
            .ok_or_else(|| Error::Protocol(format!("there is no statement {index}")))?;
        let rows: Vec<Row<T>> = serde_json::from_str(answer.rows.get())
            .map_err(|error| Error::Protocol(format!("the rows of statement {index}: {error}")))?;
        Ok(rows.into_iter().map(|row| row.data).collect())
    }

    /// The column `data` of the only row that statement `index` returned, if it returned one.
    ///
    /// # Errors
    /// [`Error::Protocol`], when there are several rows or they have another shape. The batch has taken effect.
    pub fn one<T: DeserializeOwned>(&self, index: usize) -> Result<Option<T>, Error> {
        let mut rows = self.decode(index)?;
        let row = rows.pop();
        if rows.is_empty() {
            Ok(row)
        } else {
            Err(Error::Protocol(format!("several rows of statement {index}")))
        }
    }

    /// How many rows statement `index` returned or wrote; 0 for a statement that counts none (DDL, `SET`).
    pub fn affected(&self, index: usize) -> u64 {
        self.0
            .get(index)
            .and_then(|answer| answer.row_count)
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = br#"{"results":[
        {"fields":[],"rows":[{"set_config":"x"}],"command":"SELECT","rowCount":1,"rowAsArray":false},
        {"fields":[],"rows":[{"data":{"n":1}},{"data":{"n":2}}],"command":"SELECT","rowCount":2,"rowAsArray":false},
        {"fields":[],"rows":[],"command":"CREATE","rowCount":null,"rowAsArray":false}]}"#;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Item {
        n: u32,
    }

    #[test]
    fn rows_are_decoded_from_the_column_data() {
        let answers = Answers::parse(BODY, 3).unwrap();
        assert_eq!(answers.decode::<Item>(1).unwrap(), [Item { n: 1 }, Item { n: 2 }]);
        assert_eq!(answers.one::<Item>(2).unwrap(), None);
        assert_eq!([0, 1, 2, 3].map(|index| answers.affected(index)), [1, 2, 0, 0]);
    }

    #[test]
    fn other_shapes_are_protocol_errors() {
        let answers = Answers::parse(BODY, 3).unwrap();
        for error in [
            answers.decode::<Item>(0).unwrap_err(),
            answers.one::<Item>(1).unwrap_err(),
            answers.decode::<Item>(3).unwrap_err(),
            answers.decode::<String>(1).unwrap_err(),
        ] {
            assert!(
                matches!(error, Error::Protocol(_)) && error.may_have_taken_effect(),
                "{error}"
            );
        }
        assert!(Answers::parse(BODY, 2).is_err());
        assert!(Answers::parse(&BODY[..80], 3).is_err());
    }
}
